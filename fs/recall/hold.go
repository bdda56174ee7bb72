package recall

import (
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Hold keeps the copy of a restored object from ending until release is called: whenever
// less than 12 hours of it remain it is asked for again. It is for open handles. obj is what
// the store said last; objects that are not Restored need no holding. release may be called
// more than once.
func (m *Manager) Hold(ref backend.Ref, obj backend.Object) (release func()) {
	if obj.State != backend.Restored || obj.Until.IsZero() {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holds[ref]++
	now := time.Now()
	j := m.jobs[ref]
	if j == nil && len(m.jobs) < maxJobs {
		j = newJob(ref, obj)
		j.rec, _ = j.rec.meet(obj, 0, now)
		j.looked, j.tried = now, now
		m.jobs[ref] = j
	}
	if j != nil {
		m.wakeLocked(j, now)
	}
	return sync.OnceFunc(func() { m.unhold(ref) })
}

// unhold drops a hold, and with the last one a job that was only there for it.
func (m *Manager) unhold(ref backend.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holds[ref]--
	if m.holds[ref] > 0 {
		return
	}
	delete(m.holds, ref)
	if j := m.jobs[ref]; j != nil && !j.busy && j.rec.Phase == Restored && j.rec.Foreign {
		m.finishLocked(j, true, nil)
	}
}
