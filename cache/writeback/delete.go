package writeback

import (
	"context"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A batch gathers deletes of one bucket.
type batch struct {
	begun   time.Time
	due     time.Time // when no more are waited for
	entries []*entry
}

// batchLocked puts a delete that is due into the batch of its bucket and returns how long
// that gathers.
func (q *Queue) batchLocked(e *entry, now time.Time) time.Duration {
	b := q.batches[e.ref.Bucket]
	if b == nil {
		b = &batch{begun: now}
		q.batches[e.ref.Bucket] = b
	}
	if !e.batched {
		e.batched = true
		b.entries = append(b.entries, e)
		b.due = now.Add(min(batchWindow, batchHold-now.Sub(b.begun)))
	}
	if q.drains > 0 {
		b.due = now // sent as soon as all that are due are gathered
	}
	if len(b.entries) >= batchMax {
		b.due = now
		return q.flushBatchesLocked(now)
	}
	return max(0, b.due.Sub(now))
}

// flushBatchesLocked starts the batches that have gathered long enough, as far as there are
// workers, and returns how long the next one gathers.
func (q *Queue) flushBatchesLocked(now time.Time) time.Duration {
	wait := idle
	for bucket, b := range q.batches {
		if d := b.due.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if q.running >= q.o.Workers {
			continue // the end of a job looks again
		}
		delete(q.batches, bucket)
		q.startBatchLocked(bucket, b)
	}
	return wait
}

func (q *Queue) startBatchLocked(bucket string, b *batch) {
	var jobs []*job
	for _, e := range b.entries {
		e.batched = false
		switch {
		case q.entries[e.ref] != e || e.want == clean:
		case e.want != gone || e.job != nil || q.heldLocked(e.ref):
			q.scheduleLocked(e, e.due) // something else came to pass
		default:
			q.due.drop(e)
			jobs = append(jobs, q.newJobLocked(e))
		}
	}
	if len(jobs) == 0 {
		return
	}
	q.running++
	q.health.begin()
	q.wg.Go(func() { q.runDeletes(bucket, jobs) })
}

// deleteTime bounds one batch at the store.
const deleteTime = 5 * time.Minute

func (q *Queue) runDeletes(bucket string, jobs []*job) {
	ctx, cancel := context.WithTimeout(q.ctx, deleteTime)
	defer cancel()
	keys := make([]string, len(jobs))
	for i, j := range jobs {
		keys[i] = j.e.ref.Key
	}
	errs := q.deleteKeys(ctx, bucket, keys)
	for _, j := range jobs {
		if errs[j.e.ref.Key] == nil {
			q.o.Removed(j.e.ref)
		}
	}
	q.mu.Lock()
	var recs []record
	for _, j := range jobs {
		recs = append(recs, q.deletedLocked(j, errs[j.e.ref.Key])...)
	}
	q.running--
	q.health.probing = false
	var seq uint64
	if len(recs) > 0 {
		seq = q.j.append(recs...)
	}
	kick(q.dirty)
	kick(q.wake)
	q.mu.Unlock()
	q.flushQuietly(seq)
	q.compactIfWorth(false)
}

// deleteKeys deletes keys and returns an error for each that may still be there.
func (q *Queue) deleteKeys(ctx context.Context, bucket string, keys []string) map[string]error {
	store, err := q.store(ctx, bucket)
	errs := map[string]error{}
	if err != nil {
		for _, key := range keys {
			errs[key] = err
		}
		return errs
	}
	if b, ok := store.raw.(backend.BatchDeleter); ok && len(keys) > 1 {
		return b.DeleteBatch(ctx, keys)
	}
	var mu sync.Mutex
	each(keys, 16, func(key string) {
		if err := store.raw.Delete(ctx, key); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs[key] = err
		}
	})
	return errs
}

// each calls do for all of list, n at a time.
func each[T any](list []T, n int, do func(T)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, n)
	for _, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(x)
		})
	}
	wg.Wait()
}

// deletedLocked takes note of the answer to a delete.
func (q *Queue) deletedLocked(j *job, err error) []record {
	e := j.e
	e.job = nil
	j.cancel()
	defer q.settleLocked()
	switch {
	case q.ctx.Err() != nil && err != nil:
		return nil // interrupted: the journal has it
	case err != nil:
		q.failedLocked(e, err)
		q.o.Log.Warn("delete failed", "key", e.ref.String(), "err", err)
		q.scheduleLocked(e, e.due)
		return nil
	}
	q.answeredLocked()
	q.sent.Deletes++
	q.rememberLocked(e.ref, e.base.obj, backend.Object{Key: e.ref.Key})
	e.base = base{known: true}
	e.err, e.fatal, e.fails = nil, false, 0
	if e.want == gone {
		e.want = clean
	}
	rec := e.setOrDrop()
	switch {
	case e.want != clean:
		q.scheduleLocked(e, e.due)
	case e.file == nil:
		q.forgetLocked(e)
	}
	return []record{rec}
}
