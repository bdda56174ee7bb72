package swift

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// Uploads
//
// An upload is an object in the container of segments that holds what it is to become:
//
//	.thawfs/uploads/ID/KEY                  the key, cut where it would be too long
//	KEY/ID/00000001                         its segments
//	.thawfs/long/HASH/ID/00000001           those of a key that is too long for that
//
// The record goes when the manifest stands. The segments of one upload are a set; see owners.go
// for who needs them.
const (
	recordPrefix = ".thawfs/uploads/"
	longPrefix   = ".thawfs/long/"
	idLength     = 26 // of rand.Text
)

// uploadRecord is what such an object holds.
type uploadRecord struct {
	Key    string            `json:"key"`
	Meta   map[string]string `json:"meta,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Class  string            `json:"class,omitempty"`
}

// PartLimits implements backend.PartUploader. Parts below a mebibyte would be sent to readers
// one a second (middleware slo, rate_limit_under_size).
func (s *Store) PartLimits() backend.PartLimits {
	l := backend.PartLimits{MinSize: mib, MaxSize: s.svc.limits.maxFile(), MaxParts: s.svc.limits.maxSegments()}
	l.MaxPut, l.MaxObject = l.MaxSize, int64(l.MaxParts)*l.MaxSize
	return l
}

func recordName(up backend.Upload) string {
	name := recordPrefix + up.ID + "/" + up.Key
	return strings.ToValidUTF8(name[:min(len(name), maxKey)], "")
}

// setName is what the names of an upload's segments begin with.
func setName(up backend.Upload) string {
	if len(up.Key)+len("/")+idLength+len("/m0/00000000") > maxKey {
		sum := sha256.Sum256([]byte(up.Key))
		return longPrefix + hex.EncodeToString(sum[:16]) + "/" + up.ID
	}
	return up.Key + "/" + up.ID
}

// NewUpload implements backend.PartUploader.
func (s *Store) NewUpload(ctx context.Context, key string, opts backend.PutOptions) (backend.Upload, error) {
	up := backend.Upload{Key: key, ID: rand.Text()}
	err := checkKey(key)
	if err == nil {
		_, err = s.headers(key, opts.Attrs)
	}
	if err == nil {
		err = s.needSegments(ctx)
	}
	if err == nil {
		err = s.putRecord(ctx, up, opts.Attrs)
	}
	if err != nil {
		return backend.Upload{}, s.fail(ctx, "begin upload", key, err)
	}
	return up, nil
}

func (s *Store) putRecord(ctx context.Context, up backend.Upload, a backend.Attrs) error {
	data, err := json.Marshal(uploadRecord{Key: up.Key, Meta: a.Meta, Header: a.Header, Class: a.Class})
	if err != nil {
		return err
	}
	r := request{method: http.MethodPut, container: s.segments(), key: recordName(up), body: text(data), header: map[string]string{"Content-Type": "application/json"}}
	_, err = s.svc.call(ctx, r)
	if statusOf(err) == http.StatusNotFound { // somebody has removed the container
		s.svc.mu.Lock()
		delete(s.svc.companion, s.name)
		s.svc.mu.Unlock()
		if err = s.needSegments(ctx); err == nil {
			_, err = s.svc.call(ctx, r)
		}
	}
	return err
}

func errNoUpload() error {
	return fmt.Errorf("%w: the upload is finished, aborted or never was", backend.ErrNotExist)
}

// begun fails with ErrNotExist unless up is unfinished.
func (s *Store) begun(ctx context.Context, up backend.Upload) (rec uploadRecord, err error) {
	if len(up.ID) != idLength || strings.Contains(up.ID, "/") {
		return rec, errNoUpload()
	}
	data, _, err := s.svc.read(ctx, request{method: http.MethodGet, container: s.segments(), key: recordName(up), header: map[string]string{"X-Newest": "true"}})
	if statusOf(err) == http.StatusNotFound {
		return rec, errNoUpload()
	}
	if err == nil {
		err = json.Unmarshal(data, &rec)
	}
	if err == nil && rec.Key != up.Key {
		return rec, errNoUpload()
	}
	return rec, err
}

func (s *Store) partName(up backend.Upload, number int) string {
	return fmt.Sprintf("%s/%08d", setName(up), number)
}

// UploadPart implements backend.PartUploader.
func (s *Store) UploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc uint64) (backend.Part, error) {
	p, err := s.uploadPart(ctx, up, number, body, crc)
	if err != nil {
		return p, s.fail(ctx, "upload part", up.Key, err)
	}
	return p, nil
}

func (s *Store) uploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc uint64) (backend.Part, error) {
	if _, err := s.begun(ctx, up); err != nil {
		return backend.Part{}, err
	}
	sum, got, err := sums(ctx, body)
	if err != nil {
		return backend.Part{}, err
	}
	if got != crc {
		return backend.Part{}, fmt.Errorf("%w: the CRC64NVME of the part is %016x, not %016x", backend.ErrCorrupt, got, crc)
	}
	_, err = s.svc.call(ctx, request{
		method: http.MethodPut, container: s.segments(), key: s.partName(up, number), body: body,
		header: map[string]string{"Etag": sum, "Content-Type": plainType},
	})
	return backend.Part{Number: number, Size: body.Size(), ETag: sum, CRC: crc}, err
}

// copiedTag begins the ETag of a part that is made of segments of another object.
const copiedTag = "segments:"

// CopyPart implements backend.PartCopier. Of a large object it takes the segments themselves,
// so that an edit moves no bytes but its own; a plain one is copied inside the store.
func (s *Store) CopyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	p, err := s.copyPart(ctx, up, number, from, off, n)
	if err != nil {
		return p, s.fail(ctx, "copy part", up.Key, err)
	}
	return p, nil
}

func (s *Store) copyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	if _, err := s.begun(ctx, up); err != nil {
		return backend.Part{}, err
	}
	k, err := s.source(ctx, from)
	if err != nil {
		return backend.Part{}, err
	}
	p := backend.Part{Number: number, Size: n}
	segments, err := s.readManifest(ctx, k)
	switch {
	case err != nil:
		return p, err
	case len(segments) == 0:
		p.ETag, err = s.copyRange(ctx, s.segments(), s.partName(up, number), k, off, n)
		return p, err
	}
	taken := within(segments, off, n)
	if from.Key != up.Key {
		if err := s.share(ctx, taken, from.Key, up.Key); err != nil {
			return p, err
		}
	}
	tag, err := json.Marshal(taken)
	p.ETag = copiedTag + string(tag)
	return p, err
}

// within is what segments contribute to bytes [off, off+n) of their object.
func within(segments []segment, off, n int64) []segment {
	var taken []segment
	for _, g := range segments {
		_, size := g.span()
		from, to := max(0, off), min(size, off+n)
		if from < to {
			taken = append(taken, g.cut(from, to-from))
		}
		off -= size
	}
	return taken
}

// lines are the lines of a manifest for parts.
func (s *Store) lines(up backend.Upload, parts []backend.Part) ([]segment, error) {
	var segments []segment
	last := 0
	for _, p := range parts {
		if p.Number <= last {
			return nil, fmt.Errorf("%w: part %d follows part %d", backend.ErrInvalid, p.Number, last)
		}
		last = p.Number
		if tag, ok := strings.CutPrefix(p.ETag, copiedTag); ok {
			var taken []segment
			if err := json.Unmarshal([]byte(tag), &taken); err != nil {
				return nil, fmt.Errorf("%w: part %d: %w", backend.ErrInvalid, p.Number, err)
			}
			segments = append(segments, taken...)
			continue
		}
		segments = append(segments, segment{Name: "/" + s.segments() + "/" + s.partName(up, p.Number), Size: p.Size, ETag: p.ETag})
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: no parts", backend.ErrInvalid)
	}
	return segments, nil
}

// wholeCRC checks the CRC64NVME of the parts in a row against what the caller knows.
func wholeCRC(parts []backend.Part, known *uint64) error {
	var whole uint64
	for _, p := range parts {
		if p.CRC == 0 && p.Size > 0 {
			return nil // copied, its CRC is not known
		}
		whole = backend.CombineCRC(whole, p.CRC, p.Size)
	}
	if known != nil && *known != whole {
		return fmt.Errorf("%w: the CRC64NVME of the parts is %016x, not %016x", backend.ErrCorrupt, whole, *known)
	}
	return nil
}

// Complete implements backend.PartUploader. The manifest is the last to be written; what it
// replaces goes afterwards.
func (s *Store) Complete(ctx context.Context, up backend.Upload, parts []backend.Part, opts backend.PutOptions) (backend.Object, error) {
	obj, err := s.complete(ctx, up, parts, opts)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "complete upload", up.Key, err)
	}
	return obj, nil
}

func (s *Store) complete(ctx context.Context, up backend.Upload, parts []backend.Part, opts backend.PutOptions) (backend.Object, error) {
	if opts.IfMatch != "" {
		return backend.Object{}, errNoIfMatch()
	}
	rec, err := s.begun(ctx, up)
	if err != nil {
		return backend.Object{}, err
	}
	segments, err := s.lines(up, parts)
	if err != nil {
		return backend.Object{}, err
	}
	if err := wholeCRC(parts, opts.CRC64NVME); err != nil {
		return backend.Object{}, err
	}
	old, err := s.replaced(ctx, up.Key, opts.Cond)
	if err != nil {
		return backend.Object{}, err
	}
	attrs := backend.Attrs{Meta: rec.Meta, Header: rec.Header, Class: rec.Class}
	header, err := s.headers(up.Key, attrs)
	if err != nil {
		return backend.Object{}, err
	}
	made := backend.Object{Key: up.Key, Attrs: s.stored(attrs, header)}
	for _, p := range parts {
		made.Size += p.Size
	}
	segments, h, err := s.putManifest(ctx, up.Key, segments, header, opts.Cond, s.segments()+"/"+setName(up))
	if err != nil {
		return backend.Object{}, err
	}
	made.ETag = manifestTag(segments)
	s.finish(ctx, up, segments, old.segments)
	return s.newest(ctx, made, h, old), nil
}

// finish removes what the object that stands now does not need.
func (s *Store) finish(ctx context.Context, up backend.Upload, segments, old []segment) {
	_, err := s.svc.call(ctx, request{method: http.MethodDelete, container: s.segments(), key: recordName(up)})
	if err != nil && statusOf(err) != http.StatusNotFound {
		s.svc.log.Warn("the record of a finished upload stays", "key", up.Key, "err", err)
	}
	keep, err := s.expand(ctx, segments)
	if err == nil {
		err = s.sweepSet(ctx, set(s.segments()+"/"+setName(up)), keep)
	}
	if err != nil {
		s.svc.log.Warn("parts that are not needed stay", "key", up.Key, "err", err)
		return
	}
	s.releaseAfter(ctx, up.Key, old, keep)
}

// Abort implements backend.PartUploader. The record may be of an upload whose manifest stands:
// then a crash came between, and the segments are needed.
func (s *Store) Abort(ctx context.Context, up backend.Upload) error {
	if err := s.abort(ctx, up); err != nil {
		return s.fail(ctx, "abort upload", up.Key, err)
	}
	return nil
}

func (s *Store) abort(ctx context.Context, up backend.Upload) error {
	_, err := s.begun(ctx, up)
	if errors.Is(err, backend.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at := set(s.segments() + "/" + setName(up))
	if others, err := s.owners(ctx, at); err != nil || len(others) > 0 {
		return err // renamed since
	}
	k, err := s.headRaw(ctx, up.Key)
	var keep []segment
	if err == nil {
		keep, err = s.segmentsOf(ctx, k)
	}
	if err != nil && statusOf(err) != http.StatusNotFound {
		return err
	}
	// The record first: a part that is sent from now on is refused.
	_, err = s.svc.call(ctx, request{method: http.MethodDelete, container: s.segments(), key: recordName(up)})
	if err != nil && statusOf(err) != http.StatusNotFound {
		return err
	}
	return s.sweepSet(ctx, at, keep)
}

// Uploads implements backend.PartUploader.
func (s *Store) Uploads(ctx context.Context, prefix string) iter.Seq2[backend.Upload, error] {
	return func(yield func(backend.Upload, error) bool) {
		err := s.svc.walk(ctx, s.segments(), recordPrefix, func(r row) error {
			id, key, _ := strings.Cut(strings.TrimPrefix(r.Name, recordPrefix), "/")
			up := backend.Upload{Key: key, ID: id}
			if len(r.Name) > maxKey-4 { // it may be cut
				data, _, err := s.svc.read(ctx, request{method: http.MethodGet, container: s.segments(), key: r.Name})
				if statusOf(err) == http.StatusNotFound {
					return nil
				}
				var rec uploadRecord
				if err == nil {
					err = json.Unmarshal(data, &rec)
				}
				if err != nil {
					return err
				}
				up.Key = rec.Key
			}
			if strings.HasPrefix(up.Key, prefix) && !yield(up, nil) {
				return errStop
			}
			return nil
		})
		if err != nil {
			yield(backend.Upload{}, s.fail(ctx, "list uploads", prefix, err))
		}
	}
}
