package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

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
