package writeback

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/thawfs/thawfs/backend"
)

// sendAttrs gives the object in the store new attributes, by a copy onto itself.
func (q *Queue) sendAttrs(j *job) outcome {
	store, err := q.store(j.ctx, j.e.ref.Bucket)
	if err != nil {
		return outcome{err: err}
	}
	if immutable(store.raw, j.base.obj) { // they stay here, as those of an archived object do
		return outcome{attrs: j.attrs, err: fmt.Errorf("%w: %w", backend.ErrArchived, backend.ErrImmutable)}
	}
	ctx, cancel := context.WithTimeout(j.ctx, requestTime(j.base.obj.Size))
	defer cancel()
	out := outcome{attrs: j.attrs}
	q.noteMeta(j)
	for range settleTries {
		out.obj, out.err = q.copySelf(ctx, j, store)
		if !errors.Is(out.err, backend.ErrChanged) && !errors.Is(out.err, backend.ErrNotExist) {
			break
		}
		if !q.judgeAttrs(ctx, j, store, &out) {
			break
		}
	}
	return out
}

// immutable reports whether a store never gives obj another name or other attributes, not even
// while it can be read.
func immutable(store backend.Store, obj backend.Object) bool {
	_, once := store.(backend.WriteOnce)
	return once && obj.State != backend.Online
}

// noteMeta remembers attributes, before they are sent, of whose arrival we may never hear.
func (q *Queue) noteMeta(j *job) {
	q.mu.Lock()
	var seq uint64
	if j.e.base.addMeta(j.attrs.Meta) {
		seq = q.j.append(j.e.setOrDrop())
	}
	j.base = j.e.base
	q.mu.Unlock()
	q.flushQuietly(seq)
}

func (q *Queue) copySelf(ctx context.Context, j *job, store *bucketStore) (backend.Object, error) {
	key := j.e.ref.Key
	if c, ok := store.raw.(backend.Copier); ok {
		return c.Copy(ctx, j.base.obj, key, backend.CopyOptions{Attrs: &j.attrs})
	}
	file, err := q.fetch(ctx, store.raw, j.base.obj)
	if err != nil {
		return backend.Object{}, err
	}
	defer file.Close() // read-only and nameless
	s := sendable{plain: &store.plainPut, send: func(cond backend.Cond) (backend.Object, error) {
		return store.raw.Put(ctx, key, section(file, j.base.obj.Size), backend.PutOptions{Attrs: j.attrs, Cond: cond})
	}}
	return sendCond(ctx, j, store, s)
}

// judgeAttrs finds out why the object is not the one that the attributes were for. It
// reports whether it is worth trying again.
func (q *Queue) judgeAttrs(ctx context.Context, j *job, store *bucketStore, out *outcome) (again bool) {
	head, err := store.raw.Head(ctx, j.e.ref.Key)
	switch {
	case errors.Is(err, backend.ErrNotExist):
		out.theirs = &backend.Object{Key: j.e.ref.Key}
	case err != nil:
		out.err = err
	case head.Size == j.base.obj.Size && maps.Equal(head.Meta, j.attrs.Meta):
		out.obj, out.err = head, nil // ours: the answer was lost
	case j.base.holds(head):
		b := j.base
		b.obj = head
		q.setBase(j, b)
		out.err = fmt.Errorf("%w: %w", backend.ErrUnavailable, out.err) // if it does not end
		return true
	default:
		out.theirs = &head
	}
	return false
}

// sendMissing deals with content whose staged file is not there. When power is lost just
// after an upload, the file can be gone while the journal does not say yet that the store
// has it: so the store is asked.
func (q *Queue) sendMissing(j *job, cause error) outcome {
	lost := fmt.Errorf("staged content of %s is gone: %w", j.e.ref, cause)
	store, err := q.store(j.ctx, j.e.ref.Bucket)
	if err != nil {
		return outcome{err: err}
	}
	head, err := store.raw.Head(j.ctx, j.e.ref.Key)
	switch {
	case errors.Is(err, backend.ErrNotExist):
		return outcome{err: lost}
	case err != nil:
		return outcome{err: err}
	}
	q.mu.Lock()
	t := try{Size: j.file.size}
	if j.file.crc != nil {
		t.CRC = *j.file.crc
	}
	q.mu.Unlock()
	ours, err := q.judge(j.ctx, j, store.raw, head, t, j.attrs)
	switch {
	case err != nil:
		return outcome{err: err}
	case ours != sent:
		return outcome{err: lost}
	}
	q.mu.Lock()
	j.file.missing = true
	q.mu.Unlock()
	return outcome{obj: head, attrs: j.attrs, stamp: j.file.mark}
}

// Outdated drops attributes that were put aside (Pending.Parked) for a version of ref that the
// store does not hold any more. obj is what it holds; ETag "" if that is nothing.
func (q *Queue) Outdated(ref backend.Ref, obj backend.Object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[ref]
	if e == nil || !e.parked() || e.file != nil || e.job != nil || e.base.holds(obj) || q.heldLocked(ref) {
		return
	}
	e.want = clean
	q.j.append(e.setOrDrop())
	q.forgetLocked(e)
	kick(q.dirty)
}
