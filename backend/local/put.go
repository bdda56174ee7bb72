package local

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// Put implements backend.Store.
func (s *store) Put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	rec, err := s.put(ctx, key, body, opts)
	if err != nil {
		return backend.Object{}, s.wrap("put", key, err)
	}
	return rec.object(time.Now()), nil
}

func (s *store) put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (*record, error) {
	if body.Size() > s.svc.limits.MaxPut {
		return nil, fmt.Errorf("%w: %d bytes in one put", backend.ErrTooLarge, body.Size())
	}
	rec, err := s.newRecord(ctx, key, opts.Attrs)
	if err != nil {
		return nil, err
	}
	if err := s.peek(key, opts.Cond); err != nil {
		return nil, err
	}
	st, err := s.stage(ctx, body, maxInline)
	if err != nil {
		return nil, err
	}
	defer st.discard()
	if err := st.verify(opts.CRC64NVME); err != nil {
		return nil, err
	}
	rec.Size, rec.ETag, rec.CRC, rec.inline = st.size, hex.EncodeToString(st.md5[:]), st.crc, st.inline
	return rec, s.commitStaged(ctx, rec, st.file, opts.Cond)
}

// newRecord begins the record of a new version of key with the given attributes.
func (s *store) newRecord(ctx context.Context, key string, a backend.Attrs) (*record, error) {
	if err := firstOf(ctx.Err(), checkKey(key), checkAttrs(a)); err != nil {
		return nil, err
	}
	bucket, err := s.svc.bucketFile(s.name)
	if err != nil {
		return nil, err
	}
	rec := &record{Key: key}
	class := bucket.Class
	if class == "" {
		class = "STANDARD"
	}
	rec.setAttrs(a, class)
	return rec, nil
}

// peek fails early where commit would fail: before a large body is copied for nothing.
func (s *store) peek(key string, c backend.Cond) error {
	if c == (backend.Cond{}) {
		return nil
	}
	rec, err := readHead(recordPath(s.keys, key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return rec.meets(c)
}

// A staged body was read whole, summed and, unless it is small, written to a durable
// temporary file.
type staged struct {
	size   int64
	md5    [md5.Size]byte
	crc    uint64
	inline []byte // the body if it has at most as many bytes as were allowed, never nil then
	file   string // else its path
}

func (st *staged) discard() {
	if st.file != "" {
		_ = os.Remove(st.file) // gone if it was placed; else collected with the session
	}
}

// verify fails with backend.ErrCorrupt unless want is nil or the checksum of the body.
func (st *staged) verify(want *uint64) error {
	if want != nil && *want != st.crc {
		return fmt.Errorf("%w: CRC64NVME is %016x, not %016x", backend.ErrCorrupt, st.crc, *want)
	}
	return nil
}

// stage takes in body; up to inline bytes of it stay in memory.
func (s *store) stage(ctx context.Context, body *io.SectionReader, inline int64) (*staged, error) {
	st := &staged{size: body.Size()}
	src := io.NewSectionReader(body, 0, st.size) // its own position: bodies are shared
	if st.size <= inline {
		st.inline = make([]byte, st.size)
		if _, err := io.ReadFull(src, st.inline); err != nil {
			return nil, shortBody(err)
		}
		st.md5, st.crc = md5.Sum(st.inline), crc64nvme.Checksum(st.inline)
		return st, nil
	}
	st.file = s.svc.session.temp()
	if err := s.stageFile(ctx, st, src); err != nil {
		st.discard()
		return nil, err
	}
	return st, nil
}

func (s *store) stageFile(ctx context.Context, st *staged, src io.Reader) error {
	f, err := os.Create(st.file)
	if err != nil {
		return err
	}
	sum, crc := md5.New(), crc64nvme.New()
	n, err := io.CopyBuffer(io.MultiWriter(f, sum, crc), struct{ io.Reader }{&ctxReader{ctx, src}}, make([]byte, 256<<10))
	if err == nil && n != st.size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = s.svc.disk.syncFile(f)
	}
	if err := errors.Join(shortBody(err), f.Close()); err != nil {
		return err
	}
	sum.Sum(st.md5[:0])
	st.crc = crc.Sum64()
	return nil
}

// shortBody gives a body that ended early a sentinel: the file it is made over shrank.
func shortBody(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: body ended early: %w", backend.ErrCorrupt, err)
	}
	return err
}

// A ctxReader stops with ctx. It lives no longer than the call that ctx belongs to, or, in
// a body, as long as the request that a body is part of.
type ctxReader struct {
	ctx context.Context
	io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// commitStaged makes rec with the body in temp, or inline if that is empty, the newest
// version of its key.
func (s *store) commitStaged(ctx context.Context, rec *record, temp string, c backend.Cond) error {
	if temp == "" {
		return s.commit(ctx, rec, c)
	}
	rec.Blob = newBlobID()
	err := s.placeBlob(temp, rec.Blob, rec.Key)
	if err == nil {
		err = s.commit(ctx, rec, c)
	}
	return err
}

// commit writes rec and renames it into place if the version it replaces meets c. Its blob
// must be placed; commit settles it, and drops it if it fails.
func (s *store) commit(ctx context.Context, rec *record, c backend.Cond) error {
	rec.ModTime = time.Now().UTC()
	temp := s.svc.session.temp()
	defer os.Remove(temp) // gone if it was renamed
	line, err := rec.line()
	if err == nil {
		err = s.svc.disk.writeFile(temp, line, rec.inline)
	}
	var old string
	if err == nil {
		old, err = s.replace(ctx, rec, temp, c)
	}
	if err != nil {
		s.dropBlob(rec.Blob)
		return err
	}
	// The blob of rec stays noted until the rename is durable, and so does the old one:
	// after a power loss in between, either record may be the one that is found.
	if err := s.svc.disk.syncBelow(s.keys, filepath.Dir(recordPath(s.keys, rec.Key))); err != nil {
		return err
	}
	s.dropBlob(old)
	if rec.Blob != "" {
		s.svc.session.settle(rec.Blob)
	}
	return nil
}

// replace renames the record file temp over that of rec.Key, if c allows it and ctx is not
// cancelled, and returns the blob of the version before, noted as garbage.
func (s *store) replace(ctx context.Context, rec *record, temp string, c backend.Cond) (oldBlob string, err error) {
	path := recordPath(s.keys, rec.Key)
	unlock, err := s.svc.locks.lock(s.name, rec.Key)
	if err != nil {
		return "", err
	}
	defer unlock()
	old, err := readHead(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, backend.ErrCorrupt) {
		return "", err
	}
	if err := firstOf(old.meets(c), ctx.Err()); err != nil {
		return "", err
	}
	if old != nil && old.Blob != "" {
		if err := s.svc.session.note(old.Blob, s.name, rec.Key); err != nil {
			return "", err
		}
		oldBlob = old.Blob
	}
	return oldBlob, s.svc.disk.renameInto(s.keys, temp, path)
}
