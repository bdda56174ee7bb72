package s3

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

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/thawfs/thawfs/backend"
)

// maxResumes bounds how often in a row a body is taken up again without a byte in between; how
// often in all is bounded by the bytes.
const maxResumes = 6

// Get implements backend.Store. A body that breaks off is taken up at the byte it has reached,
// of the same version.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	b, err := s.get(ctx, key, etag, off, n)
	if err != nil {
		return nil, s.fail(ctx, "get", key, err)
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	if err := s.checkKey(key); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("%w: offset %d", backend.ErrInvalid, off)
	}
	if n > math.MaxInt64-off {
		n = -1
	}
	if n == 0 {
		return s.nothing(ctx, key, etag, 0)
	}
	a, err := s.request(ctx, key, etag, off, n)
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
		return s.nothing(ctx, key, etag, off)
	}
	if err != nil {
		return nil, err
	}
	return &body{ctx: ctx, s: s, key: key, etag: a.etag, rc: a.rc, off: off, end: off + a.n}, nil
}

// nothing is the empty reader for a range of no bytes or one that begins behind the end, once
// it is clear that the version is there and can be read, and that it does end before off.
func (s *Store) nothing(ctx context.Context, key, etag string, off int64) (io.ReadCloser, error) {
	obj, err := s.head(ctx, key)
	switch {
	case err != nil:
		return nil, s.explain(ctx, key, err)
	case etag != "" && obj.ETag != etag:
		return nil, other(obj.ETag, etag)
	case !obj.State.Readable():
		return nil, fmt.Errorf("%w: it is %s", backend.ErrArchived, obj.State)
	case off > 0 && obj.Size > off:
		return nil, fmt.Errorf("%w: it refuses bytes from %d of %d", backend.ErrUnavailable, off, obj.Size)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// An answer is the beginning of a body that holds exactly n bytes of one version.
type answer struct {
	rc   io.ReadCloser
	n    int64
	etag string
}

// request asks for bytes [off, off+n), n not 0, and makes sure that it is these that come.
func (s *Store) request(ctx context.Context, key, etag string, off, n int64) (answer, error) {
	in := &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key}
	if etag != "" {
		in.IfMatch = quoted(etag)
	}
	if n > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	} else if off > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return answer{}, err
	}
	a := answer{rc: out.Body, etag: bare(out.ETag)}
	if etag != "" && a.etag != etag {
		err = other(a.etag, etag) // a server that does not know If-Match
	} else {
		a.n, err = answered(off, n, aws.ToString(out.ContentRange), out.ContentLength)
	}
	if err != nil {
		_ = out.Body.Close() // not what was asked for
		return answer{}, err
	}
	return a, nil
}

func other(got, want string) error {
	return fmt.Errorf("%w: its ETag is %q, not %q", backend.ErrChanged, got, want)
}

// answered returns how many bytes an answer to a request for [off, off+n) holds, or an error if
// they are not those.
func answered(off, n int64, contentRange string, length *int64) (int64, error) {
	wrong := func(what string) error {
		return fmt.Errorf("%w: bytes %d+%d were asked for, the answer is %s", backend.ErrUnavailable, off, n, what)
	}
	if contentRange == "" {
		// The whole object. It will do if that is what was asked for.
		if off > 0 || length == nil || n >= 0 && *length > n {
			return 0, wrong("the whole object")
		}
		return *length, nil
	}
	first, last, total, ok := parseContentRange(contentRange)
	if !ok || first != off || last >= total {
		return 0, wrong(strconv.Quote(contentRange))
	}
	want := total - off
	if n >= 0 {
		want = min(n, want)
	}
	if got := last - first + 1; got != want || length != nil && *length != got {
		return 0, wrong(strconv.Quote(contentRange))
	}
	return want, nil
}

// parseContentRange reads "bytes 0-9/100" (RFC 9110, section 14.4).
func parseContentRange(v string) (first, last, total int64, ok bool) {
	v, isBytes := strings.CutPrefix(v, "bytes ")
	span, of, cut1 := strings.Cut(v, "/")
	from, to, cut2 := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total, err3 := strconv.ParseInt(of, 10, 64)
	ok = isBytes && cut1 && cut2 && err1 == nil && err2 == nil && err3 == nil && 0 <= first && first <= last
	return first, last, total, ok
}

// body yields bytes [off, end) of one version, over as many requests as it takes.
type body struct {
	ctx  context.Context // of the Get: the reader lives no longer
	s    *Store
	key  string
	etag string
	rc   io.ReadCloser // nil behind a failed resume

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
	b.resumes++
	if b.resumes > maxResumes || b.etag == "" {
		// Without an ETag nothing tells whether the rest would be of the same version.
		return b.s.fail(b.ctx, "get", b.key, fmt.Errorf("%w: %d bytes before the end: %s", backend.ErrUnavailable, b.end-b.off, cause))
	}
	b.s.svc.log.Debug("get resumed", "key", b.key, "off", b.off, "n", b.end-b.off, "err", cause)
	if b.resumes > 1 {
		select {
		case <-b.ctx.Done():
			return b.s.fail(b.ctx, "get", b.key, b.ctx.Err())
		case <-time.After(backoff(b.resumes - 2)):
		}
	}
	a, err := b.s.request(b.ctx, b.key, b.etag, b.off, b.end-b.off)
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
	_ = b.rc.Close() // what was read has been checked
	return nil
}
