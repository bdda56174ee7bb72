package recall

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
)

const (
	passGap  = 500 * time.Millisecond // between passes
	passRest = 4                      // times as long as the last pass took
	jobRest  = 20 * time.Microsecond  // for each job, between passes: some fifty times what it costs to skip it
	passSize = 5000                   // jobs looked at in one pass at most: opens of theirs wait for it
	passWide = 16                     // requests at once
	passMost = 15 * time.Minute       // between passes while there are jobs: clocks are set
)

// poll looks at all jobs when they are due, until Close. It rests longer after a long pass,
// so that many jobs are looked at together and cost less each.
func (m *Manager) poll() {
	for m.life.Err() == nil {
		began := time.Now()
		m.pass()
		if !m.rest(passRest*time.Since(began)) || !m.sleep() {
			return
		}
	}
}

// rest waits for least, or longer if there are many jobs: to find those that are due takes
// a look at each of them. It returns false if the Manager was closed.
func (m *Manager) rest(least time.Duration) bool {
	m.mu.Lock()
	n := len(m.jobs)
	m.mu.Unlock()
	if n == 0 {
		return true
	}
	t := time.NewTimer(max(least, passGap+time.Duration(n)*jobRest))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.life.Done():
		return false
	}
}

// sleep waits until the first job is due, or poked because one is earlier than that.
func (m *Manager) sleep() bool {
	select {
	case <-m.poke: // what it meant is found below
	default:
	}
	now := time.Now()
	m.mu.Lock()
	in, any := m.nextLocked(now)
	m.earliest = now.Add(in)
	if !any {
		m.earliest = time.Time{}
	}
	m.mu.Unlock()
	var due <-chan time.Time
	if any {
		t := time.NewTimer(max(in, 0))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-m.poke:
	case <-m.life.Done():
		return false
	}
	return true
}

func (m *Manager) nextLocked(now time.Time) (in time.Duration, any bool) {
	in = passMost
	for _, j := range m.jobs {
		if next, ok := m.dueLocked(j, now); ok && !j.busy {
			in = min(in, next)
		}
	}
	return in, len(m.jobs) > 0
}

// wakeLocked sees to it that the poller looks at j in time.
func (m *Manager) wakeLocked(j *job, now time.Time) {
	in, ok := m.dueLocked(j, now)
	if ok && (m.earliest.IsZero() || now.Add(in).Before(m.earliest)) {
		select {
		case m.poke <- struct{}{}:
		default:
		}
	}
}

// pass looks at what is due, by listing where many keys stand together.
func (m *Manager) pass() {
	due := m.takeDue(time.Now())
	var g errgroup.Group
	g.SetLimit(passWide)
	for len(due) > 0 {
		n := slices.IndexFunc(due, func(j *job) bool { return j.ref.Bucket != due[0].ref.Bucket })
		if n < 0 {
			n = len(due)
		}
		for _, j := range m.listed(due[:n]) {
			g.Go(func() error { m.look(j); return nil })
		}
		due = due[n:]
	}
	_ = g.Wait() // nothing fails
	if err := m.journal.commit(); err != nil {
		m.o.Log.Warn("what became of recalls is not durable yet", slog.Any("err", err))
	}
	m.mu.Lock()
	close(m.moved)
	m.moved = make(chan struct{})
	m.mu.Unlock()
}

// takeDue makes those jobs busy that are due, or nearly, and returns them by Ref.
func (m *Manager) takeDue(now time.Time) []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []*job
	for _, j := range m.jobs {
		in, ok := m.dueLocked(j, now)
		if !ok || j.busy || in > now.Sub(j.tried)/8 { // what is nearly due is looked at with the others
			continue
		}
		if in > 0 && (j.rec.Phase == Restored || j.rec.Phase == Failed) {
			continue
		}
		if j.rec.Phase == Failed {
			m.finishLocked(j, false, nil)
			continue
		}
		due = append(due, j)
	}
	if len(due) > passSize { // first those that waited longest
		slices.SortFunc(due, func(a, b *job) int { return cmp.Or(b.waiters-a.waiters, a.tried.Compare(b.tried)) })
		due = due[:passSize]
	}
	for _, j := range due {
		j.busy = true
	}
	slices.SortFunc(due, func(a, b *job) int {
		return cmp.Or(cmp.Compare(a.ref.Bucket, b.ref.Bucket), cmp.Compare(a.ref.Key, b.ref.Key))
	})
	return due
}

// look asks the store about one job that is busy for it.
func (m *Manager) look(j *job) {
	store, obj, err := m.head(m.life, j)
	m.settle(j, store, obj, err)
}

// settle applies the store's answer to a job that is busy for the poller, and ends its turn.
func (m *Manager) settle(j *job, store backend.Store, obj backend.Object, err error) {
	defer m.release(j)
	if err != nil {
		if err := m.unseen(j, err); err != nil && !errors.Is(err, backend.ErrNotExist) && m.life.Err() == nil {
			m.o.Log.Debug("a recall cannot be looked at", slog.String("key", j.ref.String()), slog.Any("err", err))
		}
		return
	}
	switch f := m.show(j, store, obj); f {
	case goesOn:
		m.keep(j, store)
	case done:
		m.finish(j, true, nil)
	case lapsed:
		m.finish(j, false, nil)
	case unasked:
		_ = m.resend(j, store) // what fails is noted in the job
	default:
		_ = m.fail(j, failureOf(f)) // logged; whoever waits is told
	}
}

// keep extends a held copy that nears its end.
func (m *Manager) keep(j *job, store backend.Store) {
	m.mu.Lock()
	r := j.rec
	due := r.Phase == Restored && r.Class != vault && m.holds[j.ref] > 0 && time.Until(r.Until) < keepAhead && time.Since(j.extended) >= keepEvery
	m.mu.Unlock()
	if due {
		_ = m.extend(j, store, daysFor(r.Class, 0, m.o.Days)) // logged; tried again in an hour
	}
}

// resend sends what was journalled and, as the store shows now, never arrived. After a day
// nobody waits for it any more.
func (m *Manager) resend(j *job, store backend.Store) error {
	m.mu.Lock()
	age := time.Since(j.born)
	m.mu.Unlock()
	restorer, ok := store.(backend.Restorer)
	if !ok || age >= day {
		m.takeBack(j)
		m.finish(j, false, nil)
		return nil
	}
	return m.send(j, restorer, store, ask{})
}
