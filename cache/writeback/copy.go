package writeback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// retryMove repeats do while the store is unavailable, for as long as somebody may wait.
func (q *Queue) retryMove(m *move, n int64, do func(ctx context.Context) error) error {
	begin := time.Now()
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(q.ctx, requestTime(n))
		err := do(ctx)
		cancel()
		if err == nil || !transient(err) || q.ctx.Err() != nil {
			return err
		}
		wait := backoff(try)
		if time.Since(begin)+wait > q.tune.moveFor {
			return fmt.Errorf("rename %q: %w", m.from, err)
		}
		if err := sleep(q.ctx, wait); err != nil {
			return err
		}
	}
}

// copyOne copies one object of a move to its new name.
func (q *Queue) copyOne(m *move, store *bucketStore, src source) error {
	to := m.target(src.obj.Key)
	var made backend.Object
	err := q.retryMove(m, src.obj.Size, func(ctx context.Context) error {
		m.mu.Lock()
		m.unsure[to] = src
		m.mu.Unlock()
		var err error
		made, err = q.copyTo(ctx, m, store, src, to)
		for n := 0; errors.Is(err, backend.ErrChanged) && n < settleTries; n++ {
			head, headErr := store.raw.Head(ctx, src.obj.Key)
			switch {
			case headErr != nil:
				return headErr
			case head.ETag == src.obj.ETag, src.strict && !q.sentAs(m, head):
				return err
			}
			src.obj = head
			made, err = q.copyTo(ctx, m, store, src, to)
		}
		return err
	})
	if err == nil {
		m.mu.Lock()
		delete(m.unsure, to)
		m.copies[src.obj.Key] = movedCopy{src, made}
		m.fresh = append(m.fresh, to)
		m.mu.Unlock()
	} else if refused(err) {
		m.mu.Lock()
		delete(m.unsure, to)
		m.mu.Unlock()
	}
	return err
}

// sentAs reports whether head is the base of pending content with something that we sent for
// it: the bytes that the content needs of its base are the same.
func (q *Queue) sentAs(m *move, head backend.Object) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[backend.Ref{Bucket: m.bucket, Key: head.Key}]
	return e != nil && e.base.ours(head)
}

// refused reports whether err says that a request had no effect.
func refused(err error) bool {
	return slices.ContainsFunc([]error{
		backend.ErrNotExist, backend.ErrPermission, backend.ErrInvalid, backend.ErrTooLarge,
		backend.ErrUnsupported, backend.ErrArchived, backend.ErrChanged,
	}, func(s error) bool { return errors.Is(err, s) })
}

// copyTo makes one copy. The destination of a tree is new: whatever is found there must be
// ours, from an attempt without an answer.
func (q *Queue) copyTo(ctx context.Context, m *move, store *bucketStore, src source, to string) (backend.Object, error) {
	var cond backend.Cond
	if m.tree && !store.plainCopy.Load() && !q.deleting(backend.Ref{Bucket: m.bucket, Key: to}) {
		cond.IfAbsent = true
	}
	made, err := q.copyBytes(ctx, store, src, to, cond)
	if cond.IfAbsent && errors.Is(err, backend.ErrUnsupported) {
		store.plainCopy.Store(true)
		made, err = q.copyBytes(ctx, store, src, to, backend.Cond{})
	}
	if !errors.Is(err, backend.ErrChanged) {
		return made, err
	}
	found, ours, headErr := q.isCopy(ctx, store.raw, src, to)
	switch {
	case headErr != nil && !errors.Is(headErr, backend.ErrNotExist):
		return made, headErr
	case ours && m.tree:
		return found, nil
	}
	return made, err
}

// deleting reports whether what the store holds for ref is deleted here, but not yet there.
func (q *Queue) deleting(ref backend.Ref) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.entries[ref] != nil
}

// isCopy reports whether the object to is a copy of src.
func (q *Queue) isCopy(ctx context.Context, store backend.Store, src source, to string) (backend.Object, bool, error) {
	found, err := store.Head(ctx, to)
	if err != nil || found.Size != src.obj.Size {
		return found, false, err
	}
	want := src.attrs
	if want == nil {
		head, err := store.Head(ctx, src.obj.Key)
		if err != nil || head.ETag != src.obj.ETag {
			return found, false, err
		}
		want = &head.Attrs
	}
	return found, sameAttrs(found.Attrs, *want), nil
}

// copyBytes copies in the store, or through a local file if the store cannot.
func (q *Queue) copyBytes(ctx context.Context, store *bucketStore, src source, to string, cond backend.Cond) (backend.Object, error) {
	if c, ok := store.raw.(backend.Copier); ok {
		return c.Copy(ctx, src.obj, to, backend.CopyOptions{Attrs: src.attrs, Cond: cond})
	}
	a := src.attrs
	if a == nil {
		head, err := store.raw.Head(ctx, src.obj.Key)
		if err != nil {
			return head, err
		}
		a = &head.Attrs
	}
	file, err := q.fetch(ctx, store.raw, src.obj)
	if err != nil {
		return backend.Object{}, err
	}
	defer file.Close() // read-only and nameless
	return store.raw.Put(ctx, to, section(file, src.obj.Size), backend.PutOptions{Attrs: *a, Cond: cond})
}
