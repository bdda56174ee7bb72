package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// GET /v1/events is a stream of server-sent events (HTML standard, section "Server-sent
// events"): a status each eventEvery, until the mount ends or the client goes. `thawfs top` and the
// status page live of it.

const eventEvery = time.Second

// events answers with a status now and then. before is told first, if it is not nil.
func (d *daemon) events(w http.ResponseWriter, r *http.Request, before any) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	send := func(name string, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
		return errors.Join(err, flush())
	}
	if before != nil {
		if err := send("history", before); err != nil {
			return // the client is gone
		}
	}
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	for {
		if err := send("status", d.status(false)); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-d.done:
			return
		}
	}
}

// watch hands out each status of the mount until ctx ends or the mount does.
func (c *client) watch(ctx context.Context, each func(status)) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadString('\n')
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var s status
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return err
		}
		each(s)
	}
}

// traffic is what went to the store and came from it since the start, in bytes.
func (s status) traffic() (sent, received int64) {
	if len(s.Requests) == 0 { // a store in a directory
		return s.Stored.Bytes, s.Cache.Fetched
	}
	for _, r := range s.Requests {
		sent += r.Sent
		received += r.Received
	}
	return sent, received
}
