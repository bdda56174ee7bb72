// Package swiftarchive stands between thawfs and a real Swift and makes an archive of it, as OVH
// has one: what is stored in a container of the storage policy PCA is sealed.
//
// HEAD and listings with policy_extra tell the state. A GET of something sealed is answered by
// 429 with Retry-After and starts its retrieval, which takes Delay ("Unfreezing your data stored
// in the Public Cloud Archive", OVH's guide). Everything else is Swift's.
package swiftarchive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const stateHeader = "X-Ovh-Retrieval-State"

// Proxy is a running archive.
type Proxy struct {
	URL   string // of the proxy, in the place of Swift's own
	Delay time.Duration

	mu    sync.Mutex           // guards all below
	cold  map[string]bool      // containers, by account/container
	ready map[string]time.Time // by path, when an unsealing ends; sealed objects are not in it
	gets  map[string]int       // by path: GETs of what was sealed
}

// Start puts an archive before the Swift at endpoint, for one test.
func Start(t testing.TB, endpoint string, delay time.Duration) *Proxy {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Delay: delay, cold: map[string]bool{}, ready: map[string]time.Time{}, gets: map[string]int{}}
	through := &httputil.ReverseProxy{
		// The Host stays: Swift names it in the URL of the account.
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ModifyResponse: p.mark,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, through) }))
	t.Cleanup(s.Close)
	p.URL = s.URL
	return p
}

// Opened is how often somebody has tried to read path (container/object) while it was sealed.
func (p *Proxy) Opened(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for at, count := range p.gets {
		if strings.HasSuffix(at, "/"+path) {
			n += count
		}
	}
	return n
}

// split is /v1/ACCOUNT/CONTAINER/OBJECT.
func split(path string) (container, object string) {
	elems := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 4)
	if len(elems) < 3 || elems[0] != "v1" {
		return "", ""
	}
	container = elems[1] + "/" + elems[2]
	if len(elems) == 4 && elems[3] != "" {
		object = elems[3]
	}
	return container, object
}

// state is that of an object in a cold container.
func (p *Proxy) state(container, object string) (state string, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cold[container] {
		return "", 0
	}
	at, asked := p.ready[container+"/"+object]
	switch left = time.Until(at); {
	case !asked:
		return "sealed", 0
	case left > 0:
		return "unsealing", left
	}
	return "unsealed", 0
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, through http.Handler) {
	container, object := split(r.URL.Path)
	if from := r.Header.Get("X-Copy-From"); r.Method == http.MethodPut && from != "" {
		account, _, _ := strings.Cut(container, "/")
		path, _ := url.PathUnescape(strings.TrimPrefix(from, "/"))
		c, o, _ := strings.Cut(path, "/")
		if p.refuse(w, account+"/"+c, o) {
			return
		}
	}
	if object != "" && r.Method == http.MethodGet && p.refuse(w, container, object) {
		return
	}
	if object != "" && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
		p.mu.Lock()
		delete(p.ready, container+"/"+object)
		p.mu.Unlock()
	}
	through.ServeHTTP(w, r)
}

// refuse answers a read of what is not unsealed.
func (p *Proxy) refuse(w http.ResponseWriter, container, object string) bool {
	state, left := p.state(container, object)
	if state != "sealed" && state != "unsealing" {
		return false
	}
	if state == "sealed" {
		left = p.Delay
		p.mu.Lock()
		p.ready[container+"/"+object] = time.Now().Add(p.Delay)
		p.gets[container+"/"+object]++
		p.mu.Unlock()
	}
	seconds := strconv.Itoa(int(left/time.Second) + 1)
	w.Header().Set(stateHeader, "unsealing")
	w.Header().Set("X-Ovh-Retrieval-Delay", seconds)
	w.Header().Set("Retry-After", seconds)
	w.WriteHeader(http.StatusTooManyRequests)
	return true
}

// mark adds the states to Swift's answers.
func (p *Proxy) mark(resp *http.Response) error {
	container, object := split(resp.Request.URL.Path)
	switch {
	case container == "":
	case object == "" && resp.Header.Get("X-Storage-Policy") != "":
		p.mu.Lock()
		p.cold[container] = resp.Header.Get("X-Storage-Policy") == "PCA"
		p.mu.Unlock()
		if resp.Request.URL.Query().Get("policy_extra") == "true" && resp.StatusCode == http.StatusOK {
			return p.markListing(resp, container)
		}
	case resp.StatusCode == http.StatusOK:
		state, left := p.state(container, object)
		if state != "" {
			resp.Header.Set(stateHeader, state)
		}
		if left > 0 {
			resp.Header.Set("X-Ovh-Retrieval-Delay", strconv.Itoa(int(left/time.Second)+1))
		}
	}
	return nil
}

func (p *Proxy) markListing(resp *http.Response, container string) error {
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var rows []map[string]any
	if err := json.Unmarshal(data, &rows); err != nil {
		return fmt.Errorf("listing of %s: %w", container, err)
	}
	for _, r := range rows {
		if name, ok := r["name"].(string); ok {
			if state, _ := p.state(container, name); state != "" {
				r["policy_retrieval_state"] = state
			}
		}
	}
	if data, err = json.Marshal(rows); err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	resp.ContentLength = int64(len(data))
	resp.Header.Set("Content-Length", strconv.Itoa(len(data)))
	return nil
}
