package writeback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Rename gives from the name to, in the same bucket, replacing what is there. What is
// pending or open is renamed in the journal, without a request. obj, the version in the store
// when nothing is pending, is copied and deleted there; when ctx ends before that is done,
// Rename returns its error and the rename goes on.
func (q *Queue) Rename(ctx context.Context, from, to backend.Ref, obj backend.Object) error {
	switch {
	case !backend.ValidKey(from.Key) || !backend.ValidKey(to.Key):
		return fmt.Errorf("rename %q: %w", from.Key, backend.ErrInvalid)
	case from.Bucket != to.Bucket:
		return fmt.Errorf("rename %s to another bucket: %w", from, backend.ErrUnsupported)
	case from == to:
		return nil
	}
	if err := q.apart(ctx, q.newMove(from.Bucket, from.Key, to.Key, false)); err != nil {
		return err
	}
	q.mu.Unlock()
	if err := q.commitOpen(from); err != nil {
		return err
	}
	release, err := q.hold(ctx, from, to)
	if err != nil {
		return err
	}
	seq, done, err := q.renamePending(from, to)
	release()
	switch {
	case err != nil:
		return err
	case done:
		return q.commitLog(seq)
	}
	return q.renameStored(ctx, from, to, obj)
}

// commitOpen commits a new file that is open and was never committed: it replaces one that
// may have been.
func (q *Queue) commitOpen(ref backend.Ref) error {
	q.mu.Lock()
	e := q.entries[ref]
	if e == nil || e.file == nil || e.want == content || !e.file.begin {
		q.mu.Unlock()
		return nil
	}
	f := e.file
	f.refs++ // it is open: so is its descriptor
	q.mu.Unlock()
	return errors.Join(f.Commit(f.Attrs()), f.Close())
}

// hold stops what is being sent for refs and lets nothing new begin until release.
func (q *Queue) hold(ctx context.Context, refs ...backend.Ref) (release func(), err error) {
	q.mu.Lock()
	for _, ref := range refs {
		q.holdLocked(ref)
	}
	release = func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, ref := range refs {
			q.letGoLocked(ref)
		}
	}
	for {
		busy := false
		for _, ref := range refs {
			if e := q.entries[ref]; e != nil && e.job != nil {
				busy = true
				e.job.stop()
			}
		}
		settled, closed := q.settled, q.closed
		q.mu.Unlock()
		switch {
		case closed:
			release()
			return nil, errClosed
		case !busy:
			return release, nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		}
		q.mu.Lock()
	}
}

func (q *Queue) holdLocked(ref backend.Ref) {
	q.held[ref]++
	if e := q.entries[ref]; e != nil {
		q.due.drop(e)
	}
}

func (q *Queue) letGoLocked(ref backend.Ref) {
	if q.held[ref]--; q.held[ref] > 0 {
		return
	}
	delete(q.held, ref)
	if e := q.entries[ref]; e != nil && (e.want != clean || e.file != nil && e.file.refs == 0) {
		q.scheduleLocked(e, e.due)
	}
}

// stop ends an upload; a copy or delete, which are short, may finish. So must the request that
// puts an object in its place, once it is under way: a store may carry out what its client has
// given up, and bring the object back after it was deleted or renamed. Queue.mu is held.
func (j *job) stop() {
	if j.want == content && !j.final {
		j.cancel()
	}
}

// finalize says that the request that changes the object is under way. It is false if j has
// been stopped.
func (q *Queue) finalize(j *job, under bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	j.final = under
	return j.ctx.Err() == nil
}

// renamePending renames what the queue has of from. done is false if it has nothing that
// suffices.
func (q *Queue) renamePending(from, to backend.Ref) (seq uint64, done bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[from]
	switch {
	case q.closed:
		return 0, true, errClosed
	case e != nil && e.want == gone:
		return 0, true, fmt.Errorf("rename %s: %w", from, backend.ErrNotExist)
	case e == nil || e.want != content || e.file.sparse != nil:
		return 0, false, nil
	}
	seq = q.j.append(q.rekeyLocked(e, to)...)
	q.movedLocked(from, to)
	return seq, true, nil
}

func (q *Queue) movedLocked(from, to backend.Ref) {
	if q.o.Moved != nil {
		q.o.Moved(from, to)
	}
}

// rekeyLocked moves the content that e wants sent to the name to. It returns
// the records of both names.
func (q *Queue) rekeyLocked(e *entry, to backend.Ref) []record {
	f := e.file
	recs := q.cancelUploadLocked(f)
	e.file, f.entry = nil, nil
	n := q.entryLocked(to, base{})
	recs = append(recs, q.unlinkLocked(n)...)
	n.file, f.entry, f.ref = f, n, to
	n.attrs, n.mod, n.conflict = e.attrs, e.mod, false
	n.err, n.fatal, n.fails = nil, false, 0
	n.want, n.since = content, e.since
	q.lastGen++
	n.gen = q.lastGen
	q.scheduleLocked(n, time.Now().Add(q.o.Delay))
	recs = append(recs, n.setOrDrop())
	e.want = clean // until it is a delete
	kick(q.dirty)
	return append(recs, q.emptyLocked(e))
}

// renameStored renames an object of the store, with what is pending of it.
func (q *Queue) renameStored(ctx context.Context, from, to backend.Ref, obj backend.Object) error {
	store, err := q.store(ctx, from.Bucket)
	if err != nil {
		return err
	}
	m := q.newMove(from.Bucket, from.Key, to.Key, false)
	if err := q.admit(ctx, m); err != nil {
		return err
	}
	q.mu.Lock()
	m.single.obj, _ = q.newestLocked(from, obj)
	if e := q.entries[from]; e != nil {
		if e.want == gone || e.want == content && e.file.sparse == nil { // it was clean a moment ago
			q.dismissLocked(m)
			q.mu.Unlock()
			return q.Rename(ctx, from, to, obj)
		}
		if e.base.obj.ETag != "" {
			m.single.obj = e.base.obj
		}
		if e.want == attrs {
			a := cloneAttrs(e.attrs)
			m.single.attrs = &a
		}
		m.single.strict = e.file != nil && e.file.sparse != nil
	}
	m.single.obj.Key = from.Key
	err = checkMovable(store.raw, m.single.obj)
	var seq uint64
	if err == nil {
		seq = q.j.append(m.record())
	} else {
		q.dismissLocked(m)
	}
	q.mu.Unlock()
	if err != nil {
		return err
	}
	q.flushQuietly(seq)
	return q.await(ctx, m)
}

// checkMovable reports why obj cannot get another name.
func checkMovable(store backend.Store, obj backend.Object) error {
	switch {
	case obj.ETag == "":
		return &backend.Error{Op: "rename", Key: obj.Key, Err: backend.ErrNotExist}
	case immutable(store, obj):
		return &backend.Error{Op: "rename", Key: obj.Key, Err: backend.ErrImmutable}
	case !obj.State.Readable():
		return &backend.Error{Op: "rename", Key: obj.Key, Err: backend.ErrArchived}
	}
	return nil
}

// RenameTree renames everything below from so that it is below to. Both are prefixes that
// end in "/"; nothing is below to. It fails with ErrArchived before anything is changed
// if some object cannot be copied; on any other error what was copied is removed and
// from is whole. When ctx ends, RenameTree returns its error and the rename goes on.
func (q *Queue) RenameTree(ctx context.Context, bucket, from, to string) error {
	if !strings.HasSuffix(from, "/") || !strings.HasSuffix(to, "/") || strings.HasPrefix(to, from) || strings.HasPrefix(from, to) {
		return fmt.Errorf("rename tree %q to %q: %w", from, to, backend.ErrInvalid)
	}
	m := q.newMove(bucket, from, to, true)
	if err := q.admit(ctx, m); err != nil {
		return err
	}
	q.mu.Lock()
	seq := q.j.append(m.record())
	q.mu.Unlock()
	q.flushQuietly(seq)
	return q.await(ctx, m)
}
