package recall

import "time"

const (
	firstLook   = time.Second      // after a restore was sent; each look doubles it at first
	firstInTree = 15 * time.Second // in a Batch
	minLook     = 15 * time.Second // between looks at a job that can be ready any moment
	maxLook     = 15 * time.Minute
	waiterLook  = time.Minute // while somebody waits: a HEAD costs next to nothing

	keepAhead  = 12 * time.Hour  // of a held copy, when it is asked to stay
	keepAtMost = 5 * time.Minute // before its end it is too late: the request might pay for a new copy
	keepEvery  = time.Hour
)

// untilLook is how long after the last look, at the given age of the restore, comes the
// next one. Fast stores are found by looking at doubling intervals; slow ones are left alone
// from then to the earliest time they say, and looked at in tenths of what remains.
func untilLook(age time.Duration, s span, tree, waited bool) time.Duration {
	first := firstLook
	if tree && !waited {
		first = firstInTree
	}
	next := max(first, age) // doubles the age
	if age < s.least {
		return min(next, max(firstLook, s.least-age))
	}
	limit := maxLook
	if waited {
		limit = waiterLook
	}
	return min(next, min(max((s.most-age).Abs()/10, minLook), limit))
}

// dueLocked returns in how long j is to be looked at; ok is false if it never is.
func (m *Manager) dueLocked(j *job, now time.Time) (in time.Duration, ok bool) {
	switch j.rec.Phase {
	case Asked, Restoring:
		if j.tried.IsZero() {
			return 0, true // adopted
		}
		return untilLook(j.tried.Sub(j.born), j.expect, j.tree, j.waiters > 0) - now.Sub(j.tried), true
	case Restored:
		if j.looked.IsZero() {
			return 0, true
		}
		// The end is a time of the store's clock, so it is compared with ours as it is
		// set now, and seldom twice if they differ.
		end := max(j.rec.Until.Sub(now), time.Minute-now.Sub(j.tried))
		if m.holds[j.ref] > 0 {
			end = min(end, max(j.rec.Until.Add(-keepAhead).Sub(now), keepEvery-now.Sub(j.extended)))
		}
		return max(end, time.Second-now.Sub(j.tried)), true
	case Failed:
		return j.retry.Add(day).Sub(now), true // to be forgotten
	}
	return 0, false
}
