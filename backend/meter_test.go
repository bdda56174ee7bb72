package backend_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

func TestMeterCountsByOutcome(t *testing.T) {
	status := 200
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "12345")
	}))
	defer s.Close()
	var m backend.Meter
	c := http.Client{Transport: m.Transport(http.DefaultTransport, func(r *http.Request) string { return r.Method })}
	post := func(code int) {
		t.Helper()
		status = code
		resp, err := c.Post(s.URL, "text/plain", strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, code := range []int{200, 404, 412, 403, 500, 503} {
		post(code)
	}
	got := m.Requests()
	if len(got) != 1 {
		t.Fatalf("Requests() = %+v, want one operation", got)
	}
	r := got[0]
	if r.Op != "POST" || r.OK != 3 || r.Refused != 1 || r.Failed != 1 || r.Slowed != 1 || r.Count() != 6 || r.Sent != 18 || r.Received != 30 {
		t.Errorf("Requests() = %+v", r)
	}
	if last := r.Within[len(r.Within)-1]; last != 6 {
		t.Errorf("%d of 6 answers within %v", last, backend.MeterSteps())
	}
	a := m.Answers()
	if !a.Failed.After(a.Answered) || a.Err != "503 Service Unavailable" {
		t.Errorf("Answers() = %+v after a 503", a)
	}
	post(200)
	if a := m.Answers(); !a.Answered.After(a.Failed) {
		t.Errorf("Answers() = %+v after a 200", a)
	}
	s.Close()
	if _, err := c.Get(s.URL); err == nil {
		t.Fatal("a closed server answered")
	}
	if r := m.Requests()[0]; r.Op != "GET" || r.Failed != 1 {
		t.Errorf("Requests() without a server = %+v, want one failed", r)
	}
}
