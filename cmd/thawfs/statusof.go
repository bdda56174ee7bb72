package main

import (
	"cmp"
	"slices"

	"github.com/thawfs/thawfs/fs/recall"
)

// status is what a mount says of itself.
type status struct {
	about
	Pending  uploads       `json:"pending"`
	Recalls  recallCounts  `json:"recalls"`
	Jobs     []jobStatus   `json:"jobs"` // what matters most first
	Budget   recall.Budget `json:"budget"`
	Currency string        `json:"currency"` // of all costs
}

// uploads are what the store has not confirmed.
type uploads struct {
	pending
	Down   bool          `json:"down,omitempty"`   // the store does not answer
	Errors []uploadError `json:"errors,omitempty"` // of Failed, some
}

type uploadError struct {
	Path  string `json:"path"` // in the mount
	Error string `json:"error"`
}

type recallCounts struct {
	Jobs       int          `json:"jobs"`
	OnTheirWay recall.Tally `json:"on_their_way"`
	Readable   recall.Tally `json:"readable"`
	Failed     int          `json:"failed"`
}

// jobStatus is a job and where its file is.
type jobStatus struct {
	Path string `json:"path"` // in the mount
	recall.Job
}

const (
	maxErrors = 5  // of uploads that are told
	maxShown  = 10 // jobs that are told without --jobs
)

// status looks into memory only.
func (d *daemon) status(all bool) status {
	s := status{about: d.about, Budget: d.m.Recall().Budget(), Currency: d.m.Recall().Prices().Currency, Jobs: []jobStatus{}}
	s.Pending = uploads{pending: pendingOf(d.m), Down: d.m.Queue().Stats().Down}
	if s.Pending.Failed > 0 {
		for _, p := range d.m.Queue().Pending() {
			if p.Err != nil && len(s.Pending.Errors) < maxErrors {
				s.Pending.Errors = append(s.Pending.Errors, uploadError{d.m.Path(p.Ref), words(p.Err)})
			}
		}
	}
	jobs := d.m.Recall().Jobs()
	slices.SortStableFunc(jobs, func(a, b recall.Job) int { return cmp.Compare(urgency(a), urgency(b)) })
	for _, j := range jobs {
		s.Recalls.add(j)
		if all || len(s.Jobs) < maxShown {
			s.Jobs = append(s.Jobs, jobStatus{d.m.Path(j.Ref), j})
		}
	}
	return s
}

// urgency orders jobs for people: trouble first, what is done last.
func urgency(j recall.Job) int {
	switch j.Phase {
	case recall.Failed:
		return 0
	case recall.Restored:
		return 2
	}
	return 1
}

func (c *recallCounts) add(j recall.Job) {
	c.Jobs++
	switch j.Phase {
	case recall.Failed:
		c.Failed++
	case recall.Restored:
		c.Readable.Objects++
		c.Readable.Bytes += j.Size
	default:
		c.OnTheirWay.Objects++
		c.OnTheirWay.Bytes += j.Size
	}
}
