package writeback

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	retryFirst  = time.Second
	retryMax    = time.Minute
	retryFatal  = 5 * time.Minute       // what does not go away by itself, but somebody may mend it
	batchWindow = 20 * time.Millisecond // behind the last delete of a bucket, in which the next is waited for
	batchHold   = 2 * time.Second       // behind the first one, at most
	batchMax    = 1000                  // keys; what S3 takes in one request
	downAfter   = 3                     // failures in a row, of whatever keys, that count as the store being down
)

// dueHeap orders entries by the time to send them. Times carry the monotonic clock: a wall
// clock that jumps changes nothing.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}

func (h *dueHeap) drop(e *entry) {
	if e.index >= 0 {
		heap.Remove(h, e.index)
	}
}

// scheduleLocked lets e be sent at due. An entry with a job is scheduled when that ends.
func (q *Queue) scheduleLocked(e *entry, due time.Time) {
	if q.entries[e.ref] != e || e.parked() {
		return
	}
	if e.fails == 0 && (q.drains > 0 || q.pressedLocked()) {
		due = time.Time{}
	}
	e.due = due
	if e.job != nil || q.heldLocked(e.ref) {
		return
	}
	if e.index >= 0 {
		heap.Fix(&q.due, e.index)
	} else {
		heap.Push(&q.due, e)
	}
	kick(q.wake)
}

// nowLocked has e tried at once, whatever it waits for.
func (q *Queue) nowLocked(e *entry) {
	e.asked = true
	q.scheduleLocked(e, time.Time{})
}

// hurryPause bounds how often all entries are looked at.
const hurryPause = 100 * time.Millisecond

// hurryLocked has everything tried that only waits for its delay.
func (q *Queue) hurryLocked() {
	now := time.Now()
	if now.Sub(q.hurried) < hurryPause { // what came since is not delayed anyhow
		return
	}
	q.hurried = now
	for _, e := range q.entries {
		if e.waits() && e.fails == 0 && !e.due.IsZero() {
			q.scheduleLocked(e, time.Time{})
		}
	}
}

// dispatch starts jobs as they become due.
func (q *Queue) dispatch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		q.mu.Lock()
		wait := q.startDueLocked(time.Now())
		q.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		case <-q.ctx.Done():
			return
		}
	}
}

// idle is how long the dispatcher sleeps when it waits for nothing but a kick.
const idle = time.Hour

// startDueLocked starts what is due and returns how long to wait for the next.
func (q *Queue) startDueLocked(now time.Time) time.Duration {
	if q.closed {
		return idle
	}
	wait := q.flushBatchesLocked(now)
	wait = min(wait, q.startEntriesLocked(now))
	return min(wait, q.flushBatchesLocked(now)) // with what was gathered now
}

// startEntriesLocked is startDueLocked but for the deletes, which it gathers.
func (q *Queue) startEntriesLocked(now time.Time) time.Duration {
	wait := idle
	for len(q.due) > 0 && q.running < q.o.Workers {
		e := q.due[0]
		if d := e.due.Sub(now); d > 0 {
			return min(wait, d)
		}
		if d := q.health.hold(now); d > 0 && e.want != clean {
			return min(wait, d)
		}
		heap.Pop(&q.due)
		switch {
		case e.job != nil || q.heldLocked(e.ref):
			// scheduled when it is let go
		case e.want == gone:
			wait = min(wait, q.batchLocked(e, now))
		default:
			q.startLocked(e)
		}
	}
	return wait
}

// A job is one attempt to bring an entry to the store.
type job struct {
	e       *entry
	ctx     context.Context
	cancel  context.CancelFunc
	want    want
	gen     uint64
	file    *File
	fileGen uint64
	attrs   backend.Attrs
	base    base
	writers bool // somebody has the file open
	opened  int
	final   bool // the request that changes the object is under way; guarded by Queue.mu
}

func (q *Queue) newJobLocked(e *entry) *job {
	ctx, cancel := context.WithCancel(q.ctx)
	j := &job{e: e, ctx: ctx, cancel: cancel, want: e.want, gen: e.gen, attrs: e.attrs, base: e.base}
	if f := e.file; f != nil {
		j.file, j.fileGen, j.writers, j.opened = f, f.gen, f.refs > 0, f.opened
	}
	e.job = j
	return j
}

func (q *Queue) startLocked(e *entry) {
	j := q.newJobLocked(e)
	q.running++
	if e.want != clean {
		q.health.begin()
	}
	q.wg.Go(func() { q.run(j) })
}

// health is what all keys know of the store together: while it does not answer, one of them
// at a time tries, and not too often.
type health struct {
	fails   int
	until   time.Time
	probing bool
}

func (h *health) down() bool { return h.fails >= downAfter }

// hold returns how long nothing may be sent.
func (h *health) hold(now time.Time) time.Duration {
	if !h.down() {
		return 0
	}
	if h.probing {
		return idle
	}
	return h.until.Sub(now)
}

func (h *health) begin() { h.probing = h.down() }

// failed notes that the store did not answer.
func (h *health) failed(now time.Time) {
	h.fails++
	h.probing = false
	if h.down() {
		h.until = now.Add(backoff(h.fails - downAfter))
	}
}

// answered notes that it did. It reports whether it was down.
func (h *health) answered() bool {
	news := h.down()
	h.fails, h.probing = 0, false
	return news
}

// backoff is a second, doubled n times, up to a minute, give or take a quarter.
func backoff(n int) time.Duration {
	d := min(retryFirst<<min(n, 10), retryMax)
	return d*3/4 + rand.N(d/2)
}

// transient reports whether err may go away by itself.
func transient(err error) bool {
	return errors.Is(err, backend.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, errUnsteady) || errors.Is(err, errSupersede)
}

// failedLocked notes that an attempt of e failed and plans the next.
func (q *Queue) failedLocked(e *entry, err error) {
	now := time.Now()
	e.err, e.fatal = err, !transient(err)
	e.fails++
	e.tried++
	switch {
	case e.fatal:
		q.answeredLocked()
		e.due = now.Add(retryFatal)
	case errors.Is(err, errUnsteady):
		e.due = now.Add(retryFirst)
	default:
		q.health.failed(now)
		e.due = now.Add(backoff(e.fails - 1))
	}
	if e.file != nil {
		e.file.notifyLocked()
	}
	q.settleLocked()
}

// answeredLocked lets everything go on that waited for the store to come back.
func (q *Queue) answeredLocked() {
	if !q.health.answered() {
		return
	}
	for _, e := range q.entries {
		if e.err != nil && !e.fatal {
			q.scheduleLocked(e, time.Time{})
		}
	}
	kick(q.wake)
}
