package swift

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A kind is what Swift keeps an object as.
type kind uint8

const (
	plainObject  kind = iota
	staticLarge       // the segments stand in a manifest (SLO)
	dynamicLarge      // the segments are what a listing finds (DLO)
	symlink           // another object is read in its place
)

// A known object is what HEAD tells of one.
type known struct {
	backend.Object
	raw      string // its name in Swift, see look
	kind     kind
	prefix   string // container/prefix of the segments of a dynamicLarge
	deleteAt string // X-Delete-At: when it ends by itself, seconds since 1970
}

// look asks for key.
//
// A directory marker of Swift's clients is an empty object of type application/directory whose
// name has no slash at its end. Here it is the key with the slash, as everywhere else.
func (s *Store) look(ctx context.Context, key string) (known, error) {
	k, err := s.headRaw(ctx, key)
	switch {
	case err == nil && isMarker(k.raw, k.Size, k.Header["content-type"]) && k.kind == plainObject:
		return known{}, fmt.Errorf("%w: it is the marker of a directory", backend.ErrNotExist)
	case statusOf(err) != http.StatusNotFound:
		return k, err
	}
	bare := strings.TrimSuffix(key, "/")
	if bare == key || bare == "" || strings.HasSuffix(bare, "/") {
		return k, err
	}
	if m, markErr := s.headRaw(ctx, bare); markErr == nil && isMarker(m.raw, m.Size, m.Header["content-type"]) && m.kind == plainObject {
		m.Key = key
		return m, nil
	}
	return k, err
}

// isMarker reports whether an object of Swift stands for a directory of its name.
func isMarker(raw string, size int64, contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return size == 0 && strings.TrimSpace(media) == dirType && !strings.HasSuffix(raw, "/")
}

// headRaw asks for an object by its name in Swift.
func (s *Store) headRaw(ctx context.Context, raw string) (known, error) {
	h, err := s.svc.call(ctx, request{method: http.MethodHead, container: s.name, key: raw, header: map[string]string{"X-Newest": "true"}})
	if err != nil {
		return known{}, err
	}
	return s.known(raw, h)
}

// known reads the headers of an answer to HEAD.
func (s *Store) known(raw string, h http.Header) (known, error) {
	size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		return known{}, fmt.Errorf("%w: the answer names no size", backend.ErrUnavailable)
	}
	k := known{raw: raw, deleteAt: h.Get("X-Delete-At")}
	k.Key, k.Size, k.ETag = raw, size, strings.Trim(h.Get("Etag"), `"`)
	k.Attrs = readAttrs(h)
	k.Class = s.policy
	k.ModTime = timestamp(h)
	k.State = sealState(h.Get(sealHeader))
	switch {
	case isTrue(h.Get("X-Static-Large-Object")):
		k.kind = staticLarge
	case h.Get("X-Object-Manifest") != "":
		k.kind = dynamicLarge
		k.prefix = unquote(h.Get("X-Object-Manifest"))
	case h.Get("X-Symlink-Target") != "" || h.Get("Content-Location") != "":
		k.kind = symlink
	}
	return k, nil
}

func isTrue(v string) bool { return strings.EqualFold(v, "true") }

func unquote(v string) string {
	if plain, err := url.PathUnescape(v); err == nil {
		return plain
	}
	return v
}

// timestamp is when the object was changed, to the second that a listing names too:
// Last-Modified is rounded up to the next one.
func timestamp(h http.Header) time.Time {
	if sec, err := strconv.ParseFloat(h.Get("X-Timestamp"), 64); err == nil && sec > 0 && sec < 1<<40 {
		return time.Unix(int64(math.Floor(sec)), 0).UTC()
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		return t.UTC().Add(-time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

// Head implements backend.Store.
func (s *Store) Head(ctx context.Context, key string) (backend.Object, error) {
	k, err := s.head(ctx, key)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "head", key, err)
	}
	return k.Object, nil
}

// head is look with the state of all segments.
func (s *Store) head(ctx context.Context, key string) (known, error) {
	if err := checkKey(key); err != nil {
		return known{}, err
	}
	k, err := s.look(ctx, key)
	if err != nil {
		return k, err
	}
	return k, s.worst(ctx, &k)
}

const maxKey = 1024 // bytes (swift.conf-sample, max_object_name_length)

func checkKey(key string) error {
	switch {
	case !backend.ValidKey(key):
		return backend.ErrInvalid
	case len(key) > maxKey:
		return fmt.Errorf("%w: %d bytes of at most %d", backend.ErrTooLong, len(key), maxKey)
	}
	return nil
}

func base64Of(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) }

func ofBase64(v string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(v)
	return string(b), err
}
