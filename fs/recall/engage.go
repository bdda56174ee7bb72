package recall

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// An ask is what somebody wants of an object.
type ask struct {
	Explicit
	implicit bool // an open: by says whose
	by       Caller
	tree     bool // one of many
	began    time.Time
	sent     *bool // set, under Manager.mu, when a request is sent for it; may be nil
}

func (a ask) program() program {
	if a.implicit {
		return program{a.by.UID, a.by.Exe}
	}
	return program{uid: a.UID}
}

// believed is how long the store's last word on an object is enough for another open.
const believed = 5 * time.Second

// engage sees to it that ref is on its way or readable, and returns its job. Of many callers
// at once one goroutine talks to the store, which goes on when its caller is interrupted.
// After an error nothing is on its way.
func (m *Manager) engage(ctx context.Context, ref backend.Ref, obj backend.Object, a ask) (*job, error) {
	a.began = time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := m.turn(ref, obj, a)
		if err != nil || t.settled {
			return t.j, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-t.outcome:
			return t.j, err
		case <-t.changed:
		}
		if shared, err := m.sharedEnd(t.j); shared {
			return t.j, err
		}
	}
}

// A turn is what a caller of engage does about j: nothing if it is settled, else wait for
// the outcome of what was begun for it, or for the end of somebody else's turn.
type turn struct {
	j       *job
	settled bool
	outcome <-chan error
	changed <-chan struct{}
}

func (m *Manager) turn(ref backend.Ref, obj backend.Object, a ask) (turn, error) {
	m.mu.Lock()
	t, err := m.turnLocked(ref, obj, a, time.Now())
	m.mu.Unlock()
	if t.j == nil && err != nil {
		err = m.explain(ref, a, err)
	}
	return t, err
}

// explain says which object it is that err does not let a begin with.
func (m *Manager) explain(ref backend.Ref, a ask, err error) error {
	var r *refusal
	if errors.As(err, &r) {
		m.refuse(ref, a, r)
	}
	return fmt.Errorf("recall %q: %w", ref, err)
}

func (m *Manager) turnLocked(ref backend.Ref, obj backend.Object, a ask, now time.Time) (turn, error) {
	if m.closed {
		return turn{}, ErrClosed
	}
	j := m.jobs[ref]
	switch {
	case j == nil:
		if err := m.forbiddenLocked(ref, obj, a, now); err != nil {
			return turn{}, err
		}
		j = newJob(ref, obj)
		m.jobs[ref] = j
	case j.busy:
		return turn{j: j, changed: j.changed}, nil
	case obj.ETag == "" || obj.ETag == j.rec.ETag: // else it has been replaced
		if settled, err := m.settledLocked(j, obj, a, now); settled {
			return turn{j: j, settled: true}, err
		}
	}
	j.busy = true
	outcome := make(chan error, 1)
	m.work.Go(func() { outcome <- m.act(j, a) })
	return turn{j: j, outcome: outcome}, nil
}

// forbiddenLocked spares a request for an object that nobody has asked for yet and that is
// not going to be. It is decided again when the store has been asked.
func (m *Manager) forbiddenLocked(ref backend.Ref, obj backend.Object, a ask, now time.Time) error {
	if len(m.jobs) >= maxJobs {
		return tooMany()
	}
	if obj.State != backend.Archived || !a.implicit && (!a.tree || m.mute[ref.Bucket]) {
		return nil // the store may know better
	}
	return m.admissibleLocked(obj.Size, a, now)
}

func tooMany() error {
	return &refusal{why: fmt.Sprintf("%d jobs are remembered already", maxJobs), remedy: "wait for some to end"}
}

// admissibleLocked reports why a may not begin a restore of size bytes.
func (m *Manager) admissibleLocked(size int64, a ask, now time.Time) error {
	if a.implicit && m.o.Policy == ExplicitOnly {
		return ErrExplicit
	}
	if r := m.guards.check(a, size, now); r != nil {
		return r
	}
	return nil
}

// settledLocked reports whether a, of somebody who knows obj, needs no word from the store.
func (m *Manager) settledLocked(j *job, obj backend.Object, a ask, now time.Time) (bool, error) {
	r := &j.rec
	switch {
	case r.Phase == Failed && a.implicit && now.Before(j.retry):
		return true, j.failureLocked()
	case r.Phase == Failed, r.Phase == Asked:
		return false, nil
	case !a.implicit && r.Phase == Restoring && (faster(a.Tier, r.Tier) || r.Foreign && a.Tier != "" && !a.tree):
		return false, nil
	case a.tree && r.Phase == Restoring:
		return true, nil
	case !a.implicit && r.Phase == Restored:
		return false, nil // it may want more days
	case r.Phase == Restored && obj.State == backend.Archived && j.looked.Before(a.began):
		return false, nil // the caller knows better, or less
	}
	return !j.looked.IsZero() && now.Sub(j.looked) < believed, nil
}

// sharedEnd returns the end of j as another goroutine found it; shared is false if there is
// none, or it was only that one's.
func (m *Manager) sharedEnd(j *job) (shared bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !j.gone {
		return false, nil
	}
	for _, own := range []error{ErrRefused, ErrExplicit, backend.ErrInvalid} {
		if errors.Is(j.end, own) {
			return false, nil
		}
	}
	return j.readable || j.end != nil, j.end
}

func (j *job) failureLocked() error {
	return fmt.Errorf("recall %q: %w: %s; opens may try again at %s", j.ref, ErrFailed, j.rec.Err,
		j.rec.RetryAt.UTC().Format(time.RFC3339))
}
