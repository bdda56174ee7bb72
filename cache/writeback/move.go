package writeback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A move is a rename of objects that are in the store: of one, or of all below a prefix.
//
// It copies all of them first. While it does, nothing is sent for keys in its areas, and
// everybody sees the old names. Then one transaction of the journal renames: pending changes
// get their new keys, the copies become visible, and the sources become deletes. A crash
// before that transaction has the next process begin the copies again.
type move struct {
	id       uint64
	bucket   string
	from, to string // keys, or prefixes of a tree
	tree     bool
	single   source        // of a move that is no tree
	until    uint64        // generation of the newest change that it takes along; later ones keep their name
	done     chan struct{} // closed when err is set
	err      error

	// Guarded by Queue.mu:
	undo   bool            // it failed: its copies are removed
	copied map[string]bool // destinations made, as journalled

	// Owned by the goroutine that runs the move, results guarded by mu:
	mu     sync.Mutex
	copies map[string]movedCopy // by source key
	unsure map[string]source    // destinations that may have been made, and from what
	fresh  []string             // destinations not yet journalled
}

// A source is an object to be copied.
type source struct {
	obj   backend.Object
	attrs *backend.Attrs // that the copy gets; nil: its own
	// strict makes another version of obj an error. Else a name is renamed with what it
	// has by then.
	strict bool
}

type movedCopy struct {
	source
	obj backend.Object // the copy
}

func (q *Queue) newMove(bucket, from, to string, tree bool) *move {
	return &move{
		bucket: bucket, from: from, to: to, tree: tree, until: ^uint64(0), done: make(chan struct{}),
		copied: map[string]bool{}, copies: map[string]movedCopy{}, unsure: map[string]source{},
	}
}

func (m *move) record() record {
	r := &moveRec{ID: m.id, Bucket: m.bucket, From: m.from, To: m.to, Tree: m.tree, Undo: m.undo}
	if !m.tree {
		r.Obj = newObjRec(m.single.obj)
		if m.single.attrs != nil {
			r.Attrs = newAttrsRec(*m.single.attrs)
		}
	}
	return record{Move: r}
}

// target is the new name of a key in the source area.
func (m *move) target(key string) string { return m.to + strings.TrimPrefix(key, m.from) }

// covers reports whether ref belongs to an area of m.
func (m *move) covers(ref backend.Ref) bool {
	if ref.Bucket != m.bucket {
		return false
	}
	if !m.tree {
		return ref.Key == m.from || ref.Key == m.to
	}
	return strings.HasPrefix(ref.Key, m.to) || !m.undo && strings.HasPrefix(ref.Key, m.from)
}

// overlaps reports whether two moves must not run together.
func (m *move) overlaps(o *move) bool {
	if m.bucket != o.bucket {
		return false
	}
	for _, a := range []string{m.from, m.to} {
		for _, b := range []string{o.from, o.to} {
			if a == b || m.tree && strings.HasPrefix(b, a) || o.tree && strings.HasPrefix(a, b) {
				return true
			}
		}
	}
	return false
}

// heldLocked reports whether nothing may be sent for ref now.
func (q *Queue) heldLocked(ref backend.Ref) bool {
	if q.held[ref] > 0 {
		return true
	}
	for _, m := range q.moves {
		if m.covers(ref) {
			return true
		}
	}
	return false
}

// apart waits until no move overlaps with m. It returns with the lock held, unless it fails.
func (q *Queue) apart(ctx context.Context, m *move) error {
	for {
		q.mu.Lock()
		busy := false
		for _, o := range q.moves {
			busy = busy || m.overlaps(o)
		}
		if q.closed {
			q.mu.Unlock()
			return errClosed
		}
		if !busy {
			return nil
		}
		settled := q.settled
		q.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// admit takes m among the moves when none overlaps with it, so that nothing new is sent in
// its areas, and waits for what is being sent there.
func (q *Queue) admit(ctx context.Context, m *move) error {
	if err := q.apart(ctx, m); err != nil {
		return err
	}
	q.lastID++
	m.id = q.lastID
	q.moves[m.id] = m
	q.mu.Unlock()
	err := q.quiesce(ctx, m)
	if err != nil {
		q.mu.Lock()
		q.dismissLocked(m)
		q.mu.Unlock()
	}
	return err
}

// quiesce stops uploads in the areas of m and waits for whatever else is under way there.
func (q *Queue) quiesce(ctx context.Context, m *move) error {
	for {
		q.mu.Lock()
		busy := false
		for ref, e := range q.entries {
			if e.job != nil && m.covers(ref) {
				busy = true
				e.job.stop()
			}
		}
		settled, closed := q.settled, q.closed
		q.mu.Unlock()
		switch {
		case closed:
			return errClosed
		case !busy:
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dismissLocked ends m: its areas are open again.
func (q *Queue) dismissLocked(m *move) {
	delete(q.moves, m.id)
	for ref, e := range q.entries {
		if m.covers(ref) && (e.want != clean || e.file != nil && e.file.refs == 0) {
			q.scheduleLocked(e, e.due)
		}
	}
	q.settleLocked()
}

// await runs m, already admitted, and returns its result. When ctx ends earlier, m goes on.
func (q *Queue) await(ctx context.Context, m *move) error {
	q.wg.Go(func() { q.runMove(m) })
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runMove takes an admitted and journalled move to its end.
func (q *Queue) runMove(m *move) {
	err := q.copyAll(m)
	failed := err != nil && q.ctx.Err() == nil
	if failed {
		q.o.Log.Warn("rename failed", "key", m.from, "to", m.to, "err", err)
		q.abandonMove(m)
	} else if err == nil {
		err = q.commitMove(m)
	}
	m.err = err
	close(m.done)
	if failed {
		q.undoMove(m)
	}
	q.compactIfWorth(false)
}

// resumeMove goes on with a move of an earlier process.
func (q *Queue) resumeMove(m *move) {
	if m.undo {
		q.undoMove(m)
		return
	}
	q.o.Log.Info("rename is taken up again", "key", m.from, "to", m.to)
	q.runMove(m)
}

func (q *Queue) restoreMoves(m *image) {
	for id, r := range m.moves {
		mv := q.newMove(r.Bucket, r.From, r.To, r.Tree)
		mv.id, mv.undo, mv.until = id, r.Undo, q.lastGen
		mv.copied = r.copied
		if r.Obj != nil {
			mv.single.obj = r.Obj.object()
		}
		if r.Attrs != nil {
			a := r.Attrs.attrs()
			mv.single.attrs = &a
		}
		q.moves[id] = mv
	}
}

func (q *Queue) moveLinesLocked() (lines [][]record) {
	for _, m := range q.moves {
		recs := []record{m.record()}
		if len(m.copied) > 0 {
			c := &copiedRec{ID: m.id}
			for key := range m.copied {
				c.Keys = append(c.Keys, key)
			}
			recs = append(recs, record{Copied: c})
		}
		lines = append(lines, recs)
	}
	return lines
}

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
		for n := 0; errors.Is(err, backend.ErrChanged) && !src.strict && n < settleTries; n++ {
			head, headErr := store.raw.Head(ctx, src.obj.Key)
			switch {
			case headErr != nil:
				return headErr
			case head.ETag == src.obj.ETag:
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
