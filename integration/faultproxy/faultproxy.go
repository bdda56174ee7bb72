// Package faultproxy stands between thawfs and a real S3 server and does what networks and
// servers do on bad days: answers of 500, 503 and SlowDown, connections that are reset in the
// middle of a body either way, bytes that flip, answers that come late, are cut short or are
// lost. It notes what passed, so that a test can count requests.
//
//	p := faultproxy.New(t, servers.MinIO(t))
//	p.Set(func(r *http.Request) faultproxy.Fault { return faultproxy.Fault{Status: 503, Code: "SlowDown"} })
//	... a client of p.S3 ...
//	p.Set(nil)
package faultproxy

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/thawfs/thawfs/integration/servers"
)

// A Fault is what befalls one request. The zero Fault is none. Bytes are counted from 1.
type Fault struct {
	Delay time.Duration // before anything else
	// Status and Code are the answer in place of the server's.
	Status int
	Code   string
	// Late lets the server do its work before Status or Reset befall the answer.
	Late  bool
	Reset bool // the connection, at once

	CutRequest  int64 // the connection is reset when that many bytes of the body have passed
	CutAnswer   int64
	FlipRequest int64 // one bit of this byte of the body
	FlipAnswer  int64
	ChopAnswer  int64 // the answer ends well with this byte

	// Answer changes the server's answer in ways of its own.
	Answer func(*http.Response) error
}

// A Seen is one request that was answered, by whomever.
type Seen struct {
	Method, Path string
	Query        url.Values
	Status       int // 0: the client never got an answer
	Sum          string
	At           time.Time
}

// A Proxy is a running proxy.
type Proxy struct {
	servers.S3 // how clients reach it

	to  *url.URL
	rev *httputil.ReverseProxy

	mu   sync.Mutex
	calm *sync.Cond                // of mu; told when a request is over
	busy int                       // guarded by mu; requests under way
	rule func(*http.Request) Fault // guarded by mu; called one at a time
	seen []Seen                    // guarded by mu
}

// New starts a proxy before a server. It ends with the test.
func New(t testing.TB, to servers.S3) *Proxy {
	t.Helper()
	target, err := url.Parse(to.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{S3: to, to: target}
	p.calm = sync.NewCond(&p.mu)
	p.rev = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		ModifyResponse: modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that die are what this is about
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections() // some are kept waiting
		s.Close()
	})
	p.Endpoint = s.URL
	return p
}

// Set has rule decide from now on; nil for none. It is called for one request at a time.
func (p *Proxy) Set(rule func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Seen returns what has passed so far.
func (p *Proxy) Seen() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Seen(nil), p.seen...)
}

func (p *Proxy) fault(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rule == nil {
		return Fault{}
	}
	return p.rule(r)
}

type faultKey struct{}

// Calm returns when no request is under way.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.busy > 0 {
		p.calm.Wait()
	}
}

// passes counts a request as under way, or not any more.
func (p *Proxy) passes(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy += n
	p.calm.Broadcast()
}

// ServeHTTP passes one request on.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.passes(1)
	defer p.passes(-1)
	f := p.fault(r)
	note := Seen{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Sum: r.Header.Get("X-Amz-Checksum-Crc64nvme")}
	out := &writer{ResponseWriter: w, fault: f}
	defer func() {
		note.Status, note.At = out.status, time.Now()
		p.mu.Lock()
		p.seen = append(p.seen, note)
		p.mu.Unlock()
	}()
	defer func() {
		if v := recover(); v != nil { // the server or the client is gone, or the fault says so
			out.status = 0
			reset(w)
		}
	}()
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case (f.Reset || f.Status != 0) && !f.Late:
		out.fail()
		return
	case f.CutRequest > 0 || f.FlipRequest > 0:
		r.Body = &body{ReadCloser: r.Body, cut: f.CutRequest, flip: f.FlipRequest}
	}
	// A server goes on with what it was asked for when the client dies; so does Calm wait for it.
	p.rev.ServeHTTP(out, r.WithContext(context.WithoutCancel(withFault(r.Context(), f))))
}

// writer is how the answer reaches the client.
type writer struct {
	http.ResponseWriter
	fault  Fault
	status int
}

func (w *writer) WriteHeader(status int) {
	if status < 200 { // 100: the client may go on; not from the goroutine of the others
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	if w.fault.Late {
		w.fail()
		return
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.fault.Late {
		return len(b), nil // nobody sees it
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets the standard library find the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// fail answers in place of the server.
func (w *writer) fail() {
	if w.fault.Reset {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	clear(h)
	h.Set("Content-Type", "application/xml")
	text := fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>FAULT</RequestId></Error>", w.fault.Code, "as the fault proxy was told")
	h.Set("Content-Length", fmt.Sprint(len(text)))
	w.status = w.fault.Status
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = io.WriteString(w.ResponseWriter, text) // the client may be gone; of HEAD it is left out
}

// reset ends the connection in the way that a crashed machine or a firewall does.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // at worst it ends politely
	}
	_ = conn.Close() // that is the fault
}
