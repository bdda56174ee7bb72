package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
)

// progressEvery is how often the line is drawn anew.
const progressEvery = 200 * time.Millisecond

// progress is one line on a terminal that says how the uploads get on. On anything else it
// draws nothing.
type progress struct {
	w       io.Writer // nil if nobody looks
	drawn   bool
	began   time.Time
	at      int64 // pending bytes when it began
	elapsed func(time.Time) time.Duration
}

func newProgress(w io.Writer) *progress {
	p := &progress{elapsed: time.Since}
	if interactive(w) {
		p.w = w
	}
	return p
}

// show draws the line anew.
func (p *progress) show(now pending) {
	if p.w == nil {
		return
	}
	if p.began.IsZero() {
		p.began, p.at = time.Now(), now.Bytes
	}
	fmt.Fprint(p.w, "\r\033[K"+p.text(now))
	p.drawn = true
}

// say draws a line of other words.
func (p *progress) say(line string) {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\033[K"+line)
		p.drawn = true
	}
}

// text is the line: what is left, how fast, how long still.
func (p *progress) text(now pending) string {
	s := fmt.Sprintf("Sending: %s left", now)
	sent, secs := p.at-now.Bytes, p.elapsed(p.began).Seconds()
	if sent <= 0 || secs < 1 {
		return s
	}
	rate := float64(sent) / secs
	left := time.Duration(float64(now.Bytes) / rate * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s, %s/s, %v to go", s, humanize.IBytes(uint64(rate)), left)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\033[K")
		p.drawn = false
	}
}
