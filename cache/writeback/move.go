package writeback

import (
	"context"
	"strings"
	"sync"

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
	left   []backend.Object     // not copied, but deleted in the end (Options.Left)
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

// WaitMoves returns when the renames that were under way when the process before this one died
// have ended, and those begun since.
func (q *Queue) WaitMoves(ctx context.Context) error {
	for {
		q.mu.Lock()
		left, settled, closed := len(q.moves), q.settled, q.closed
		q.mu.Unlock()
		switch {
		case left == 0:
			return nil
		case closed:
			return errClosed
		}
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
		for _, e := range q.inMoveLocked(m) {
			if e.job != nil {
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

// inMoveLocked returns the entries in the areas of m.
func (q *Queue) inMoveLocked(m *move) (es []*entry) {
	if m.tree {
		return append(q.belowLocked(m.bucket, m.from), q.belowLocked(m.bucket, m.to)...)
	}
	for _, key := range []string{m.from, m.to} {
		if e := q.entries[backend.Ref{Bucket: m.bucket, Key: key}]; e != nil {
			es = append(es, e)
		}
	}
	return es
}

// dismissLocked ends m: its areas are open again.
func (q *Queue) dismissLocked(m *move) {
	delete(q.moves, m.id)
	for _, e := range q.inMoveLocked(m) {
		if e.want != clean || e.file != nil && e.file.refs == 0 {
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
