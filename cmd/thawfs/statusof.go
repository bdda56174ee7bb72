package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/writeback"
	"github.com/thawfs/thawfs/fs/recall"
)

// status is what a mount says of itself.
type status struct {
	about
	At       time.Time     `json:"at"`
	Store    storeHealth   `json:"store"`
	Pending  uploads       `json:"pending"`
	Recalls  recallCounts  `json:"recalls"`
	Jobs     []jobStatus   `json:"jobs"` // what matters most first
	Budget   recall.Budget `json:"budget"`
	Currency string        `json:"currency"` // of all costs
	Cache    cacheStatus   `json:"cache"`
	Requests []requests    `json:"requests"` // by operation; empty for a store without requests
	Stored   stored        `json:"stored"`
	Failures int64         `json:"failures"` // requests of programs answered with EIO
}

// storeHealth says whether the store can be used.
type storeHealth struct {
	State    health    `json:"state"`
	Error    string    `json:"error,omitempty"` // the last trouble
	ErrorAt  time.Time `json:"error_at,omitzero"`
	Answered time.Time `json:"answered,omitzero"` // when it last did
}

type health string

const (
	isUp       health = "up"
	isTroubled health = "troubled" // it has failed a request within troubleFor, and answers others
	isDown     health = "down"     // the last requests got no answer
)

// troubleFor is how long a failed request counts.
const troubleFor = time.Minute

// uploads are what the store has not confirmed.
type uploads struct {
	pending
	Down     bool         `json:"down,omitempty"` // the store does not take them
	Oldest   time.Time    `json:"oldest,omitzero"`
	Staged   int64        `json:"staged"`   // bytes on the local disk, open files included
	Capacity int64        `json:"capacity"` // bytes they may take there
	Items    []uploadItem `json:"items"`    // failed ones first, then the oldest; with --jobs all of them
}

// uploadItem is one change that waits.
type uploadItem struct {
	Path    string    `json:"path"` // in the mount
	What    string    `json:"what"` // upload, attributes or delete
	Bytes   int64     `json:"bytes"`
	Since   time.Time `json:"since"`
	Sending bool      `json:"sending,omitempty"`
	Error   string    `json:"error,omitempty"` // of the last attempt
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

// cacheStatus is what is kept of what was read.
type cacheStatus struct {
	Bytes     int64   `json:"bytes"`
	Capacity  int64   `json:"capacity"` // bytes
	Pinned    int64   `json:"pinned"`   // of Bytes
	Files     int     `json:"files"`
	Hits      int64   `json:"hits"`
	Misses    int64   `json:"misses"`
	HitRatio  float64 `json:"hit_ratio"` // 0 to 1, of all reads since the start
	Fetched   int64   `json:"fetched"`   // bytes
	Evictions int64   `json:"evictions"`
	Corrupt   int64   `json:"corrupt"` // pieces on disk that were damaged, and fetched anew
	Memory    int64   `json:"memory"`  // bytes of buffers in use
}

// requests are backend.Requests with their sum.
type requests struct {
	Count int64 `json:"count"`
	backend.Requests
}

// stored counts what the store has confirmed since the start.
type stored struct {
	Objects    int64 `json:"objects"`
	Bytes      int64 `json:"bytes"`
	Deletes    int64 `json:"deletes"`
	Attributes int64 `json:"attributes"`
	Copies     int64 `json:"copies"`
	Conflicts  int64 `json:"conflicts"`
}

const maxShown = 10 // jobs, and uploads, that are told without --jobs

// status looks into memory only.
func (d *daemon) status(all bool) status {
	f := d.m.Stats()
	s := status{
		about: d.about, At: time.Now(), Failures: f.Failures,
		Budget: d.m.Recall().Budget(), Currency: d.m.Recall().Prices().Currency, Jobs: []jobStatus{}, Requests: []requests{},
		Pending: d.uploads(f.Queue, all),
		Stored: stored{
			f.Queue.Sent.Objects, f.Queue.Sent.Bytes, f.Queue.Sent.Deletes, f.Queue.Sent.Attrs, f.Queue.Sent.Copies, f.Queue.Sent.Conflicts,
		},
	}
	c := f.Cache
	s.Cache = cacheStatus{
		c.Bytes, c.Capacity, c.Pinned, c.Files, c.Hits, c.Misses, ratio(c.Hits, c.Misses),
		c.Fetched, c.Evictions, c.Corrupt, c.Memory,
	}
	if d.meter != nil {
		for _, r := range d.meter.Requests() {
			s.Requests = append(s.Requests, requests{r.Count(), r})
		}
	}
	s.Store = d.health(s.At)
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

func ratio(hits, misses int64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

// health judges by what the store said last, to whomever.
func (d *daemon) health(now time.Time) storeHealth {
	h := storeHealth{State: isUp}
	if d.meter != nil {
		a := d.meter.Answers()
		h.Answered = a.Answered
		if now.Sub(a.Failed) < troubleFor {
			h.State, h.Error, h.ErrorAt = isTroubled, a.Err, a.Failed
			if a.Failed.After(a.Answered.Add(downAfter)) {
				h.State = isDown
			}
		}
	}
	if d.m.Queue().Stats().Down {
		h.State = isDown
	}
	return h
}

// downAfter is how long nothing but failures makes a store one that is down.
const downAfter = 3 * time.Second

func (d *daemon) uploads(q writeback.Stats, all bool) uploads {
	u := uploads{pending: pendingOf(d.m), Down: q.Down, Oldest: q.Oldest, Staged: q.Staged, Capacity: q.Capacity, Items: []uploadItem{}}
	if u.Files == 0 {
		return u
	}
	waiting := d.m.Queue().Pending()
	slices.SortStableFunc(waiting, func(a, b writeback.Pending) int {
		return cmp.Or(-cmp.Compare(btoi(a.Err != nil), btoi(b.Err != nil)), a.Since.Compare(b.Since))
	})
	for _, p := range waiting {
		if !all && len(u.Items) == maxShown {
			break
		}
		u.Items = append(u.Items, d.upload(p))
	}
	return u
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (d *daemon) upload(p writeback.Pending) uploadItem {
	i := uploadItem{Path: d.m.Path(p.Ref), What: "upload", Since: p.Since, Sending: p.Sending}
	switch {
	case p.Gone:
		i.What = "delete"
	case p.File == nil:
		i.What = "attributes"
	default:
		i.Bytes = p.Object.Size
	}
	if p.Err != nil {
		i.Error = words(p.Err)
	}
	return i
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
