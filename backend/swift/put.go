package swift

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Put implements backend.Store. Swift knows no condition on the version that a PUT replaces:
// IfMatch is ErrUnsupported. Every body travels with its MD5, which Swift checks.
func (s *Store) Put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	obj, err := s.put(ctx, key, body, opts)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "put", key, err)
	}
	return obj, nil
}

func (s *Store) put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	if err := checkKey(key); err != nil {
		return backend.Object{}, err
	}
	if limit := s.svc.limits.maxFile(); body.Size() > limit {
		return backend.Object{}, fmt.Errorf("%w: %d bytes, one request takes %d", backend.ErrTooLarge, body.Size(), limit)
	}
	if opts.IfMatch != "" {
		return backend.Object{}, errNoIfMatch()
	}
	header, err := s.headers(key, opts.Attrs)
	if err != nil {
		return backend.Object{}, err
	}
	sum, crc, err := sums(ctx, body)
	if err != nil {
		return backend.Object{}, err
	}
	if opts.CRC64NVME != nil && crc != *opts.CRC64NVME {
		return backend.Object{}, fmt.Errorf("%w: the CRC64NVME of the body is %016x, not %016x", backend.ErrCorrupt, crc, *opts.CRC64NVME)
	}
	old, err := s.replaced(ctx, key, opts.Cond)
	if err != nil {
		return backend.Object{}, err
	}
	header["Etag"] = sum
	made := backend.Object{Key: key, Size: body.Size(), ETag: sum, Attrs: s.stored(opts.Attrs, header)}
	h, err := s.replace(ctx, request{method: http.MethodPut, container: s.name, key: key, header: header, body: body}, opts.Cond, sum)
	if err != nil {
		return backend.Object{}, err
	}
	s.releaseAfter(ctx, key, old.segments, nil)
	return s.newest(ctx, made, h, old), nil
}

func errNoIfMatch() error {
	return fmt.Errorf("%w: Swift cannot make a change depend on the version it replaces", backend.ErrUnsupported)
}

// headers are those of a PUT of key with a.
func (s *Store) headers(key string, a backend.Attrs) (map[string]string, error) {
	if a.Class != "" && s.policy != "" && !strings.EqualFold(a.Class, s.policy) {
		return nil, fmt.Errorf("%w: storage policy %q: all objects of this container have %q", backend.ErrInvalid, a.Class, s.policy)
	}
	h, err := wire(a)
	if err != nil {
		return nil, err
	}
	h["Content-Type"] = contentType(key, a.Header)
	return h, nil
}

// stored are the attributes that the store has after it took header.
func (s *Store) stored(a backend.Attrs, header map[string]string) backend.Attrs {
	c := clone(a)
	c.Header["content-type"], c.Class = header["Content-Type"], s.policy
	return c
}

// replace sends a PUT. Swift looks for what must not be there when a PUT begins, so of several
// that begin together all would win: those of this process go in turn. When an answer was lost,
// a conditional PUT may find what it has made itself: etag tells.
func (s *Store) replace(ctx context.Context, r request, cond backend.Cond, etag string) (http.Header, error) {
	if !cond.IfAbsent {
		return s.svc.call(ctx, r)
	}
	leave, err := s.svc.turns.take(ctx, s.name+"/"+r.key)
	if err != nil {
		return nil, err
	}
	defer leave()
	r.header["If-None-Match"] = "*"
	begun := time.Now()
	h, err := s.svc.call(ctx, r)
	if statusOf(err) != http.StatusPreconditionFailed {
		return h, err
	}
	k, headErr := s.headRaw(ctx, r.key)
	if headErr == nil && k.ETag == etag && k.ModTime.After(begun.Add(-time.Second)) && time.Since(begun) > firstBackoff && sameMeta(k.Attrs, r.header) {
		return http.Header{}, nil
	}
	return nil, err
}

// sameMeta reports whether an object has the metadata that header asked for.
func sameMeta(a backend.Attrs, header map[string]string) bool {
	h := http.Header{}
	for name, value := range header {
		h.Set(name, value)
	}
	want := readAttrs(h).Meta
	for name, value := range want {
		if a.Meta[name] != value {
			return false
		}
	}
	return len(want) == len(a.Meta)
}

// newest looks whether the store holds what was made in the place of something else. Between
// the last look and the change somebody may have been faster or slower: then that is said, and
// the next open finds what there is.
func (s *Store) newest(ctx context.Context, made backend.Object, h http.Header, old predecessor) backend.Object {
	if !old.exists && h.Get("Last-Modified") != "" {
		made.ModTime = timestamp(http.Header{"Last-Modified": h["Last-Modified"]})
		if !isArchive(s.policy) {
			return made
		}
	}
	k, err := s.head(ctx, made.Key)
	switch {
	case err == nil && k.ETag == made.ETag:
		return k.Object
	case err == nil || errors.Is(translate(ctx, err), backend.ErrNotExist):
		s.svc.log.Warn("somebody else changed the object at the same time", "key", s.name+"/"+made.Key, "etag", k.ETag)
	}
	if made.ModTime.IsZero() {
		made.ModTime = time.Now().UTC().Truncate(time.Second)
	}
	return made
}

// sums reads a body once for its MD5 and CRC64NVME.
func sums(ctx context.Context, body *io.SectionReader) (md5sum string, crc uint64, err error) {
	m, c := md5.New(), crc64nvme.New()
	r := &reading{r: io.NewSectionReader(body, 0, body.Size())}
	buf := make([]byte, min(mib, body.Size()+1))
	for {
		if err := ctx.Err(); err != nil {
			return "", 0, err
		}
		n, err := r.Read(buf)
		for _, h := range []hash.Hash{m, c} {
			_, _ = h.Write(buf[:n]) // never fails
		}
		if err == io.EOF {
			return hex.EncodeToString(m.Sum(nil)), c.Sum64(), nil
		}
		if err != nil {
			return "", 0, &localError{err}
		}
	}
}

// Delete implements backend.Store: a large object goes with its segments.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return s.fail(ctx, "delete", key, err)
	}
	if err := s.delete(ctx, key); err != nil {
		return s.fail(ctx, "delete", key, err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, key string) error {
	for range 2 { // a directory may have two markers, with a slash and without
		k, err := s.look(ctx, key)
		if statusOf(err) == http.StatusNotFound {
			return s.remove(ctx, key) // it may have expired, and be listed still
		}
		if errors.Is(err, backend.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		segments, err := s.segmentsOf(ctx, k)
		if err != nil {
			return err
		}
		if err := s.remove(ctx, k.raw); err != nil {
			return err
		}
		s.releaseAfter(ctx, key, segments, nil)
		if !strings.HasSuffix(key, "/") {
			break
		}
	}
	return nil
}

// remove deletes an object by its name in Swift.
func (s *Store) remove(ctx context.Context, raw string) error {
	_, err := s.svc.call(ctx, request{method: http.MethodDelete, container: s.name, key: raw})
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}
