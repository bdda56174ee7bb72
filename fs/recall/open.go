package recall

import (
	"context"
	"fmt"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A Caller is who opens a file.
type Caller struct {
	UID      uint32
	Exe      string // path of the program; "" if it is not known
	PID      uint32
	NonBlock bool // it opened with O_NONBLOCK
}

// Open is for an object that is about to be read and whose State is not readable. It
// returns nil when it can be read now; what the store says of it then has been handed to
// Options.Changed. Otherwise:
//
//   - backend.ErrArchived: it is on its way and was not there in time. Also for a caller with
//     NonBlock, for whom nothing is begun: GNU tar and file(1) set it unasked.
//   - ErrExplicit, ErrRefused, ErrFailed: nothing is on its way.
//   - the error of ctx: the caller was interrupted. What was begun goes on.
//   - other errors of the store.
func (m *Manager) Open(ctx context.Context, ref backend.Ref, obj backend.Object, by Caller) error {
	if by.NonBlock {
		return fmt.Errorf("recall %q: %w, and the open may not wait: nothing is begun for it", ref, backend.ErrArchived)
	}
	j, err := m.engage(ctx, ref, obj, ask{implicit: true, by: by})
	if err != nil {
		return err
	}
	return m.await(ctx, j)
}

// await returns when the object of j is readable, or why that is not waited for.
func (m *Manager) await(ctx context.Context, j *job) error {
	timer := time.NewTimer(m.o.Wait)
	defer timer.Stop()
	waits := false
	for {
		m.mu.Lock()
		s, changed := j.standingLocked(), j.changed
		err := m.verdictLocked(j, s)
		if s == onItsWay && err == nil && !waits {
			err = m.joinLocked(j)
			waits = err == nil
		} else if waits && (s != onItsWay || err != nil) {
			m.leaveLocked(j)
			waits = false
		}
		m.mu.Unlock()
		if s == isReadable || err != nil {
			return err
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = fmt.Errorf("recall %q: %w: it was not back within %v", j.ref, backend.ErrArchived, m.o.Wait)
		case <-m.life.Done():
			err = ErrClosed
		}
		m.mu.Lock()
		m.leaveLocked(j)
		m.mu.Unlock()
		return err
	}
}

// verdictLocked is why an open of j fails in this standing, nil if it does not or waits.
func (m *Manager) verdictLocked(j *job, s standing) error {
	switch {
	case s == isReadable:
		return nil
	case m.o.Policy == ExplicitOnly && s == onItsWay:
		return fmt.Errorf("recall %q: %w: a restore is on its way", j.ref, ErrExplicit)
	case s == isFailed:
		return j.failureLocked()
	case s == isOver && j.end != nil:
		return j.end
	case s == isOver:
		return fmt.Errorf("recall %q: %w again", j.ref, backend.ErrArchived)
	}
	return nil
}

// joinLocked makes the caller one of those who wait for j, if there is room.
func (m *Manager) joinLocked(j *job) error {
	if m.o.Wait <= 0 {
		return fmt.Errorf("recall %q: %w: due by %s", j.ref, backend.ErrArchived, j.etaLocked().UTC().Format(time.RFC3339))
	}
	if m.o.Waiters >= 0 && m.waiting >= m.o.Waiters {
		return fmt.Errorf("recall %q: %w: %d opens wait already", j.ref, backend.ErrArchived, m.waiting)
	}
	m.waiting++
	j.waiters++
	if r := &j.rec; !r.Waited && r.Phase != "" {
		was := *r
		r.Waited = true
		m.rememberLocked(j, was)
	}
	m.wakeLocked(j, time.Now()) // it is looked at more often now
	return nil
}

func (m *Manager) leaveLocked(j *job) {
	m.waiting--
	j.waiters--
}
