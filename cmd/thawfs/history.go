package main

import (
	"context"
	"sync"
	"time"
)

const (
	sampleEvery = 2 * time.Second
	maxSamples  = 150 // five minutes
)

// sample is what the chart of the status page shows of one moment.
type sample struct {
	At       time.Time `json:"at"`
	Sent     int64     `json:"sent"`     // bytes since the start
	Received int64     `json:"received"` // bytes since the start
	Pending  int64     `json:"pending"`  // bytes
}

// history remembers the last minutes for those who open the status page.
type history struct {
	mu      sync.Mutex
	samples []sample // guarded by mu; the oldest first
}

// record samples until ctx ends.
func (h *history) record(ctx context.Context, d *daemon) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s := d.status(false)
		sent, received := s.traffic()
		h.mu.Lock()
		h.samples = append(h.samples[max(0, len(h.samples)+1-maxSamples):], sample{s.At, sent, received, s.Pending.Bytes})
		h.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (h *history) all() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]sample{}, h.samples...)
}
