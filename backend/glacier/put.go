package glacier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/smithy-go/middleware"
	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// Put implements backend.Store: it uploads an archive, in parts if it is large. An archive
// that the key showed before is deleted when the new one is there. A key that ends in "/" is a
// directory, which is remembered here alone. Attributes are remembered here too; another
// machine sees the time of the last change, which is in the description.
func (s *Store) Put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	obj, err := s.put(ctx, key, body, opts)
	return obj, s.fail(ctx, "put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	if err := errors.Join(s.CheckKey(key), checkAttrs(opts.Attrs)); err != nil {
		return backend.Object{}, err
	}
	dir := strings.HasSuffix(key, "/")
	switch size := body.Size(); {
	case dir && size > 0:
		return backend.Object{}, fmt.Errorf("%w: a directory of a vault holds no bytes of its own", backend.ErrInvalid)
	case size > maxObject:
		return backend.Object{}, fmt.Errorf("%w: an archive has up to %d bytes", backend.ErrTooLarge, int64(maxObject))
	}
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return backend.Object{}, err
	}
	defer unlock()
	if err := s.holds(key, opts.Cond); err != nil {
		return backend.Object{}, err
	}
	c, err := measure(ctx, body)
	if err == nil && opts.CRC64NVME != nil && *opts.CRC64NVME != c.crc {
		err = fmt.Errorf("%w: CRC64NVME %016x, want %016x", backend.ErrCorrupt, c.crc, *opts.CRC64NVME)
	}
	if err != nil {
		return backend.Object{}, err
	}
	attrs := opts.Attrs
	attrs.Class = ""
	r := record{size: body.Size(), hollow: body.Size() == 0 && !dir, attrs: &attrs, mtime: mtimeOf(attrs, s.svc.o.Now())}
	if dir {
		r.created, r.mtime = s.svc.o.Now(), time.Time{}
	} else if err := s.upload(ctx, key, c, &r); err != nil {
		return backend.Object{}, err
	}
	return s.keep(ctx, key, r)
}

// keep puts a record into the catalogue and deletes the archive that it replaces. The archive
// is there by now, so that nobody's interruption counts any more.
func (s *Store) keep(ctx context.Context, key string, r record) (backend.Object, error) {
	s.cat.change.Lock()
	old, err := s.cat.putLocked(key, r, s.svc.o.Now())
	s.cat.change.Unlock()
	if err != nil {
		return backend.Object{}, err
	}
	if !old.local() {
		s.deleteArchive(context.WithoutCancel(ctx), old.id)
	}
	return s.show(key, r), nil
}

// holds checks a condition on what the catalogue has for key, which is locked.
func (s *Store) holds(key string, c backend.Cond) error {
	if c == (backend.Cond{}) {
		return nil
	}
	r, err := s.cat.find(key)
	switch {
	case err != nil && !errors.Is(err, backend.ErrNotExist):
		return err
	case c.IfAbsent && err == nil, c.IfMatch != "" && (err != nil || r.object(key).ETag != c.IfMatch):
		return backend.ErrChanged
	}
	return nil
}

// checkAttrs refuses headers that are none (see backend.Attrs), and classes: a vault has one.
func checkAttrs(a backend.Attrs) error {
	for name := range a.Header {
		switch name {
		case "content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "expires":
		default:
			return fmt.Errorf("%w: header %q", backend.ErrInvalid, name)
		}
	}
	if a.Class != "" && a.Class != className {
		return fmt.Errorf("%w: storage class %q: a vault has none", backend.ErrInvalid, a.Class)
	}
	return nil
}

// mtimeOf is the time of the last change as the metadata tell it, in the words that s3fs and
// rclone use too: seconds since 1970, with a fraction.
func mtimeOf(a backend.Attrs, now time.Time) time.Time {
	whole, frac, _ := strings.Cut(a.Meta["mtime"], ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return now.UTC().Truncate(time.Second)
	}
	nsec, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64) // no digits: none
	return time.Unix(sec, nsec).UTC()
}

// A content is a body with its hashes.
type content struct {
	body   *io.SectionReader
	leaves []sum
	root   sum
	linear [sha256.Size]byte
	crc    uint64
}

// measure reads body once for all its hashes.
func measure(ctx context.Context, body *io.SectionReader) (*content, error) {
	c := &content{body: io.NewSectionReader(body, 0, body.Size())}
	linear, crc := sha256.New(), crc64nvme.New()
	var read int64
	var err error
	c.leaves, err = leavesOf(stopReader{ctx, c.body}, func(b []byte) {
		read += int64(len(b))
		_, _ = linear.Write(b) // never fails
		_, _ = crc.Write(b)    // nor does this
	})
	if err == nil && read != body.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read what is to be sent: %w", err)
	}
	c.root, c.crc = rootOf(c.leaves), crc.Sum64()
	linear.Sum(c.linear[:0])
	return c, nil
}

// A stopReader ends with ctx.
type stopReader struct {
	ctx context.Context //nolint:containedctx // of one call
	r   io.Reader
}

func (s stopReader) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// upload makes an archive of c and notes in r which.
func (s *Store) upload(ctx context.Context, key string, c *content, r *record) error {
	if r.hollow { // the service has no empty archives: a byte stands for none
		var err error
		if c, err = measure(ctx, io.NewSectionReader(strings.NewReader("\x00"), 0, 1)); err != nil {
			return err
		}
	}
	about, ok := encode(key, r.mtime, r.hollow)
	if !ok {
		return backend.ErrTooLong
	}
	var err error
	if c.body.Size() <= s.svc.o.Single {
		err = s.uploadWhole(ctx, about, c, r)
	} else {
		err = s.uploadParts(ctx, key, about, c, r)
	}
	r.hash, r.hashed = c.root, true
	return err
}

func (s *Store) uploadWhole(ctx context.Context, about string, c *content, r *record) error {
	sum := c.root.String()
	out, err := s.svc.api.UploadArchive(ctx, &awsglacier.UploadArchiveInput{
		AccountId: account(), VaultName: &s.vault, ArchiveDescription: &about, Body: c.reader(0, c.body.Size()), Checksum: &sum,
	}, contentHash(hex.EncodeToString(c.linear[:])))
	if err != nil {
		return err
	}
	r.id, r.created = value(out.ArchiveId), s.serverTime(out.ResultMetadata)
	return c.sent(out.Checksum, c.root)
}

// reader reads a range of the body, again and again if need be.
func (c *content) reader(off, n int64) io.ReadSeeker { return io.NewSectionReader(c.body, off, n) }

// sent compares what the service has received with what was meant.
func (c *content) sent(told *string, want sum) error {
	if got, ok := parseSum(value(told)); ok && got != want {
		return fmt.Errorf("%w: %w", backend.ErrCorrupt, mismatch("what the service received", got, want))
	}
	return nil
}

// serverTime is when the service answered, by its own clock: it dates the archive so.
func (s *Store) serverTime(m middleware.Metadata) time.Time {
	if t, ok := awsmiddleware.GetServerTime(m); ok && s.svc.o.Endpoint == "" {
		return t.UTC()
	}
	return s.svc.o.Now().UTC().Truncate(time.Second)
}

// Delete implements backend.Store: it deletes the archive that key shows. An older one of that
// name appears in its place.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.fail(ctx, "delete", key, s.delete(ctx, key))
}

func (s *Store) delete(ctx context.Context, key string) error {
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.record(ctx, key)
	if errors.Is(err, backend.ErrNotExist) {
		return nil
	}
	if err == nil && !r.local() {
		// Deletes may be forbidden for good (vault lock), so the service is asked first.
		_, err = s.svc.api.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{AccountId: account(), VaultName: &s.vault, ArchiveId: &r.id})
	}
	if err != nil {
		return err
	}
	s.cat.change.Lock()
	err = s.cat.removeLocked(key, r.id, s.svc.o.Now())
	s.cat.change.Unlock()
	if err == nil && !r.local() {
		err = s.cat.confirm(r.id)
	}
	return err
}

// deleteArchive deletes what a newer archive has replaced. If that fails it is tried again when
// the catalogue is opened next, or a vault is about to be deleted: the name is right already.
func (s *Store) deleteArchive(ctx context.Context, id string) {
	_, err := s.svc.api.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{AccountId: account(), VaultName: &s.vault, ArchiveId: &id})
	if err == nil {
		err = s.cat.confirm(id)
	}
	if err != nil {
		s.svc.log.Warn("an archive that was replaced is not deleted yet", "op", "delete", "key", id, "err", translate(ctx, err))
	}
}

// sendDeletes deletes archives whose delete was not confirmed.
func (s *Store) sendDeletes(ctx context.Context) {
	ids, err := s.cat.unsent()
	if err != nil {
		s.svc.log.Warn("deletes that are due cannot be read", "err", err)
	}
	for _, id := range ids {
		if ctx.Err() == nil {
			s.deleteArchive(ctx, id)
		}
	}
}
