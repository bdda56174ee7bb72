package recall

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
)

const (
	fewJobs    = 32   // that many HEADs are made without a listing
	pageSize   = 1000 // entries a page
	pageWorth  = 16   // hits that make a page cheaper than HEADs
	listPeriod = 5 * time.Minute
)

// listed looks at jobs of one bucket, which are sorted by key, in a listing, and returns
// those that need a Head: because somebody waits, because they are few or far between, or
// because the listing does not tell. A page of it shows a thousand objects for the price of
// a dozen HEADs.
func (m *Manager) listed(jobs []*job) (rest []*job) {
	many, rest := m.listable(jobs)
	if len(many) < fewJobs {
		return jobs
	}
	ctx, cancel := context.WithTimeout(m.life, listPeriod)
	defer cancel()
	store, err := m.o.Open(ctx, many[0].ref.Bucket)
	if err != nil {
		return jobs
	}
	w := walk{m: m, store: store, jobs: many}
	w.settling.SetLimit(passWide)
	for len(w.jobs) > 0 && w.stretch(ctx) {
	}
	_ = w.settling.Wait() // nothing fails
	return append(append(rest, w.unsure...), w.jobs...)
}

// listable parts the jobs that a listing may tell of from the others.
func (m *Manager) listable(jobs []*job) (many, rest []*job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mute[jobs[0].ref.Bucket] {
		return nil, jobs
	}
	for _, j := range jobs {
		if j.waiters > 0 || j.rec.Class == tiering || j.rec.Phase == Asked {
			rest = append(rest, j)
		} else {
			many = append(many, j)
		}
	}
	return many, rest
}

// A walk finds jobs in a listing.
type walk struct {
	m        *Manager
	store    backend.Store
	jobs     []*job // not found yet, by key
	unsure   []*job // to be asked with Head
	seen     int    // entries in all
	hits     int
	tested   bool // whether the listing tells
	settling errgroup.Group
}

// stretch lists from the first job on, to the last, or to where the next one is far. It
// reports whether listing on is worth it.
func (w *walk) stretch(ctx context.Context) bool {
	first, last := w.jobs[0].ref.Key, w.jobs[len(w.jobs)-1].ref.Key
	missed := 0
	for e, err := range w.store.List(ctx, commonDir(first, last), before(first), backend.ListOptions{PageSize: pageSize}) {
		if err != nil {
			return false
		}
		w.seen++
		missed++
		if w.meet(e.Object) {
			missed = 0
		}
		switch {
		case len(w.jobs) == 0 || w.deaf():
			return false
		case w.seen >= pageSize && w.hits*pageSize < w.seen*pageWorth:
			return false
		case missed > pageSize:
			return true // begin again at the next job
		}
	}
	w.unsure = append(w.unsure, w.jobs...) // gone, as it seems
	w.jobs = nil
	return false
}

// meet takes the jobs up to obj, and reports whether it was one of them.
func (w *walk) meet(obj backend.Object) bool {
	for len(w.jobs) > 0 && w.jobs[0].ref.Key < obj.Key {
		w.unsure = append(w.unsure, w.jobs[0])
		w.jobs = w.jobs[1:]
	}
	if len(w.jobs) == 0 || w.jobs[0].ref.Key != obj.Key {
		return false
	}
	j := w.jobs[0]
	w.jobs = w.jobs[1:]
	w.hits++
	if obj.State == backend.Archived || obj.State == backend.Unknown {
		w.unsure = append(w.unsure, j) // or the listing does not tell
		return true
	}
	w.settling.Go(func() error { w.m.settle(j, w.store, obj, nil); return nil })
	return true
}

// deaf reports whether the listing shows everything as archived, and Head knows better.
func (w *walk) deaf() bool {
	if w.tested || len(w.unsure) < fewJobs || len(w.unsure) < w.hits {
		return false
	}
	w.tested = true
	j := w.unsure[0]
	w.unsure = w.unsure[1:]
	store, obj, err := w.m.head(w.m.life, j)
	w.m.settle(j, store, obj, err)
	if err != nil || obj.State == backend.Archived {
		return false
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.mute[j.ref.Bucket] = true
	return true
}

// commonDir is the longest common prefix of a and b that is empty or ends in "/".
func commonDir(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:strings.LastIndexByte(a[:n], '/')+1]
}

// before is a key shortly before key, or "".
func before(key string) string {
	_, n := utf8.DecodeLastRuneInString(key)
	return key[:len(key)-n]
}
