package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// A stream is an answer of the control socket that can be long: a line of JSON for each item,
// then one that says how it ended. Without that the mount has died meanwhile.
type streamLine struct {
	Item    json.RawMessage `json:"item,omitempty"`
	End     bool            `json:"end,omitempty"`
	Problem *problem        `json:"problem,omitempty"` // with End: why the rest is missing
}

// A streamer writes a stream.
type streamer struct {
	enc   *json.Encoder
	flush func() error
}

// stream answers with what produce sends.
func stream(w http.ResponseWriter, produce func(*streamer) error) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	s := &streamer{json.NewEncoder(w), http.NewResponseController(w).Flush}
	last := streamLine{End: true}
	if err := produce(s); err != nil {
		last.Problem = asProblem(err)
	}
	_ = s.enc.Encode(last) // the client is gone: nobody to tell
}

// send adds an item. It fails when the client is gone.
func (s *streamer) send(item any) error {
	b, err := json.Marshal(item)
	if err != nil {
		return err
	}
	return s.enc.Encode(streamLine{Item: b})
}

// sendNow adds an item that somebody waits for.
func (s *streamer) sendNow(item any) error { return errors.Join(s.send(item), s.flush()) }

// readStream makes a request whose answer is a stream, and hands each item out.
func readStream[T any](ctx context.Context, c *client, method, path string, body any, each func(T) error) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	for dec := json.NewDecoder(resp.Body); ; {
		var l streamLine
		if err := dec.Decode(&l); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("the process of the mount has ended or died: %w", err)
		}
		if l.Problem != nil {
			return l.Problem
		}
		if l.End {
			return nil
		}
		var item T
		if err := json.Unmarshal(l.Item, &item); err != nil {
			return err
		}
		if err := each(item); err != nil {
			return err
		}
	}
}
