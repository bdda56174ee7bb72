package integration

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/thawfs/thawfs/integration/servers"
)

// A counter stands before an S3 server and counts what it is asked.
type counter struct {
	servers.S3 // with the counter's own endpoint

	mu     sync.Mutex
	counts map[string]int // guarded by mu; by kind
}

func newCounter(t *testing.T, at servers.S3) *counter {
	t.Helper()
	behind, err := url.Parse(at.Endpoint)
	must(t, err)
	c := &counter{S3: at, counts: map[string]int{}}
	pass := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(behind); r.Out.Host = r.In.Host }, // it is part of the signature
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.counts[kindOf(r)]++
		c.mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	c.Endpoint = front.URL
	return c
}

// kindOf is what a request is in S3's words.
func kindOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && q.Has("list-type"):
		return "list"
	case r.Method == http.MethodPut && r.Header.Get("x-amz-copy-source") != "":
		return "copy"
	case r.Method == http.MethodPost && q.Has("delete"):
		return "delete"
	}
	return map[string]string{"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete", "POST": "post"}[r.Method]
}

// take returns the counts since the last take.
func (c *counter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := maps.Clone(c.counts)
	clear(c.counts)
	return counts
}

// sum is how many requests are counted in all.
func sum(counts map[string]int) (n int) {
	for _, k := range counts {
		n += k
	}
	return n
}

// wantAtMost fails unless all together are at most n.
func wantAtMost(t *testing.T, what string, counts map[string]int, n int) {
	t.Helper()
	t.Log(what, fmt.Sprint(counts))
	if got := sum(counts); got > n {
		t.Errorf("%s: %d requests (%v), want at most %d", what, got, counts, n)
	}
}
