package main

import (
	"fmt"
	"io"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/thawfs/thawfs/fs/recall"
)

// print writes s for a person.
func (s status) print(w io.Writer, all bool, now time.Time) {
	how := ""
	if s.ReadOnly {
		how = ", read-only"
	}
	fmt.Fprintf(w, "%s on %s%s (pid %d, since %s)\n", s.Source, s.Mountpoint, how, s.PID, s.Since.Local().Format("2006-01-02 15:04"))
	if s.Page != "" {
		fmt.Fprintf(w, "  page      %s\n", s.Page)
	}
	fmt.Fprintf(w, "  store     %s\n", s.Store.text(now))
	s.printUploads(w, now)
	s.printRecalls(w, all, now)
	b := s.Budget
	fmt.Fprintf(w, "  today     %s of %s files restored, %s of %s, %s\n", humanize.Comma(int64(b.Objects)), limitOf(int64(b.MaxObjects), humanize.Comma),
		size(b.Bytes), limitOf(b.MaxBytes, size), costText(b.Cost, 0, s.Currency))
	fmt.Fprintf(w, "  cache     %s\n", s.Cache)
	if len(s.Requests) > 0 {
		fmt.Fprintf(w, "  requests  %s\n", requestsText(s.Requests))
	}
	if s.Failures > 0 {
		fmt.Fprintf(w, "  errors    %s of programs failed with EIO: %s\n", count(int(s.Failures), "request", "requests"), s.whereToLook())
	}
}

func (s status) whereToLook() string {
	if s.Log == "" {
		return "its terminal or journal says why"
	}
	return s.Log + " says why"
}

// size is as in "3.4 GiB".
func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func limitOf(n int64, text func(int64) string) string {
	if n < 0 {
		return noLimit
	}
	return text(n)
}

// text is the state of the store in a few words.
func (h storeHealth) text(now time.Time) string {
	s := string(h.State)
	if h.State == isDown {
		s = "does not answer"
	}
	if !h.Answered.IsZero() {
		s += ", last answer " + age(now.Sub(h.Answered)) + " ago"
	}
	if h.Error != "" {
		s += fmt.Sprintf("; %s ago: %s", age(now.Sub(h.ErrorAt)), h.Error)
	}
	return s
}

// age is a time span as exact as it matters.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func (s status) printUploads(w io.Writer, now time.Time) {
	if s.Pending.Files == 0 {
		fmt.Fprintln(w, "  uploads   none pending")
		return
	}
	fmt.Fprintf(w, "  uploads   %s pending, the oldest for %s", s.Pending.pending, age(now.Sub(s.Pending.Oldest)))
	if s.Pending.Failed > 0 {
		fmt.Fprintf(w, ", %d failed and tried again", s.Pending.Failed)
	}
	if s.Pending.Down {
		fmt.Fprint(w, "; the store does not answer")
	}
	fmt.Fprintln(w)
	for _, u := range s.Pending.Items {
		fmt.Fprintf(w, "    %-10s  %8s  %8s  %s\n", u.state(), size(u.Bytes), age(now.Sub(u.Since)), u.Path)
		if u.Error != "" {
			fmt.Fprintf(w, "                %s\n", u.Error)
		}
	}
	s.printMore(w, s.Pending.Files-len(s.Pending.Items))
}

// state is what becomes of an upload at the moment.
func (u uploadItem) state() string {
	switch {
	case u.Sending:
		return "sending"
	case u.Error != "":
		return "failed"
	case u.What != "upload":
		return u.What
	}
	return "waits"
}

func (s status) printMore(w io.Writer, more int) {
	if more > 0 {
		fmt.Fprintf(w, "    %d more: thawfs status --jobs %s\n", more, shellQuote(s.Mountpoint))
	}
}

func (s status) printRecalls(w io.Writer, all bool, now time.Time) {
	fmt.Fprintf(w, "  restores  %s\n", s.Recalls)
	for _, j := range s.Jobs {
		fmt.Fprintf(w, "    %-9s  %-9s  %-22s  %8s  %-18s  %s\n", j.Phase, orDash(j.Tier), j.when(now), size(j.Size), j.who(), j.Path)
		if j.Err != "" {
			fmt.Fprintf(w, "               %s\n", j.Err)
		}
	}
	if !all {
		s.printMore(w, s.Recalls.Jobs-len(s.Jobs))
	}
}

// String is as in "3.2 GiB of 10 GiB, 98 % of reads from here".
func (c cacheStatus) String() string {
	s := fmt.Sprintf("%s of %s in %s", size(c.Bytes), size(c.Capacity), count(c.Files, "file", "files"))
	if c.Pinned > 0 {
		s += ", " + size(c.Pinned) + " pinned"
	}
	if c.Hits+c.Misses > 0 {
		s += fmt.Sprintf(", %.0f %% of reads answered from here", 100*c.HitRatio)
	}
	if c.Corrupt > 0 {
		s += fmt.Sprintf(", %s found damaged and fetched anew", count(int(c.Corrupt), "piece", "pieces"))
	}
	return s
}

// requestsText is as in "120 get, 3 list; 2 failed; 1.0 MiB sent, 20 MiB received".
func requestsText(all []requests) string {
	var parts []string
	var sum requests
	for _, r := range all {
		parts = append(parts, humanize.Comma(r.Count)+" "+r.Op)
		sum.Refused, sum.Failed, sum.Slowed = sum.Refused+r.Refused, sum.Failed+r.Failed, sum.Slowed+r.Slowed
		sum.Sent, sum.Received = sum.Sent+r.Sent, sum.Received+r.Received
	}
	s := strings.Join(parts, ", ")
	for _, bad := range []struct {
		n    int64
		what string
	}{{sum.Refused, "refused"}, {sum.Failed, "failed"}, {sum.Slowed, "slowed down"}} {
		if bad.n > 0 {
			s += fmt.Sprintf("; %s %s", humanize.Comma(bad.n), bad.what)
		}
	}
	return s + fmt.Sprintf("; %s sent, %s received", size(sum.Sent), size(sum.Received))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// when is the time that matters in the phase of a job.
func (j jobStatus) when(now time.Time) string {
	switch {
	case !j.ETA.IsZero():
		return "due " + due(j.ETA, now)
	case !j.Until.IsZero():
		return "until " + j.Until.Local().Format("2006-01-02 15:04")
	case !j.RetryAt.IsZero():
		return "retry " + due(j.RetryAt, now)
	}
	return "-"
}

// who asked for it.
func (j jobStatus) who() string {
	if j.Foreign {
		return "another client"
	}
	name := strconv.FormatUint(uint64(j.UID), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	if j.By == "" {
		return name
	}
	return filepath.Base(j.By) + " (" + name + ")"
}

// String is as in "2 on their way (3 GiB), 1 failed, 12 done".
func (c recallCounts) String() string {
	if c.Jobs == 0 {
		return "none"
	}
	var parts []string
	if c.OnTheirWay.Objects > 0 {
		parts = append(parts, tally(c.OnTheirWay)+" on the way")
	}
	if c.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", c.Failed))
	}
	if c.Readable.Objects > 0 {
		parts = append(parts, tally(c.Readable)+" readable")
	}
	return strings.Join(parts, ", ")
}

// tally is as in "2 files (3.0 GiB)".
func tally(t recall.Tally) string { return pending{Files: t.Objects, Bytes: t.Bytes}.String() }
