package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	nvme "github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
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

func TestGetResumesABrokenBodyWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := over(t, elsewhere,
			cut(206, "01", 8, `ETag: "v1"`, "Content-Range: bytes 2-9/10"),
			cut(206, "", 6, `ETag: "v1"`, "Content-Range: bytes 4-9/10"),
			apiError(503, "SlowDown", "later"),
			cut(206, "234", 6, `ETag: "v1"`, "Content-Range: bytes 4-9/10"),
			says(206, "567", `ETag: "v1"`, "Content-Range: bytes 7-9/10"),
		)
		r, err := s.Get(t.Context(), "k", "v1", 2, 100)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != "01234567" || err != nil {
			t.Errorf("read = %q, %v, want 01234567", got, err)
		}
		for i, want := range []string{"bytes=2-101", "bytes=4-9", "bytes=4-9", "bytes=4-9", "bytes=7-9"} {
			if r := w.seen[i].Header; r.Get("Range") != want || r.Get("If-Match") != `"v1"` {
				t.Errorf("request %d has Range %q, If-Match %q, want %q of v1", i, r.Get("Range"), r.Get("If-Match"), want)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestGetOfTheNewestResumesTheVersionItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := over(t, elsewhere,
			cut(200, "01", 4, `ETag: "v7"`),
			says(206, "23", `ETag: "v7"`, "Content-Range: bytes 2-3/4"),
		)
		r, err := s.Get(t.Context(), "k", "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != "0123" || err != nil {
			t.Errorf("read = %q, %v, want 0123", got, err)
		}
		if got := w.seen[1].Header.Get("If-Match"); got != `"v7"` {
			t.Errorf("the rest was asked for with If-Match %q, want v7", got)
		}
	})
}

func TestGetNeverMixesVersions(t *testing.T) {
	for name, second := range map[string]step{
		"refused":              apiError(412, "PreconditionFailed", "no"),
		"ignored by the store": says(206, "XYZ", `ETag: "v2"`, "Content-Range: bytes 1-3/4"),
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := over(t, elsewhere, cut(200, "0", 4, `ETag: "v1"`), second)
			r, err := s.Get(t.Context(), "k", "v1", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); string(got) != "0" || !errors.Is(err, backend.ErrChanged) {
				t.Errorf("read = %q, %v, want 0 and ErrChanged", got, err)
			}
		})
	}
}

func TestGetGivesUpOnABodyThatKeepsBreaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []step{cut(200, "01", 4, `ETag: "v1"`)}
		for range maxResumes {
			steps = append(steps, cut(206, "", 2, `ETag: "v1"`, "Content-Range: bytes 2-3/4"))
		}
		s, w := over(t, elsewhere, steps...)
		r, err := s.Get(t.Context(), "k", "v1", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != "01" || !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("read = %q, %v, want 01 and ErrUnavailable", got, err)
		}
		if _, again := r.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
			t.Errorf("read after the error = %v, want the same error", again)
		}
		if len(w.seen) != 1+maxResumes {
			t.Errorf("%d requests, want %d", len(w.seen), 1+maxResumes)
		}
	})
}

func TestGetTakesNoOtherBytesThanAskedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		off, n int64
		answer step
	}{
		"the whole object":         {2, 2, says(200, "0123456789", `ETag: "v1"`)},
		"the whole of a large one": {0, 2, says(200, "0123456789", `ETag: "v1"`)},
		"another begin":            {2, 2, says(206, "12", `ETag: "v1"`, "Content-Range: bytes 1-2/10")},
		"another end":              {2, 2, says(206, "234", `ETag: "v1"`, "Content-Range: bytes 2-4/10")},
		"fewer":                    {2, 4, says(206, "23", `ETag: "v1"`, "Content-Range: bytes 2-3/10")},
		"fewer than it says":       {2, 4, says(206, "23", `ETag: "v1"`, "Content-Range: bytes 2-5/10")},
		"nonsense":                 {2, 2, says(206, "23", `ETag: "v1"`, "Content-Range: lines 2-3/10")},
		"beyond its own end":       {2, -1, says(206, "23", `ETag: "v1"`, "Content-Range: bytes 2-10/10")},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := over(t, elsewhere, tt.answer)
			r, err := s.Get(t.Context(), "k", "v1", tt.off, tt.n)
			if err == nil {
				got, err := io.ReadAll(r)
				t.Fatalf("Get(%d, %d) = %q, %v, want an error", tt.off, tt.n, got, err)
			}
			if !errors.Is(err, backend.ErrUnavailable) {
				t.Errorf("Get = %v, want ErrUnavailable", err)
			}
		})
	}
}

func TestGetTakesAWholeSmallObjectForARangeThatHoldsIt(t *testing.T) {
	s, _ := over(t, elsewhere, says(200, "012", `ETag: "v1"`))
	r, err := s.Get(t.Context(), "k", "v1", 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "012" || err != nil {
		t.Errorf("read = %q, %v, want 012", got, err)
	}
}

func TestPutIsSentAgainAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := over(t, elsewhere,
			apiError(503, "SlowDown", "later"),
			apiError(500, "InternalError", "oops"),
			says(200, "", `ETag: "v1"`, "x-amz-checksum-crc64nvme: "+sumOf("content")),
			headed("v1", 7),
		)
		obj, err := s.Put(t.Context(), "k", section("content"), backend.PutOptions{})
		if err != nil || obj.ETag != "v1" || obj.Size != 7 {
			t.Fatalf("Put = %+v, %v, want v1 of 7 bytes", obj, err)
		}
		for i := range 3 {
			if w.bodies[i] != "content" || w.seen[i].Header.Get("x-amz-checksum-crc64nvme") != sumOf("content") {
				t.Errorf("attempt %d sent %q with checksum %q", i, w.bodies[i], w.seen[i].Header.Get("x-amz-checksum-crc64nvme"))
			}
			if got := w.seen[i].Header.Get("x-amz-content-sha256"); got != "UNSIGNED-PAYLOAD" {
				t.Errorf("attempt %d signs the body: %q", i, got)
			}
		}
	})
}

// The first attempt stores the object, its answer is lost on the way.
func TestPutWhoseAnswerIsLostDoesNotClaimSuccess(t *testing.T) {
	stored := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // all of it came
		if stored++; stored > 1 {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, `<Error><Code>PreconditionFailed</Code></Error>`)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close() // the point of it
	}))
	defer server.Close()
	svc, err := New(t.Context(), Options{Endpoint: server.URL, AccessKey: "a", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	svc.can = newAbilities(false, svc.log)
	s := &Store{svc: svc, bucket: "b", client: svc.home()}
	_, err = s.Put(t.Context(), "k", section("x"), backend.PutOptions{Cond: backend.Cond{IfAbsent: true}})
	if !errors.Is(err, backend.ErrChanged) || stored != 2 {
		t.Errorf("Put = %v after %d attempts, want ErrChanged after 2", err, stored)
	}
}

// A connection that breaks, not a stream that returns an error.
func TestGetResumesOverANewConnection(t *testing.T) {
	content := strings.Repeat("0123456789", 100_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = io.WriteString(w, content[:123_456])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	defer server.Close()
	svc, err := New(t.Context(), Options{Endpoint: server.URL, AccessKey: "a", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{svc: svc, bucket: "b", client: svc.home()}
	r, err := s.Get(t.Context(), "k", "v1", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != content || err != nil {
		t.Errorf("read %d bytes, %v, want all %d", len(got), err, len(content))
	}
}

func TestBodiesGetMD5OnceAServerIgnoresTheCRC(t *testing.T) {
	md5Of := func(s string) string { sum := md5.Sum([]byte(s)); return fmt.Sprintf("%x", sum) }
	s, w := over(t, elsewhere,
		says(200, "", "ETag: "+md5Of("one")), headed(md5Of("one"), 3), // no checksum in the answer
		says(200, "", "ETag: "+md5Of("two")), headed(md5Of("two"), 3),
		says(200, "", "ETag: "+md5Of("something else")),
	)
	for _, content := range []string{"one", "two"} {
		if _, err := s.Put(t.Context(), "k", section(content), backend.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	sum := md5.Sum([]byte("two"))
	if h := w.seen[2].Header; h.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) || h.Get("x-amz-checksum-crc64nvme") != "" {
		t.Errorf("second Put has Content-MD5 %q, CRC %q, want the MD5 alone", h.Get("Content-MD5"), h.Get("x-amz-checksum-crc64nvme"))
	}
	if _, err := s.Put(t.Context(), "k", section("three"), backend.PutOptions{}); !errors.Is(err, backend.ErrCorrupt) {
		t.Errorf("Put answered with the MD5 of other bytes = %v, want ErrCorrupt", err)
	}
}

func TestBodiesGetMD5OnceAServerRefusesTheCRC(t *testing.T) {
	s, w := over(t, elsewhere,
		apiError(400, "InvalidRequest", "no such checksum"),
		says(200, "", `ETag: "opaque"`), headed("opaque", 3),
	)
	if _, err := s.Put(t.Context(), "k", section("one"), backend.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if w.bodies[1] != "one" || w.seen[1].Header.Get("Content-MD5") == "" {
		t.Errorf("second attempt sent %q with MD5 %q", w.bodies[1], w.seen[1].Header.Get("Content-MD5"))
	}
}

func TestABodyThatDoesNotMatchItsChecksumIsNotSent(t *testing.T) {
	wrong := nvme.Checksum([]byte("other"))
	for _, content := range []string{"", "short", strings.Repeat("long", 1<<20)} {
		s, w := over(t, elsewhere)
		_, err := s.Put(t.Context(), "k", section(content), backend.PutOptions{CRC64NVME: &wrong})
		if !errors.Is(err, backend.ErrCorrupt) {
			t.Errorf("Put of %d bytes = %v, want ErrCorrupt", len(content), err)
		}
		if len(w.seen) > 0 {
			t.Errorf("Put of %d bytes was sent as a whole", len(content))
		}
	}
}

func TestAServerThatIgnoresConditionsIsNotTrustedWithThem(t *testing.T) {
	sum := sumOf("new")
	put := says(200, "", `ETag: "v2"`, "x-amz-checksum-crc64nvme: "+sum)
	s, w := over(t, elsewhere,
		headed("v1", 3), put, headed("v2", 3), // finds out
		headed("v2", 3),                          // refuses, unchanged
		headed("v3", 3),                          // somebody else's: no need to write to know
		says(404, ""), put, put, headed("v2", 3), // the same of IfAbsent
		says(404, ""),
	)
	do := func(c backend.Cond) error {
		_, err := s.Put(t.Context(), "k", section("new"), backend.PutOptions{Cond: c})
		return err
	}
	if err := do(backend.Cond{IfMatch: "v1"}); err != nil {
		t.Errorf("first Put with IfMatch = %v, want success", err)
	}
	if got := w.seen[1].Header.Get("If-Match"); got != `"`+impossible+`"` {
		t.Errorf("it asked with If-Match %q, want a condition that cannot hold", got)
	}
	if err := do(backend.Cond{IfMatch: "v2"}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("next Put with IfMatch = %v, want ErrUnsupported", err)
	}
	if err := do(backend.Cond{IfMatch: "v2"}); !errors.Is(err, backend.ErrChanged) {
		t.Errorf("Put over another version = %v, want ErrChanged", err)
	}
	if err := do(backend.Cond{IfAbsent: true}); err != nil {
		t.Errorf("first Put with IfAbsent = %v, want success", err)
	}
	if err := do(backend.Cond{IfAbsent: true}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("next Put with IfAbsent = %v, want ErrUnsupported", err)
	}
	for i, r := range w.seen {
		if r.Method == http.MethodPut && i > 7 {
			t.Errorf("request %d writes in spite of all that was known", i)
		}
	}
}

func TestErrorsKeepTheWordsAndFindTheirSentinel(t *testing.T) {
	for _, tt := range []struct {
		status     int
		code, word string
		want       error
	}{
		{404, "NoSuchKey", "nothing here", backend.ErrNotExist},
		{404, "NoSuchBucket", "no bucket", backend.ErrNotExist},
		{403, "AccessDenied", "go away", backend.ErrPermission},
		{403, "InvalidAccessKeyId", "who are you", backend.ErrCredentials},
		{403, "SignatureDoesNotMatch", "check your key", backend.ErrCredentials},
		{400, "ExpiredToken", "too late", backend.ErrCredentials},
		{403, "InvalidObjectState", "cold", backend.ErrArchived},
		{412, "PreconditionFailed", "differs", backend.ErrChanged},
		{409, "ConditionalRequestConflict", "beside", backend.ErrChanged},
		{400, "KeyTooLongError", "long", backend.ErrTooLong},
		{400, "InvalidArgument", "odd", backend.ErrInvalid},
		{501, "NotImplemented", "never heard", backend.ErrUnsupported},
		{400, "Unheard", "of", backend.ErrInvalid},
		{403, "Unheard", "of", backend.ErrPermission},
	} {
		t.Run(tt.code, func(t *testing.T) {
			s, _ := over(t, elsewhere, apiError(tt.status, tt.code, tt.word))
			_, err := s.Get(t.Context(), "k", "", 0, -1)
			var e *backend.Error
			if !errors.Is(err, tt.want) || !errors.As(err, &e) {
				t.Fatalf("Get = %v, want %v", err, tt.want)
			}
			for _, part := range []string{"get s3://b/k: ", tt.code, tt.word, fmt.Sprint(tt.status), "REQ1"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
			for _, secret := range []string{"AKIDTEST", "verysecret", "Signature=", "X-Amz-Signature"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q tells %q", err, secret)
				}
			}
		})
	}
}

func TestErrorOfAWrongClockSaysClock(t *testing.T) {
	s, _ := over(t, elsewhere, apiError(403, "RequestTimeTooSkewed", "The difference is too large."), apiError(403, "RequestTimeTooSkewed", "The difference is too large."))
	_, err := s.Get(t.Context(), "k", "", 0, -1)
	if !errors.Is(err, backend.ErrPermission) || !strings.Contains(fmt.Sprint(err), "clock") {
		t.Errorf("Get = %v, want ErrPermission that says clock", err)
	}
}

func TestHeadFindsTheWordsThatItsAnswerCannotHold(t *testing.T) {
	s, _ := over(t, elsewhere, says(403, ""), apiError(403, "InvalidAccessKeyId", "who are you"))
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, backend.ErrCredentials) || !strings.Contains(err.Error(), "who are you") {
		t.Errorf("Head = %v, want ErrCredentials with the store's words", err)
	}
	s, _ = over(t, elsewhere, says(404, ""))
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Head = %v, want ErrNotExist", err)
	}
}

func TestAStoreThatCannotBeReachedIsUnavailable(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, tt := range map[string]struct {
		err      error
		attempts int
	}{
		"refused":      {refused, maxAttempts},
		"reset":        {&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, maxAttempts},
		"no such host": {&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "s3.example", IsNotFound: true}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steps := make([]step, maxAttempts)
				for i := range steps {
					steps[i] = func(*http.Request) (*http.Response, error) { return nil, tt.err }
				}
				s, w := over(t, elsewhere, steps...)
				_, err := s.Head(t.Context(), "k")
				if !errors.Is(err, backend.ErrUnavailable) || len(w.seen) != tt.attempts {
					t.Errorf("Head = %v after %d attempts, want ErrUnavailable after %d", err, len(w.seen), tt.attempts)
				}
				if errno := syscall.Errno(0); errors.As(err, &errno) {
					t.Errorf("%v carries errno %d, as if a local file had failed", err, errno)
				}
			})
		})
	}
}

func TestCancelEndsTheWaitBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, w := over(t, elsewhere, func(*http.Request) (*http.Response, error) {
			cancel()
			return says(503, "")(nil)
		})
		if _, err := s.Head(ctx, "k"); !errors.Is(err, context.Canceled) || len(w.seen) != 1 {
			t.Errorf("Head = %v after %d attempts, want context.Canceled after one", err, len(w.seen))
		}
	})
}

func TestABucketElsewhereIsReachedInItsRegion(t *testing.T) {
	s, w := over(t, amazonURL,
		says(301, "", "x-amz-bucket-region: eu-central-1"),
		says(200, "", "x-amz-bucket-region: eu-central-1"),
		says(200, "body", `ETag: "v1"`),
	)
	store, err := s.svc.Open(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), "k", "", 0, -1); err != nil {
		t.Fatal(err)
	}
	for i, region := range []string{"us-east-1", "eu-central-1", "eu-central-1"} {
		if auth := w.seen[i].Header.Get("Authorization"); !strings.Contains(auth, "/"+region+"/s3/") {
			t.Errorf("request %d is signed %q, want for %s", i, auth, region)
		}
	}
}

func TestUploadsToAWSCarryTheChecksumOfTheWhole(t *testing.T) {
	one, two := strings.Repeat("a", 100), "tail"
	s, w := over(t, amazonURL,
		says(200, `<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>`),
		says(200, "", `ETag: "p1"`, "x-amz-checksum-crc64nvme: "+sumOf(one)),
		says(200, "", `ETag: "p2"`, "x-amz-checksum-crc64nvme: "+sumOf(two)),
		says(200, `<CompleteMultipartUploadResult><ETag>"v1-2"</ETag></CompleteMultipartUploadResult>`),
		headed("v1-2", len(one+two)),
	)
	up, err := s.NewUpload(t.Context(), "k", backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []backend.Part
	for i, content := range []string{one, two} {
		p, err := s.UploadPart(t.Context(), up, i+1, section(content), nvme.Checksum([]byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	obj, err := s.Complete(t.Context(), up, parts, backend.PutOptions{Cond: backend.Cond{IfAbsent: true}})
	if err != nil || obj.ETag != "v1-2" || obj.Size != int64(len(one+two)) {
		t.Fatalf("Complete = %+v, %v", obj, err)
	}
	if h := w.seen[0].Header; h.Get("x-amz-checksum-algorithm") != "CRC64NVME" || h.Get("x-amz-checksum-type") != "FULL_OBJECT" {
		t.Errorf("the upload begins with algorithm %q, type %q", h.Get("x-amz-checksum-algorithm"), h.Get("x-amz-checksum-type"))
	}
	if h := w.seen[3].Header; h.Get("x-amz-checksum-crc64nvme") != sumOf(one+two) || h.Get("If-None-Match") != "*" {
		t.Errorf("it is completed with checksum %q, If-None-Match %q", h.Get("x-amz-checksum-crc64nvme"), h.Get("If-None-Match"))
	}
	if !strings.Contains(w.bodies[3], sumOf(two)) {
		t.Errorf("the list of parts lacks their checksums: %s", w.bodies[3])
	}
}

func TestRestoreAsksForWhatTheClassAllows(t *testing.T) {
	const hour = time.Hour
	for name, tt := range map[string]struct {
		headers   []string
		opts      backend.RestoreOptions
		want, not []string
	}{
		"days are rounded up": {[]string{"x-amz-storage-class: DEEP_ARCHIVE"}, backend.RestoreOptions{Tier: "Bulk", Keep: 25 * hour}, []string{"<Days>2</Days>", "<Tier>Bulk</Tier>"}, nil},
		"defaults":            {[]string{"x-amz-storage-class: GLACIER"}, backend.RestoreOptions{}, []string{"<Days>1</Days>"}, []string{"Tier"}},
		"intelligent tiering": {[]string{"x-amz-storage-class: INTELLIGENT_TIERING", "x-amz-archive-status: ARCHIVE_ACCESS"}, backend.RestoreOptions{Tier: "Standard", Keep: 48 * hour}, []string{"<Tier>Standard</Tier>"}, []string{"Days"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := over(t, amazonURL,
				says(200, "", append(tt.headers, "Content-Length: 3", `ETag: "v1"`)...),
				apiError(409, "RestoreAlreadyInProgress", "on its way"),
			)
			if err := s.Restore(t.Context(), "k", tt.opts); err != nil {
				t.Fatalf("Restore of what is being restored = %v, want success", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(w.bodies[1], part) {
					t.Errorf("the request lacks %s: %s", part, w.bodies[1])
				}
			}
			for _, part := range tt.not {
				if strings.Contains(w.bodies[1], part) {
					t.Errorf("the request holds %s: %s", part, w.bodies[1])
				}
			}
		})
	}
}

func TestListDecodesKeysAndTellsTheState(t *testing.T) {
	page := func(inner string) step {
		return says(200, `<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType>`+inner+`</ListBucketResult>`)
	}
	s, w := over(t, elsewhere,
		page(`<IsTruncated>true</IsTruncated><NextContinuationToken>T1</NextContinuationToken>
			<Contents><Key>a+b%01</Key><Size>1</Size><ETag>"e"</ETag><LastModified>2026-11-22T10:00:00.987Z</LastModified></Contents>
			<Contents><Key>z%2B</Key><Size>2</Size><StorageClass>GLACIER</StorageClass></Contents>
			<CommonPrefixes><Prefix>d%20/</Prefix></CommonPrefixes>`),
		page(`<IsTruncated>false</IsTruncated>
			<Contents><Key>zz</Key><StorageClass>DEEP_ARCHIVE</StorageClass><RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>
			<Contents><Key>zzz</Key><StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2999-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus></Contents>`),
	)
	var got []string
	for e, err := range s.List(t.Context(), "", "", backend.ListOptions{Delimited: true}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%q %v %v %d", e.Key, e.Prefix, e.State, e.ModTime.Nanosecond()))
	}
	want := []string{`"a b\x01" false online 0`, `"d /" true online 0`, `"z+" false archived 0`, `"zz" false restoring 0`, `"zzz" false restored 0`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("List =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if q := w.seen[0].URL.Query(); q.Get("encoding-type") != "url" || w.seen[0].Header.Get("x-amz-optional-object-attributes") != "RestoreStatus" {
		t.Errorf("the listing was asked for with %v", w.seen[0].URL)
	}
}
