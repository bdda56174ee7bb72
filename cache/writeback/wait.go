package writeback

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Sync returns when the store has confirmed the last Commit, or with the error why it will
// not by itself. Each Sync has the change tried at once. What was changed but not committed
// is not waited for. It goes on trying while the store is down: ctx bounds that.
func (f *File) Sync(ctx context.Context) error {
	q := f.q
	q.mu.Lock()
	gen := f.gen
	if e := f.entry; e != nil && f.confirmed < gen {
		q.nowLocked(e)
	}
	tried, failures := f.triedLocked(), f.failures
	for {
		if err := f.err; f.untold || f.failures > failures {
			f.untold = false
			q.mu.Unlock()
			return err
		}
		if f.confirmed >= gen || f.entry == nil {
			q.mu.Unlock()
			return nil // an unlinked file has nothing to be durable
		}
		if e := f.entry; e.fatal && e.tried > tried {
			q.mu.Unlock()
			return e.err
		}
		if q.closed {
			q.mu.Unlock()
			return errClosed
		}
		changed := f.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return f.cause(ctx)
		}
		q.mu.Lock()
	}
}

func (f *File) triedLocked() uint64 {
	if f.entry == nil {
		return 0
	}
	return f.entry.tried
}

// cause is the error of a wait that ctx ended, with what the store said last.
func (f *File) cause(ctx context.Context) error {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	if e := f.entry; e != nil && e.err != nil {
		return fmt.Errorf("%w, waiting for the store: %w", ctx.Err(), e.err)
	}
	return ctx.Err()
}

// Wait returns when nothing is pending for ref, or with the error why that will not be. It
// has the change tried at once.
func (q *Queue) Wait(ctx context.Context, ref backend.Ref) error {
	return q.waitFor(ctx, func() []*entry {
		if e := q.entries[ref]; e != nil {
			return []*entry{e}
		}
		return nil
	})
}

// WaitBelow does what Wait does for all keys that begin with prefix.
func (q *Queue) WaitBelow(ctx context.Context, bucket, prefix string) error {
	return q.waitFor(ctx, func() []*entry { return q.belowLocked(bucket, prefix) })
}

func (q *Queue) belowLocked(bucket, prefix string) []*entry {
	keys := q.keys[bucket]
	if keys == nil {
		return nil
	}
	var es []*entry
	after := ""
	for {
		step := keys.next(prefix, after, listStep)
		for _, key := range step {
			es = append(es, q.entries[backend.Ref{Bucket: bucket, Key: key}])
		}
		if len(step) < listStep {
			return es
		}
		after = step[len(step)-1]
	}
}

// waitFor waits until none of the entries that find returns now has a change left. Changes
// that come later are not waited for, except to the same key.
func (q *Queue) waitFor(ctx context.Context, find func() []*entry) error {
	q.mu.Lock()
	left := map[*entry]uint64{}
	for _, e := range find() {
		if e.waits() {
			left[e] = e.tried
			q.nowLocked(e)
		}
	}
	for {
		var errs []error
		for e, tried := range left {
			switch {
			case e.fatal && e.tried > tried: // also of an entry that ended in a conflict
				errs = append(errs, e.err)
				delete(left, e)
			case q.entries[e.ref] != e || !e.waits():
				delete(left, e)
			}
		}
		if err := errors.Join(errs...); len(left) == 0 || err != nil {
			q.mu.Unlock()
			return err
		}
		if q.closed {
			q.mu.Unlock()
			return errClosed
		}
		settled := q.settled
		q.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
		q.mu.Lock()
	}
}

// Drain sends everything now. It returns when nothing is pending but changes that fail and
// will not succeed by themselves; the error names them. While the store is down it goes on
// trying: ctx bounds that.
func (q *Queue) Drain(ctx context.Context) error {
	q.mu.Lock()
	q.drains++
	tried := map[*entry]uint64{}
	for {
		errs, busy := q.drainLocked(tried)
		left, settled, closed, many := q.pendingCountLocked(), q.settled, q.closed, len(q.entries) > listStep
		if !busy || closed || ctx.Err() != nil {
			q.drains--
			q.mu.Unlock()
			switch {
			case !busy:
				return errors.Join(errs...)
			case closed:
				return errClosed
			}
			return fmt.Errorf("%d changes are left: %w", left, ctx.Err())
		}
		q.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
		}
		if many { // do not look at all of them each time one is done
			_ = sleep(ctx, drainPause)
		}
		q.mu.Lock()
	}
}

const drainPause = 20 * time.Millisecond

// drainLocked hurries what has not been tried in this Drain. tried remembers the failed
// attempts that each entry had when it was seen first.
func (q *Queue) drainLocked(tried map[*entry]uint64) (errs []error, busy bool) {
	for _, e := range q.entries {
		if !e.waits() && e.job == nil {
			continue
		}
		if _, seen := tried[e]; !seen {
			tried[e] = e.tried
			q.nowLocked(e)
		}
		if e.fatal && e.tried > tried[e] && e.job == nil {
			errs = append(errs, e.err)
			continue
		}
		busy = true
	}
	return errs, busy || len(q.moves) > 0 || q.uploadsBusyLocked()
}
