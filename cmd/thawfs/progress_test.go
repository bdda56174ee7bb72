package main

import (
	"bytes"
	"testing"
	"time"
)

func TestProgressSaysHowLongStill(t *testing.T) {
	for _, tt := range []struct {
		name    string
		elapsed time.Duration
		began   int64
		now     pending
		want    string
	}{
		{"just begun", 0, 100 << 20, pending{12, 100 << 20, 0}, "Sending: 12 files (100 MiB) left"},
		{"half", 10 * time.Second, 200 << 20, pending{6, 100 << 20, 0}, "Sending: 6 files (100 MiB) left, 10 MiB/s, 10s to go"},
		{"one file", 2 * time.Second, 3 << 20, pending{1, 1 << 20, 0}, "Sending: 1 file (1.0 MiB) left, 1.0 MiB/s, 1s to go"},
		{"no headway", time.Minute, 5, pending{1, 5, 1}, "Sending: 1 file (5 B) left"},
		{"more than before", time.Minute, 5, pending{2000, 9, 0}, "Sending: 2,000 files (9 B) left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &progress{at: tt.began, elapsed: func(time.Time) time.Duration { return tt.elapsed }}
			if got := p.text(tt.now); got != tt.want {
				t.Errorf("text = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProgressDrawsNothingOnAPipe(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b)
	p.show(pending{Files: 3})
	p.clear()
	if b.Len() > 0 {
		t.Errorf("drew %q", b.String())
	}
}
