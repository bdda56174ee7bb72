package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The control socket speaks HTTP/JSON:
//
//	GET  /v1/mount     about
//	GET  /v1/pending   pending
//	POST /v1/drain     sends everything; pending when done, or a problem
//	POST /v1/unmount   unmounts, sends the rest unless ?leave=1, ends; pending
//	GET  /v1/status    status; ?jobs=1 with all jobs
//	GET  /v1/ls        ?path=REL, ?recursive=1; a stream (stream.go) of entries
//	POST /v1/restore   of a restoreRequest; a stream of restoreEvents
//	POST /v1/flush     ?path=REL; a stream of flushed
//	GET  /v1/cache/    and POST /v1/cache/drop, pin, unpin, limit?bytes=N; ?path=REL; streams of cached
//	GET  /v1/events    status, each second, as server-sent events
//	GET  /metrics, /healthz, /readyz (page.go), /debug/pprof/
//	GET  /v1/log/level and POST ?level=WORD; logState
//
// curl --unix-socket /run/thawfs/XXXX.sock http://thawfs/v1/mount shows it.

// about says what a mount is.
type about struct {
	Source     string    `json:"source"`
	Mountpoint string    `json:"mountpoint"`
	PID        int       `json:"pid"`
	Version    string    `json:"version"`
	Cache      string    `json:"cache"`
	Log        string    `json:"log,omitempty"`  // empty: it logs to its terminal
	Page       string    `json:"page,omitempty"` // URL of the status page
	ReadOnly   bool      `json:"read_only"`
	Since      time.Time `json:"since"`
}

// pending is what the store has not confirmed yet.
type pending struct {
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`
	Failed int   `json:"failed"` // of Files: the last attempt to send them failed
}

// listenControl opens the control socket of the mount on mountpoint.
func listenControl(mountpoint string) (net.Listener, error) {
	dir, err := runtimeDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, socketName(mountpoint))
	if who, err := (&client{socket: path}).about(context.Background()); err == nil {
		return nil, wrong(fmt.Sprintf("the last mount on %s, of %s, is still sending what was written to it (pid %d)", mountpoint, who.Source, who.PID),
			fmt.Sprintf("Watch it and wait with: thawfs umount %s\nOr leave the rest to the next mount of %s with: kill %d", shellQuote(mountpoint), who.Source, who.PID))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, runtimeProblem(dir, reason(err).Error()).because(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		if errors.Is(err, syscall.EINVAL) {
			return nil, runtimeProblem(dir, "its path is too long for a socket").because(err)
		}
		return nil, runtimeProblem(dir, err.Error()).because(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(runtimeProblem(dir, reason(err).Error()).because(err), l.Close())
	}
	return l, nil
}

// control answers requests for d.
func (d *daemon) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/mount", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.about, nil) })
	mux.HandleFunc("GET /v1/pending", func(w http.ResponseWriter, _ *http.Request) { answer(w, pendingOf(d.m), nil) })
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		err := d.m.Drain(r.Context())
		answer(w, pendingOf(d.m), err)
	})
	mux.HandleFunc("POST /v1/unmount", func(w http.ResponseWriter, r *http.Request) {
		left, err := d.unmount(r.Context(), r.FormValue("leave") != "")
		answer(w, left, err)
	})
	d.archive(mux)
	mux.HandleFunc("POST /v1/flush", d.flush)
	d.caches(mux)
	d.logs(mux)
	d.watchable(mux)
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) { d.events(w, r, nil) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return mux
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		v = asProblem(err)
	}
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}

// client talks to the daemon behind a socket.
type client struct{ socket string }

// findDaemon connects to the daemon of the mount on mountpoint; nil if there is none.
func findDaemon(ctx context.Context, mountpoint string) (*client, about, error) {
	var denied error
	for _, path := range sockets(mountpoint) {
		c := &client{path}
		who, err := c.about(ctx)
		switch {
		case err == nil:
			return c, who, nil
		case errors.Is(err, os.ErrPermission):
			denied = wrong("the mount on "+mountpoint+" belongs to another user", "Run the command as that user or as root.").because(err)
		case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOTDIR):
			return nil, about{}, fmt.Errorf("ask the mount on %s: %w", mountpoint, err)
		}
	}
	return nil, about{}, denied
}

func (c *client) about(ctx context.Context) (about, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // it only looks into its memory
	defer cancel()
	var a about
	return a, c.call(ctx, http.MethodGet, "/v1/mount", &a)
}

func (c *client) pending(ctx context.Context) (pending, error) {
	var p pending
	return p, c.call(ctx, http.MethodGet, "/v1/pending", &p)
}

func (c *client) drain(ctx context.Context) (pending, error) {
	var p pending
	return p, c.call(ctx, http.MethodPost, "/v1/drain", &p)
}

func (c *client) unmount(ctx context.Context, leave bool) (pending, error) {
	path := "/v1/unmount"
	if leave {
		path += "?leave=1"
	}
	var p pending
	return p, c.call(ctx, http.MethodPost, path, &p)
}

// call makes one request; a refusal is a *problem.
func (c *client) call(ctx context.Context, method, path string, into any) error {
	resp, err := c.send(ctx, method, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	return json.NewDecoder(resp.Body).Decode(into)
}

// send makes one request, with body as JSON unless it is nil. The caller closes the body of
// the response.
func (c *client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	h := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://thawfs"+path, content)
	if err != nil {
		return nil, err
	}
	resp, err := h.Do(req)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	p := &problem{}
	if err := json.NewDecoder(resp.Body).Decode(p); err != nil || p.What == "" {
		return nil, fmt.Errorf("%s %s: the mount answered %s", method, path, resp.Status)
	}
	return nil, p
}
