package s3

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	nvme "github.com/minio/crc64nvme"
)

// A script answers the requests of a Store step by step, without a network, so that waiting
// takes no time in a synctest bubble. It shows what servers do not do on demand.
type script struct {
	t     *testing.T
	steps []step

	mu     sync.Mutex // guards what follows
	seen   []*http.Request
	bodies []string
}

// A step answers one request.
type step func(r *http.Request) (*http.Response, error)

func (w *script) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close() // it is the request's
	}
	n := len(w.seen)
	w.seen, w.bodies = append(w.seen, r), append(w.bodies, string(body))
	if n >= len(w.steps) {
		return nil, fmt.Errorf("request %d (%s %s) is not in the script", n+1, r.Method, r.URL)
	}
	resp, err := w.steps[n](r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// over returns a Store of bucket b that speaks to the script, and the script.
func over(t *testing.T, endpoint string, steps ...step) (*Store, *script) {
	t.Helper()
	w := &script{t: t, steps: steps}
	svc, err := New(t.Context(), Options{
		Endpoint: endpoint, AccessKey: "AKIDTEST", SecretKey: "verysecret",
		Wrap: func(http.RoundTripper) http.RoundTripper { return w },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Store{svc: svc, bucket: "b", client: svc.home()}, w
}

const (
	elsewhere = "http://s3.example"
	amazonURL = "https://s3.us-east-1.amazonaws.com"
)

// says answers with a status, headers as "Name: value" and a body.
func says(status int, body string, headers ...string) step {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			h.Set(name, value)
		}
		if h.Get("Content-Length") == "" {
			h.Set("Content-Length", fmt.Sprint(len(body)))
		}
		return &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

// cut is says with a body that breaks off behind the bytes given, of size announced.
func cut(status int, body string, size int64, headers ...string) step {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := says(status, body, append(headers, fmt.Sprint("Content-Length: ", size))...)(r)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body), broken{}))
		return resp, err
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// apiError is an error as S3 says it.
func apiError(status int, code, message string) step {
	return says(status, fmt.Sprintf(`<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message><RequestId>REQ1</RequestId></Error>`, code, message),
		"Content-Type: application/xml")
}

// headed answers a HEAD.
func headed(etag string, size int) step {
	return says(200, "", "ETag: "+`"`+etag+`"`, fmt.Sprintf("Content-Length: %d", size), "Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT")
}

func section(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

func sumOf(s string) string {
	return *encodeCRC(nvme.Checksum([]byte(s)))
}
