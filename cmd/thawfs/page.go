package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The status page is for eyes and for Prometheus: it changes nothing. Whoever can connect to a
// loopback address can read it, so it is off unless asked for.
//
//	GET /          the page (page/), with nothing from elsewhere
//	GET /events    what keeps it alive, see events.go
//	GET /status    the same once, as `thawfs status --json` has it
//	GET /metrics   for Prometheus, see METRICS.md
//	GET /healthz   200 while the process serves
//	GET /readyz    200 while the mount is there and the store answers, else 503

//go:embed page
var pageFiles embed.FS

// checkPageAddress says what is wrong with the address of a status page.
func checkPageAddress(addr string) *problem {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return usage("the address of the status page "+quote(addr)+" is none", "Write it as 127.0.0.1:PORT.")
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return usage("the status page is for this machine only: "+quote(host)+" is not a loopback address",
			"Write it as 127.0.0.1:PORT, and put a proxy with a password before it for others.")
	}
	return nil
}

// listenPage opens the address of the status page; nil if none is wanted.
func (j *job) listenPage() (net.Listener, error) {
	if j.pageAddr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", j.pageAddr)
	if err != nil {
		return nil, wrong(fmt.Sprintf("the status page cannot be served on %s: %v", j.pageAddr, innermost(err)),
			"Choose another port with --status-address 127.0.0.1:PORT.").because(err)
	}
	return l, nil
}

// innermost is the first cause of err.
func innermost(err error) error {
	for {
		in := errors.Unwrap(err)
		if in == nil {
			return err
		}
		err = in
	}
}

// servePage serves until the returned function is called, which waits.
func (d *daemon) servePage(l net.Listener) (stop func()) {
	if l == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	h := &history{}
	wg.Go(func() { h.record(ctx, d) })
	srv := &http.Server{Handler: d.page(h), ReadHeaderTimeout: closeLimit}
	wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("status page failed", slog.Any("err", err))
		}
	})
	return func() {
		cancel()
		_ = srv.Close() // readers of a page lose nothing
		wg.Wait()
	}
}

// page answers those who look.
func (d *daemon) page(h *history) http.Handler {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { d.events(w, r, h.all()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.status(false), nil) })
	d.watchable(mux)
	return localOnly(mux)
}

// watchable adds what watching programs ask for.
func (d *daemon) watchable(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(d), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := d.unready(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// unready says why the mount should not be used now, "" if it can be.
func (d *daemon) unready() string {
	select {
	case <-d.gone:
		return "unmounted, sending what is pending"
	default:
	}
	if h := d.status(false).Store; h.State == isDown {
		return "the store does not answer: " + h.Error
	}
	return ""
}

// localOnly keeps pages of the web from reading ours by a name of theirs that leads to this
// machine ("DNS rebinding"), and ours from taking anything from elsewhere.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "this page answers to localhost only", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
