package swift

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// maxResumes bounds how often in a row a body is taken up again without a byte in between.
const maxResumes = maxRetries

// Get implements backend.Store. A body that breaks off is taken up at the byte it has reached,
// of the same version. Swift breaks off where a segment of a large object is missing.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	b, err := s.get(ctx, key, etag, off, n)
	if err != nil {
		return nil, s.fail(ctx, "get", key, err)
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("%w: offset %d", backend.ErrInvalid, off)
	}
	if n > math.MaxInt64-off {
		n = -1
	}
	raw := key
	// A GET of what is sealed starts its retrieval, which is for Restore to do; and only HEAD
	// knows markers and what lies behind the end.
	if n == 0 || isArchive(s.policy) || strings.HasSuffix(key, "/") {
		k, err := s.head(ctx, key)
		if err != nil {
			return nil, err
		}
		if done, err := s.settled(k, etag, off, n); done || err != nil {
			return empty(), err
		}
		raw = k.raw
	}
	leave := s.svc.readers.enter(s.name, key)
	a, err := s.request(ctx, raw, etag, off, n)
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
		leave()
		k, headErr := s.head(ctx, key)
		if headErr != nil {
			return nil, headErr
		}
		if done, err := s.settled(k, etag, off, 0); done || err != nil {
			if err == nil && k.Size > off {
				err = fmt.Errorf("%w: it refuses bytes from %d of %d", backend.ErrUnavailable, off, k.Size)
			}
			return empty(), err
		}
	}
	if err != nil {
		leave()
		return nil, err
	}
	if raw == key && a.marker {
		leave()
		_ = a.rc.Close() // nothing in it
		return nil, fmt.Errorf("%w: it is the marker of a directory", backend.ErrNotExist)
	}
	return &body{ctx: ctx, s: s, key: key, raw: raw, etag: a.etag, rc: a.rc, off: off, end: off + a.n, leave: leave}, nil
}

func empty() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// settled reports whether HEAD has told all that a read of [off, off+n) would: done if there is
// nothing to read.
func (s *Store) settled(k known, etag string, off, n int64) (done bool, err error) {
	switch {
	case etag != "" && k.ETag != etag:
		return false, other(k.ETag, etag)
	case !k.State.Readable():
		return false, fmt.Errorf("%w: it is %s", backend.ErrArchived, k.State)
	}
	return n == 0 || off >= k.Size, nil
}

func other(got, want string) error {
	return fmt.Errorf("%w: its ETag is %q, not %q", backend.ErrChanged, got, want)
}

// An answer is the beginning of a body that holds exactly n bytes of one version.
type answer struct {
	rc     io.ReadCloser
	n      int64
	etag   string
	marker bool
}

// request asks for bytes [off, off+n), n not 0, and makes sure that it is these that come.
func (s *Store) request(ctx context.Context, raw, etag string, off, n int64) (answer, error) {
	r := request{method: http.MethodGet, container: s.name, key: raw, header: map[string]string{}, cold: isArchive(s.policy)}
	if etag != "" {
		r.header["If-Match"] = quoted(etag)
	}
	if n > 0 {
		r.header["Range"] = fmt.Sprintf("bytes=%d-%d", off, off+n-1)
	} else if off > 0 {
		r.header["Range"] = fmt.Sprintf("bytes=%d-", off)
	}
	resp, err := s.svc.do(ctx, r)
	if err != nil {
		return answer{}, err
	}
	a := answer{rc: resp.Body, etag: strings.Trim(resp.Header.Get("Etag"), `"`)}
	if etag != "" && a.etag != etag {
		err = other(a.etag, etag)
	} else {
		a.n, err = answered(off, n, resp.Header.Get("Content-Range"), resp.ContentLength)
	}
	if err != nil {
		_ = resp.Body.Close() // not what was asked for
		return answer{}, err
	}
	a.marker = isMarker(raw, a.n, resp.Header.Get("Content-Type")) && off == 0
	return a, nil
}

func quoted(etag string) string { return `"` + etag + `"` }

// answered returns how many bytes an answer to a request for [off, off+n) holds, or an error if
// they are not those. length is negative if it is not told.
func answered(off, n int64, contentRange string, length int64) (int64, error) {
	wrong := func(what string) error {
		return fmt.Errorf("%w: bytes %d+%d were asked for, the answer is %s", backend.ErrUnavailable, off, n, what)
	}
	if contentRange == "" {
		// The whole object. It will do if that is what was asked for.
		if off > 0 || length < 0 || n >= 0 && length > n {
			return 0, wrong("the whole object")
		}
		return length, nil
	}
	first, last, total, ok := parseContentRange(contentRange)
	if !ok || first != off || last >= total {
		return 0, wrong(strconv.Quote(contentRange))
	}
	want := total - off
	if n >= 0 {
		want = min(n, want)
	}
	if got := last - first + 1; got != want || length >= 0 && length != got {
		return 0, wrong(strconv.Quote(contentRange))
	}
	return want, nil
}

// parseContentRange reads "bytes 0-9/100" (RFC 9110, section 14.4).
func parseContentRange(v string) (first, last, total int64, ok bool) {
	n, err := fmt.Sscanf(v, "bytes %d-%d/%d", &first, &last, &total)
	return first, last, total, err == nil && n == 3 && 0 <= first && first <= last
}

// body yields bytes [off, end) of one version, over as many requests as it takes.
type body struct {
	ctx   context.Context // of the Get: the reader lives no longer
	s     *Store
	key   string
	raw   string
	etag  string
	rc    io.ReadCloser
	leave func() // nobody reads any more

	off, end int64 // next byte, byte behind the last
	resumes  int   // in a row without a byte
	err      error // what every further Read returns
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, b.err
	}
	for b.err == nil {
		if b.off == b.end {
			b.err = io.EOF
			break
		}
		n, err := b.rc.Read(p[:min(int64(len(p)), b.end-b.off)])
		b.off += int64(n)
		if n > 0 {
			b.resumes = 0
			return n, nil // an error comes again
		}
		if err != nil {
			b.err = b.resume(err)
		}
	}
	return 0, b.err
}

// resume asks for the rest after the body broke off with cause.
func (b *body) resume(cause error) error {
	_ = b.rc.Close() // broken
	if cause == io.EOF {
		cause = io.ErrUnexpectedEOF
	}
	if err := b.ctx.Err(); err != nil {
		return b.s.fail(b.ctx, "get", b.key, err)
	}
	b.resumes++
	if b.resumes > maxResumes || b.etag == "" {
		return b.s.fail(b.ctx, "get", b.key, fmt.Errorf("%w: %d bytes before the end: %s", backend.ErrUnavailable, b.end-b.off, cause))
	}
	b.s.svc.log.Debug("get resumed", "key", b.key, "off", b.off, "n", b.end-b.off, "err", cause)
	if b.resumes > 1 {
		select {
		case <-b.ctx.Done():
			return b.s.fail(b.ctx, "get", b.key, b.ctx.Err())
		case <-time.After(firstBackoff << (b.resumes - 2)):
		}
	}
	a, err := b.s.request(b.ctx, b.raw, b.etag, b.off, b.end-b.off)
	if err == nil && a.n != b.end-b.off {
		_ = a.rc.Close() // shorter than its own version was
		err = fmt.Errorf("%w: the rest is %d bytes, not %d", backend.ErrCorrupt, a.n, b.end-b.off)
	}
	if err != nil {
		return b.s.fail(b.ctx, "get", b.key, err)
	}
	b.rc = a.rc
	return nil
}

func (b *body) Close() error {
	if b.err == nil {
		b.err = fmt.Errorf("%w: read after close", backend.ErrInvalid)
	}
	b.leave()
	_ = b.rc.Close() // what was read has been checked
	return nil
}
