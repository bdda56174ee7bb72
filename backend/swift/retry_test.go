package swift

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
)

// TestRequestsAreRepeated has each way to fail happen to each kind of request.
func TestRequestsAreRepeated(t *testing.T) {
	var fail atomic.Int32
	var how atomic.Value
	how.Store(func(r *http.Request) (*http.Response, error) { return nil, errors.New("unset") })
	svc := service(t, servers.Swift(t), func(rt http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if fail.Add(-1) >= 0 {
				return how.Load().(func(*http.Request) (*http.Response, error))(r)
			}
			return rt.RoundTrip(r)
		})
	})
	s := testBucket(t, svc)
	status := func(code int, header http.Header) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return answerWith(r, code, header), nil }
	}
	for name, f := range map[string]func(*http.Request) (*http.Response, error){
		"503":        status(http.StatusServiceUnavailable, nil),
		"429":        status(http.StatusTooManyRequests, http.Header{"Retry-After": {"0"}}),
		"498":        status(498, nil),
		"connection": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset") },
	} {
		how.Store(f)
		for what, do := range map[string]func() error{
			"Put":  func() error { _, err := s.Put(t.Context(), "k", text([]byte("x")), backend.PutOptions{}); return err },
			"Head": func() error { _, err := s.Head(t.Context(), "k"); return err },
			"Get": func() error {
				r, err := s.Get(t.Context(), "k", "", 0, -1)
				if err == nil {
					err = r.Close()
				}
				return err
			},
			"Delete": func() error { return s.Delete(t.Context(), "other") },
		} {
			put(t, s, "k", "x")
			fail.Store(2)
			if err := do(); err != nil {
				t.Errorf("%s with two times %s: %v", what, name, err)
			}
			fail.Store(0)
		}
	}
	how.Store(status(http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}))
	fail.Store(1)
	begin := time.Now()
	if _, err := s.Head(t.Context(), "k"); err != nil || time.Since(begin) < time.Second {
		t.Errorf("Retry-After of a second: %v after %v", err, time.Since(begin))
	}
	how.Store(status(http.StatusTooManyRequests, http.Header{"Retry-After": {"86400"}}))
	fail.Store(100)
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, backend.ErrUnavailable) || fail.Load() != 99 {
		t.Errorf("Retry-After of a day: %v", err)
	}
	fail.Store(0)
}

// TestBulkDeleteFallsBack deletes one by one where the server does not do it in bulk.
func TestBulkDeleteFallsBack(t *testing.T) {
	var bulk atomic.Int32
	svc := service(t, servers.Swift(t), func(rt http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && strings.Contains(r.URL.RawQuery, "bulk-delete") {
				bulk.Add(1)
				return answerWith(r, http.StatusForbidden, nil), nil
			}
			return rt.RoundTrip(r)
		})
	})
	s := testBucket(t, svc)
	var keys []string
	for _, c := range "abcdefghijkl" {
		put(t, s, string(c), "x")
		keys = append(keys, string(c))
	}
	if failed := s.DeleteBatch(t.Context(), keys); len(failed) > 0 || bulk.Load() == 0 {
		t.Errorf("DeleteBatch = %v, with %d bulk requests", failed, bulk.Load())
	}
	if got := keysOf(t, s, backend.ListOptions{}); got != "" {
		t.Errorf("left: %s", got)
	}
}
