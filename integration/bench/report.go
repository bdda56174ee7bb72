package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// A row is one line of the report: what was measured of thawfs in each round, and of the
// baseline in the same round.
type row struct {
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Baseline string `json:"baseline,omitempty"` // what Base is: raw, local
	lower    bool   // less is better
	times    float64
	target   func(distant bool) target

	Ours     []float64        `json:"ours"`
	Base     []float64        `json:"base,omitempty"`
	Ratio    *spread          `json:"ratio,omitempty"` // of thawfs to the baseline, round by round
	Target   string           `json:"target,omitempty"`
	Met      *bool            `json:"met,omitempty"`
	CPU      []float64        `json:"cpu_seconds"`       // of the daemon
	CPUGiB   []float64        `json:"cpu_seconds_a_gib"` // likewise
	Peak     int64            `json:"peak_rss_bytes"`    // of the daemon, highest of all rounds
	Requests map[string]int64 `json:"requests"`          // of the last round
	Note     string           `json:"note,omitempty"`
}

// A target is a bound of the ratio, or of the value itself.
type target struct {
	bound    float64
	absolute bool
}

// spread is the middle and the ends of a few numbers.
type spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

func spreadOf(values []float64) *spread {
	if len(values) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(values))
	m := s[len(s)/2]
	if len(s)%2 == 0 {
		m = (m + s[len(s)/2-1]) / 2
	}
	return &spread{m, s[0], s[len(s)-1]}
}

// finish computes what follows from the rounds.
func (r *row) finish(distant bool) {
	var ratios []float64
	for i, base := range r.Base {
		if i < len(r.Ours) && base > 0 {
			ratios = append(ratios, r.Ours[i]/base)
		}
	}
	r.Ratio = spreadOf(ratios)
	if r.target == nil || len(r.Ours) == 0 {
		return
	}
	t := r.target(distant)
	if t.bound == 0 {
		return
	}
	got, unit := spreadOf(r.Ours).Median, " "+r.Unit
	if !t.absolute {
		if r.Ratio == nil {
			return
		}
		got, unit = r.Ratio.Median, "x"
	}
	met, sign := got >= t.bound, ">="
	if r.lower {
		met, sign = got <= t.bound, "<="
	}
	r.Met, r.Target = &met, fmt.Sprintf("%s %g%s", sign, t.bound, unit)
}

// printTable writes the rows that have values for a person.
func printTable(w io.Writer, rows []*row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "work\tthawfs\tbaseline\tratio (least-most)\ttarget\tmet\tCPU s\tper GiB\tpeak MiB\trequests")
	for _, r := range rows {
		if len(r.Ours) == 0 {
			continue
		}
		base, ratio, met, perGiB := "-", "-", "-", "-"
		if s := spreadOf(r.Base); s != nil {
			base = r.Baseline + " " + short(s.Median)
		}
		if r.Ratio != nil {
			ratio = fmt.Sprintf("%.2f (%.2f-%.2f)", r.Ratio.Median, r.Ratio.Least, r.Ratio.Most)
		}
		if r.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*r.Met]
		}
		if s := spreadOf(r.CPUGiB); s != nil {
			perGiB = fmt.Sprintf("%.2f", s.Median)
		}
		cpu := "-"
		if s := spreadOf(r.CPU); s != nil {
			cpu = fmt.Sprintf("%.2f", s.Median)
		}
		requests := describe(r.Requests)
		if r.Note != "" {
			requests += "; " + r.Note
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", r.Name, short(spreadOf(r.Ours).Median), r.Unit, base, ratio,
			r.Target, met, cpu, perGiB, r.Peak>>20, requests)
	}
	return t.Flush()
}

// short is a number with three digits that count.
func short(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return fmt.Sprintf("%.*f", digits, v)
}

// writeJSON keeps everything for programs.
func writeJSON(path string, o options, rows []*row) error {
	measured := slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return len(r.Ours) == 0 })
	data, err := json.MarshalIndent(struct {
		When    time.Time `json:"when"`
		Options options   `json:"options"`
		Rows    []*row    `json:"rows"`
	}{time.Now().UTC(), o, measured}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
