package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/thawfs/thawfs/fs/recall"
)

// restoreView shows how a restore gets on: a bar for a person, lines of JSON for programs,
// and at the end what came of it.
type restoreView struct {
	stdout, stderr io.Writer
	json, rustic   bool
	dryRun         bool
	tier           string
	bar            io.Writer // a terminal; nil: no bar
	roots          []string  // mountpoints

	mu     sync.Mutex        // guards all below, and writing
	parts  []recall.Progress // by mount
	last   recall.Progress   // that was shown
	offers []*offer
	drawn  bool
	told   int // failures
}

// restoreResult is the last line of --json.
type restoreResult struct {
	Type string `json:"type"` // "result"; "progress" before
	recall.Progress
	Offers []*offer `json:"offers,omitempty"` // of a dry run, by mount
	Code   int      `json:"code,omitempty"`   // exit code
}

// maxFailures is how many failures a person is told one by one.
const maxFailures = 20

// take shows one event of a mount.
func (v *restoreView) take(mount int, e restoreEvent) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case e.Offer != nil:
		v.offers = append(v.offers, e.Offer)
	case e.Progress != nil:
		v.parts[mount] = *e.Progress
		return v.progress()
	case e.Object != nil:
		return v.object(v.pathIn(mount, e.Object.Path), *e.Object)
	}
	return nil
}

func (v *restoreView) object(path string, o restoredObject) error {
	if v.json {
		o.Path = path
		return json.NewEncoder(v.stdout).Encode(struct {
			Type string `json:"type"`
			restoredObject
		}{"object", o})
	}
	if o.Outcome != recall.IsRefused && o.Outcome != recall.IsFailed {
		return nil
	}
	if v.told++; v.told <= maxFailures {
		v.clearLocked()
		fmt.Fprintf(v.stderr, "thawfs: %s: %s.\n", path, strings.TrimSuffix(o.Error, "."))
	}
	return nil
}

func (v *restoreView) progress() error {
	p := v.sum()
	same := p == v.last
	v.last = p
	switch {
	case same && v.bar == nil: // only the time has moved on
	case v.json:
		return json.NewEncoder(v.stdout).Encode(restoreResult{Type: "progress", Progress: p})
	case v.rustic:
		_, err := fmt.Fprintf(v.stdout, `{"type":"pack-progress","warm":%d}`+"\n", p.Readable.Objects)
		return err
	case v.bar != nil && !v.dryRun:
		fmt.Fprint(v.bar, "\r\033[K"+barText(p, time.Now()))
		v.drawn = true
	}
	return nil
}

// sum is the progress of all mounts.
func (v *restoreView) sum() recall.Progress {
	var all recall.Progress
	for _, p := range v.parts {
		for _, t := range []struct{ to, of *recall.Tally }{
			{&all.Readable, &p.Readable},
			{&all.Pending, &p.Pending},
			{&all.Archived, &p.Archived},
			{&all.Refused, &p.Refused},
			{&all.Failed, &p.Failed},
			{&all.Asked, &p.Asked},
		} {
			t.to.Objects += t.of.Objects
			t.to.Bytes += t.of.Bytes
		}
		all.Cost, all.Unpriced, all.Currency = all.Cost+p.Cost, all.Unpriced+p.Unpriced, p.Currency
		if p.ETA.After(all.ETA) {
			all.ETA = p.ETA
		}
	}
	return all
}

const barWidth = 24 // characters

// barText is the bar: how much is readable of what was looked at so far.
func barText(p recall.Progress, now time.Time) string {
	files, size := p.Readable.Objects+p.Pending.Objects, p.Readable.Bytes+p.Pending.Bytes
	done := barWidth
	if files > 0 {
		done = barWidth * p.Readable.Objects / files
	}
	s := fmt.Sprintf("[%s%s] %s of %s, %s of %s", strings.Repeat("#", done), strings.Repeat("-", barWidth-done),
		humanize.Comma(int64(p.Readable.Objects)), count(files, "file", "files"),
		humanize.IBytes(uint64(max(p.Readable.Bytes, 0))), humanize.IBytes(uint64(max(size, 0))))
	if p.Pending.Objects > 0 && !p.ETA.IsZero() {
		s += ", due " + due(p.ETA, now)
	}
	return s
}

func (v *restoreView) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clearLocked()
}

func (v *restoreView) clearLocked() {
	if v.drawn {
		fmt.Fprint(v.bar, "\r\033[K")
		v.drawn = false
	}
}

// end says what came of it all; the error is the exit code.
func (v *restoreView) end() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.sum()
	code := codeOf(p)
	if more := v.told - maxFailures; more > 0 {
		fmt.Fprintf(v.stderr, "thawfs: and %s.\n", count(more, "file more", "files more"))
	}
	switch {
	case v.json:
		if err := json.NewEncoder(v.stdout).Encode(restoreResult{"result", p, v.offers, code}); err != nil {
			return err
		}
	case v.rustic: // it reads our stdout
	case v.dryRun:
		fmt.Fprint(v.stdout, offerText(p, v.offers, v.tier))
	default:
		fmt.Fprintln(v.stdout, resultText(p, time.Now()))
	}
	if code == 0 {
		return nil
	}
	return exitCode(code)
}

// codeOf is the exit code: the worst that happened.
func codeOf(p recall.Progress) int {
	switch {
	case p.Failed.Objects > 0:
		return exitFailed
	case p.Refused.Objects > 0:
		return exitRefused
	case p.Pending.Objects+p.Archived.Objects > 0:
		return exitPending
	}
	return 0
}

// resultText is the last line of a restore.
func resultText(p recall.Progress, now time.Time) string {
	parts := []string{tally(p.Readable) + " readable"}
	if p.Pending.Objects > 0 {
		pending := tally(p.Pending) + " on the way"
		if !p.ETA.IsZero() {
			pending += ", due " + due(p.ETA, now)
		}
		parts = append(parts, pending)
	}
	if p.Refused.Objects > 0 {
		parts = append(parts, tally(p.Refused)+" refused")
	}
	if p.Failed.Objects > 0 {
		parts = append(parts, count(p.Failed.Objects, "file", "files")+" failed")
	}
	s := strings.Join(parts, "; ") + "."
	if p.Asked.Objects > 0 {
		s += fmt.Sprintf(" Asked for %s, %s.", tally(p.Asked), costText(p.Cost, p.Unpriced, p.Currency))
	}
	return s
}

// costText is an estimate, as far as it is one.
func costText(cost float64, unpriced int, currency string) string {
	s := fmt.Sprintf("about %s %.2f", currency, cost)
	if cost > 0 && cost < 0.005 {
		s = "less than " + currency + " 0.01"
	}
	if unpriced > 0 {
		s += fmt.Sprintf(" and what %s of no known price cost", count(unpriced, "file", "files"))
	}
	return s
}

// offerText is the end of a dry run.
func offerText(p recall.Progress, offers []*offer, tier string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to restore; %s readable, %s on the way.\n", tally(p.Archived), tally(p.Readable), tally(p.Pending))
	if p.Archived.Objects == 0 || len(offers) == 0 {
		return b.String()
	}
	if tier == "" {
		tier = recall.TreeTier
	}
	fmt.Fprintf(&b, "\n   %-10s  %-12s  %s\n", "TIER", "DONE WITHIN", "ESTIMATED COST")
	for i, q := range offers[0].Quotes {
		for _, o := range offers[1:] { // of other mounts
			more := o.Quotes[i]
			q.Possible.Objects += more.Possible.Objects
			q.Cost, q.Unpriced, q.Within = q.Cost+more.Cost, q.Unpriced+more.Unpriced, max(q.Within, more.Within)
		}
		fmt.Fprintln(&b, quoteText(q, p.Archived.Objects, q.Tier == tier, p.Currency))
	}
	t := offers[0].Prices
	fmt.Fprintf(&b, "\nEstimated with the prices of %s in %s, those of keeping the copies included.\n", t.Date, t.Region)
	return b.String()
}

func quoteText(q recall.Quote, of int, chosen bool, currency string) string {
	mark := " "
	if chosen {
		mark = "*"
	}
	if q.Possible.Objects == 0 {
		return fmt.Sprintf(" %s %-10s  not for files of these classes", mark, q.Tier)
	}
	s := fmt.Sprintf(" %s %-10s  %-12s  %s", mark, q.Tier, spanText(q.Within), costText(q.Cost, q.Unpriced, currency))
	if lacking := of - q.Possible.Objects; lacking > 0 {
		s += fmt.Sprintf(", without %s whose class has no such tier", count(lacking, "file", "files"))
	}
	return s
}

// spanText is a time that nobody needs to the second.
func spanText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return count(int((d+time.Second-1)/time.Second), "second", "seconds")
	case d < 2*time.Hour:
		return count(int((d+time.Minute-1)/time.Minute), "minute", "minutes")
	}
	return count(int((d+time.Hour-1)/time.Hour), "hour", "hours")
}
