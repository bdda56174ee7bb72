package recall

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	lookTime = time.Minute // for a Head, with the driver's retries
	sendTime = time.Minute // for a Restore, whoever is interrupted meanwhile
)

// act asks the store about j and does what a wants. The caller has made j busy; that ends
// here. After an error nothing is on its way for a.
func (m *Manager) act(j *job, a ask) error {
	defer m.release(j)
	store, obj, err := m.head(m.life, j)
	if err != nil {
		return m.unseen(j, err)
	}
	for {
		f := m.show(j, store, obj)
		switch {
		case f == goesOn && obj.State == backend.Restored && !a.implicit:
			return m.stayFor(j, store, obj, a)
		case f == goesOn && !a.implicit:
			return m.upgrade(j, store, a)
		case f == goesOn:
			return nil
		case f == done:
			m.finish(j, true, nil)
			return nil
		case f == unasked && m.paid(j):
			return m.resend(j, store)
		case f == unasked:
			return m.begin(j, store, obj, a)
		case f != lapsed && a.implicit:
			return m.fail(j, failureOf(f))
		}
		m.reset(j, obj) // and is archived anew
	}
}

// head asks the store for j's object. It waits for a free slot.
func (m *Manager) head(ctx context.Context, j *job) (backend.Store, backend.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if err := m.take(ctx); err != nil {
		return nil, backend.Object{}, err
	}
	defer m.give()
	store, err := m.o.Open(ctx, j.ref.Bucket)
	if err != nil {
		return nil, backend.Object{}, err
	}
	obj, err := store.Head(ctx, j.ref.Key)
	return store, obj, err
}

// paid reports whether j passed the guards and was journalled, and never arrived.
func (m *Manager) paid(j *job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return j.rec.Phase == Asked
}

func (m *Manager) take(ctx context.Context) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) give() { <-m.slots }

// unseen ends a look that the store did not answer.
func (m *Manager) unseen(j *job, err error) error {
	if m.life.Err() != nil {
		err = ErrClosed
	}
	m.mu.Lock()
	phase := j.rec.Phase
	j.tried, j.note = time.Now(), err.Error()
	m.mu.Unlock()
	switch {
	case errors.Is(err, backend.ErrNotExist):
		m.finish(j, false, err)
	case phase == "":
		m.finish(j, false, err)
	case phase == Asked, phase == Restoring:
		return nil // as far as is known
	}
	return err
}

// show applies what the store says of j, and tells it on. A job with a fate other than
// goesOn is left as it was.
func (m *Manager) show(j *job, store backend.Store, obj backend.Object) fate {
	now := time.Now()
	m.mu.Lock()
	was := j.rec
	rec, f := was.meet(obj, now.Sub(j.born), now)
	if f == goesOn && rec.Phase == Restoring && (was.Phase != Restoring || j.looked.IsZero()) {
		if was.Phase != Asked && was.Phase != Restoring {
			j.born = now
		}
		j.expect = m.expectLocked(store, j.ref, rec.Class, rec.Tier)
	}
	j.rec, j.looked, j.tried, j.note = rec, now, now, ""
	back := f == done || f == goesOn && rec.Phase == Restored
	arrived := back && was.Phase == Restoring
	if arrived {
		m.tookLocked(j, now)
	}
	if rec != was {
		m.rememberLocked(j, was)
	}
	told := j.shown == obj.State && j.until.Equal(obj.Until)
	j.shown, j.until = obj.State, obj.Until
	m.wakeLocked(j, now)
	m.mu.Unlock()
	if arrived {
		m.o.Log.Log(m.life, j.level(), "recalled", slog.String("key", j.ref.String()),
			slog.Duration("dur", now.Sub(j.born)), slog.Time("until", obj.Until))
	}
	if !told {
		m.o.Changed(j.ref, obj)
	}
	if back && was.Waited && was.Phase != Restored {
		m.o.Awaited(j.ref, obj)
	}
	return f
}

// rememberLocked journals what has become of a job. Those of others are found in the store.
func (m *Manager) rememberLocked(j *job, was record) {
	switch {
	case !j.rec.Foreign:
		m.journal.putJob(j.ref, j.rec)
	case !was.Foreign && was.Phase != "":
		m.journal.removeJob(j.ref)
	}
}

// level is that of the log of a job: single ones of a tree are too many.
func (j *job) level() slog.Level {
	if j.tree {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func failureOf(f fate) error {
	if f == noEffect {
		return errors.New("the store took the request but shows no restore")
	}
	return errors.New("the store has given the restore up")
}

// reset makes j a job that nobody has asked for.
func (m *Manager) reset(j *job, obj backend.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fails := j.rec.Fails
	j.rec = record{ETag: obj.ETag, Class: obj.Class, Size: obj.Size, Fails: fails}
}

// fail ends a try of j for now.
func (m *Manager) fail(j *job, err error) error {
	now := time.Now()
	m.mu.Lock()
	if j.rec.Phase == "" {
		j.rec.Since = now
	}
	j.rec = j.rec.failed(err.Error(), now)
	j.retry = j.rec.RetryAt
	m.journal.putJob(j.ref, j.rec)
	m.wakeLocked(j, now)
	failure := j.failureLocked()
	m.mu.Unlock()
	m.o.Log.Warn("recall failed", slog.String("key", j.ref.String()), slog.Any("err", err))
	return failure
}

// refused ends a job that may not begin. One that had failed before stays that.
func (m *Manager) refused(j *job, err error) {
	m.mu.Lock()
	failed := j.rec.Phase == Failed
	m.mu.Unlock()
	if !failed {
		m.finish(j, false, err)
	}
}

// finish takes j out of the table.
func (m *Manager) finish(j *job, readable bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finishLocked(j, readable, err)
}

func (m *Manager) finishLocked(j *job, readable bool, err error) {
	j.gone, j.readable, j.end = true, readable, err
	delete(m.jobs, j.ref)
	m.journal.removeJob(j.ref)
	if readable {
		delete(m.guards.refused, j.ref)
	}
}

// release ends the turn of the goroutine that has made j busy.
func (m *Manager) release(j *job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j.releaseLocked()
	if !j.gone {
		m.wakeLocked(j, time.Now()) // the poller leaves busy ones out
	}
}
