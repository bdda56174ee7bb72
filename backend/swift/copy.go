package swift

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// Copy implements backend.Copier. A large object is not copied: its manifest is written again,
// over the same segments. Onto itself a copy is a POST, which changes metadata only. Conditions
// on the destination of plain objects are ErrUnsupported: Swift takes them for conditions on
// the source.
func (s *Store) Copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	obj, err := s.copy(ctx, from, to, opts)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "copy", to, err)
	}
	return obj, nil
}

func (s *Store) copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	for _, key := range []string{from.Key, to} {
		if err := checkKey(key); err != nil {
			return backend.Object{}, fmt.Errorf("%q: %w", key, err)
		}
	}
	if opts.IfMatch != "" {
		return backend.Object{}, errNoIfMatch()
	}
	k, err := s.source(ctx, from)
	if err != nil {
		return backend.Object{}, err
	}
	attrs := k.Attrs
	if opts.Attrs != nil {
		attrs = *opts.Attrs
	}
	header, err := s.headers(to, attrs)
	if err != nil {
		return backend.Object{}, err
	}
	if k.deleteAt != "" {
		header["X-Delete-At"] = k.deleteAt
	}
	if from.Key == to && opts.IfAbsent {
		return backend.Object{}, fmt.Errorf("%w: it is there", backend.ErrChanged)
	}
	made := backend.Object{Key: to, Size: k.Size, ETag: k.ETag, Attrs: s.stored(attrs, header)}
	var h http.Header
	switch {
	case from.Key == to && k.kind != symlink:
		h, err = s.post(ctx, k, header)
	case k.kind == staticLarge || k.kind == dynamicLarge:
		return s.copyLarge(ctx, k, from.Key, to, header, opts.Cond, made)
	case opts.IfAbsent:
		return backend.Object{}, fmt.Errorf("%w: Swift cannot make a copy depend on what it replaces", backend.ErrUnsupported)
	default:
		h, err = s.copyPlain(ctx, k, to, header, made)
	}
	if err != nil {
		return backend.Object{}, err
	}
	return s.newest(ctx, made, h, predecessor{exists: true}), nil
}

// source looks at the object to be copied and makes sure that it is the one that is meant, and
// readable.
func (s *Store) source(ctx context.Context, from backend.Object) (known, error) {
	k, err := s.head(ctx, from.Key)
	switch {
	case err != nil:
		return k, err
	case from.ETag != "" && k.ETag != from.ETag:
		return k, other(k.ETag, from.ETag)
	case !k.State.Readable():
		return k, fmt.Errorf("%w: it is %s", backend.ErrArchived, k.State)
	}
	return k, nil
}

// post gives k other metadata. It replaces all of it, what makes a dynamic large object one
// included.
func (s *Store) post(ctx context.Context, k known, header map[string]string) (http.Header, error) {
	if k.kind == dynamicLarge {
		header["X-Object-Manifest"] = quotePath(k.prefix)
	}
	return s.svc.call(ctx, request{method: http.MethodPost, container: s.name, key: k.raw, header: header})
}

// copyPlain copies bytes inside the store. Swift checks them against the ETag of the source.
func (s *Store) copyPlain(ctx context.Context, k known, to string, header map[string]string, made backend.Object) (http.Header, error) {
	old, err := s.replaced(ctx, to, backend.Cond{})
	if err != nil {
		return nil, err
	}
	header["X-Copy-From"] = quotePath(s.name + "/" + k.raw)
	header["X-Fresh-Metadata"] = "true"
	header["If-Match"] = quoted(k.ETag) // of the source
	h, err := s.svc.call(ctx, request{method: http.MethodPut, container: s.name, key: to, header: header, patient: true})
	if err != nil {
		return nil, err
	}
	if tag := strings.Trim(h.Get("Etag"), `"`); tag != "" && tag != made.ETag {
		return nil, other(tag, made.ETag)
	}
	s.releaseAfter(ctx, to, old.segments, nil)
	return h, nil
}

// copyRange copies bytes [off, off+n) of k to an object of any container and returns its ETag.
func (s *Store) copyRange(ctx context.Context, container, name string, k known, off, n int64) (string, error) {
	h, err := s.svc.call(ctx, request{
		method: http.MethodPut, container: container, key: name, patient: true,
		header: map[string]string{
			"X-Copy-From": quotePath(s.name + "/" + k.raw), "X-Fresh-Metadata": "true", "Content-Type": plainType,
			"If-Match": quoted(k.ETag), "Range": fmt.Sprintf("bytes=%d-%d", off, off+n-1),
		},
	})
	if err != nil {
		return "", err
	}
	return strings.Trim(h.Get("Etag"), `"`), nil
}

// copyLarge writes a second manifest over the segments of k.
func (s *Store) copyLarge(ctx context.Context, k known, from, to string, header map[string]string, cond backend.Cond, made backend.Object) (backend.Object, error) {
	segments, err := s.readManifest(ctx, k)
	if err != nil {
		return backend.Object{}, err
	}
	if countObjects(segments) == 0 && k.kind == dynamicLarge { // nothing is in it
		return s.put(ctx, to, io.NewSectionReader(strings.NewReader(""), 0, 0), backend.PutOptions{Attrs: made.Attrs, Cond: cond})
	}
	if err := s.share(ctx, segments, from, to); err != nil {
		return backend.Object{}, err
	}
	// Whoever deletes the source from now on finds the notes. Whoever has before: look again.
	if now, err := s.headRaw(ctx, k.raw); err != nil {
		return backend.Object{}, err
	} else if now.ETag != k.ETag {
		return backend.Object{}, other(now.ETag, k.ETag)
	}
	old, err := s.replaced(ctx, to, cond)
	if err != nil {
		return backend.Object{}, err
	}
	at := s.segments() + "/" + setName(backend.Upload{Key: to, ID: rand.Text()})
	segments, h, err := s.putManifest(ctx, to, segments, header, cond, at)
	if err != nil {
		return backend.Object{}, err
	}
	made.ETag = manifestTag(segments)
	keep, err := s.expand(ctx, segments)
	if err == nil {
		s.releaseAfter(ctx, to, old.segments, keep)
	}
	return s.newest(ctx, made, h, old), nil
}
