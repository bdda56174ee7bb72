package writeback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// copiedStep is the number of copies noted in one line of the journal.
const copiedStep = 64

// copyAll makes all copies of a move.
func (q *Queue) copyAll(m *move) error {
	store, err := q.storeFor(m)
	if err != nil {
		return err
	}
	sources := []source{m.single}
	if m.tree {
		if sources, err = q.sources(m, store.raw); err != nil {
			return err
		}
	} else if m.single.obj.ETag == "" {
		return nil
	}
	var once sync.Once
	var failed error
	stop := make(chan struct{})
	each(sources, q.tune.fanout, func(src source) {
		select {
		case <-stop:
			return
		default:
		}
		err := q.known(m, store.raw, src)
		if err != nil {
			err = q.copyOne(m, store, src)
		}
		if err != nil {
			once.Do(func() { failed = err; close(stop) })
			return
		}
		q.noteCopies(m, copiedStep)
	})
	q.noteCopies(m, 1)
	return failed
}

func (q *Queue) storeFor(m *move) (store *bucketStore, err error) {
	err = q.retryMove(m, 0, func(ctx context.Context) (err error) {
		store, err = q.store(ctx, m.bucket)
		return err
	})
	return store, err
}

// known looks whether an earlier process has made a copy already.
func (q *Queue) known(m *move, store backend.Store, src source) error {
	to := m.target(src.obj.Key)
	q.mu.Lock()
	copied := m.copied[to]
	q.mu.Unlock()
	if !copied {
		return backend.ErrNotExist
	}
	return q.retryMove(m, 0, func(ctx context.Context) error {
		found, ours, err := q.isCopy(ctx, store, src, to)
		if err == nil && !ours {
			err = backend.ErrNotExist
		}
		if err == nil {
			m.mu.Lock()
			m.copies[src.obj.Key] = movedCopy{src, found}
			m.mu.Unlock()
		}
		return err
	})
}

// noteCopies journals the copies made, when there are at least n.
func (q *Queue) noteCopies(m *move, n int) {
	m.mu.Lock()
	keys := m.fresh
	if len(keys) < n || !m.tree {
		m.mu.Unlock()
		return
	}
	m.fresh = nil
	m.mu.Unlock()
	q.mu.Lock()
	for _, key := range keys {
		m.copied[key] = true
	}
	q.sent.Copies += int64(len(keys))
	seq := q.j.append(record{Copied: &copiedRec{ID: m.id, Keys: keys}})
	q.mu.Unlock()
	q.flushQuietly(seq)
}

// sources lists what a tree has in the store that its new name will need. It fails with
// ErrArchived if some of that cannot be read.
func (q *Queue) sources(m *move, store backend.Store) (list []source, err error) {
	err = q.retryMove(m, 1<<30, func(ctx context.Context) error {
		list = nil
		for entry, err := range store.List(ctx, m.from, "", backend.ListOptions{}) {
			if err != nil {
				return err
			}
			a, needed := q.movedAttrs(m, entry.Object)
			if !needed {
				continue
			}
			if !entry.State.Readable() {
				return &backend.Error{Op: "rename", Key: entry.Key, Err: backend.ErrArchived}
			}
			list = append(list, source{obj: entry.Object, attrs: a, strict: q.isBase(m, entry.Key)})
		}
		return nil
	})
	return list, err
}

// isBase reports whether pending content is made of parts of an object: no other version of
// it will do.
func (q *Queue) isBase(m *move, key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[backend.Ref{Bucket: m.bucket, Key: key}]
	return e != nil && e.file != nil && e.file.sparse != nil
}

// movedAttrs says whether an object of a tree must be copied, and with what attributes. One
// that is deleted here, or of which all is to be replaced, need not.
func (q *Queue) movedAttrs(m *move, obj backend.Object) (*backend.Attrs, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[backend.Ref{Bucket: m.bucket, Key: obj.Key}]
	if e == nil || e.gen > m.until {
		return nil, true
	}
	switch {
	case e.want == gone, e.want == content && e.file.sparse == nil:
		return nil, false
	case e.want == attrs && e.base.obj.ETag == obj.ETag:
		a := cloneAttrs(e.attrs)
		return &a, true
	}
	return nil, true
}

// commitMove renames, everything having been copied.
func (q *Queue) commitMove(m *move) error {
	for _, c := range m.copies {
		q.o.Stored(backend.Ref{Bucket: m.bucket, Key: c.obj.Key}, c.obj, "")
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosed // the next process copies again
	}
	var recs []record
	for _, key := range m.keysLocked(q) {
		recs = append(recs, q.moveKeyLocked(m, key)...)
	}
	if !m.tree {
		q.sent.Copies++
	}
	q.j.append(append(recs, record{MoveEnd: m.id})...)
	q.mu.Unlock()
	err := q.syncSurely()
	if err == nil {
		q.mu.Lock()
		q.dismissLocked(m)
		q.mu.Unlock()
	}
	return err
}

// syncSurely returns when the journal is on the disk: no source may be deleted before the
// rename is certain, for until then a failure would have the copies removed.
func (q *Queue) syncSurely() error {
	for try := 0; ; try++ {
		_, err := q.j.sync()
		if err == nil {
			return nil
		}
		q.o.Log.Error("a rename waits for the journal", "err", err)
		if err := sleep(q.ctx, backoff(try)); err != nil {
			return errClosed
		}
	}
}

// keysLocked lists the keys to be renamed: those copied and those with changes of their own.
func (m *move) keysLocked(q *Queue) []string {
	keys := map[string]bool{}
	for key := range m.copies {
		keys[key] = true
	}
	if m.tree {
		for _, e := range q.belowLocked(m.bucket, m.from) {
			keys[e.ref.Key] = true
		}
	} else {
		keys[m.from] = true
	}
	var list []string
	for key := range keys {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

// moveKeyLocked renames one key.
func (q *Queue) moveKeyLocked(m *move, key string) []record {
	c, copied := m.copies[key]
	e := q.entries[backend.Ref{Bucket: m.bucket, Key: key}]
	switch {
	case e != nil && e.gen > m.until: // made after the crash that interrupted the move
		return nil
	case e == nil && !copied:
		return nil
	case e == nil:
		e = q.entryLocked(backend.Ref{Bucket: m.bucket, Key: key}, knownBase(c.source.obj))
	case e.want == gone && e.file == nil && !copied:
		return nil // it has nothing to rename
	}
	n, recs := q.targetLocked(m, key, c, copied)
	recs = append(recs, q.takeOverLocked(e, n, c, copied)...)
	recs = append(recs, n.setOrDrop())
	if e.want != gone {
		e.want = clean // until it is a delete
	}
	e.conflict = false
	recs = append(recs, q.emptyLocked(e))
	if n.want == clean && n.file == nil {
		q.forgetLocked(n)
	}
	return recs
}

// targetLocked returns the entry of the new name, with nothing wanted but what the store
// holds now.
func (q *Queue) targetLocked(m *move, key string, c movedCopy, copied bool) (*entry, []record) {
	absent := base{known: m.tree} // nothing is below the new name of a tree
	n := q.entryLocked(backend.Ref{Bucket: m.bucket, Key: m.target(key)}, absent)
	recs := q.unlinkLocked(n)
	if copied {
		q.rememberLocked(n.ref, n.base.obj, c.obj)
		n.base = knownBase(c.obj)
	}
	n.conflict = false
	n.err, n.fatal, n.fails = nil, false, 0
	if n.want != gone || copied {
		n.want = clean
	}
	return n, recs
}

// takeOverLocked gives n what e has: its file, and its changes that the copy does not carry.
func (q *Queue) takeOverLocked(e, n *entry, c movedCopy, copied bool) (recs []record) {
	n.attrs, n.mod, n.since = e.attrs, e.mod, e.since
	if f := e.file; f != nil {
		recs = q.cancelUploadLocked(f)
		e.file, n.file = nil, f
		f.entry, f.ref = n, n.ref
		if copied {
			f.movedLocked(c)
		}
	}
	switch {
	case e.want == gone && n.file == nil: // deleted while it was being copied
		q.wantLocked(n, gone)
	case e.want == content:
		q.wantLocked(n, content)
	case e.want == attrs && (c.source.attrs == nil || !sameAttrs(*c.source.attrs, e.attrs)):
		q.wantLocked(n, attrs)
	}
	return recs
}

// movedLocked notes that the object f began from, or was stored as, has a copy under the new
// name.
func (f *File) movedLocked(c movedCopy) {
	if f.stored.ok && f.stored.obj.ETag == c.source.obj.ETag {
		f.stored.obj, f.stored.attrs = c.obj, c.obj.Attrs
	}
	if f.sparse != nil {
		f.sparse.rebase(c.obj, f.q.storeReader(f.ref.Bucket, c.obj))
	}
}

// wantLocked is changedLocked for a change that is not new.
func (q *Queue) wantLocked(e *entry, w want) {
	q.lastGen++
	e.want, e.gen = w, q.lastGen
	q.scheduleLocked(e, time.Now().Add(q.o.Delay))
}

// abandonMove journals that a move failed. A move of one key leaves nothing to undo: the
// destination was to be replaced anyhow, and the source is as it was.
func (q *Queue) abandonMove(m *move) {
	q.mu.Lock()
	var seq uint64
	if m.tree {
		m.undo = true
		seq = q.j.append(m.record())
	} else {
		seq = q.j.append(record{MoveEnd: m.id})
		q.dismissLocked(m)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
}

// undoMove removes the copies of a failed tree, for as long as that takes.
func (q *Queue) undoMove(m *move) {
	for try := 0; m.tree; try++ {
		err := q.undoOnce(m)
		if err == nil {
			break
		}
		if q.ctx.Err() != nil {
			return // the journal has it
		}
		q.o.Log.Warn("copies of a failed rename are not removed yet", "key", m.to, "err", err)
		if sleep(q.ctx, backoff(try)) != nil {
			return
		}
		if !transient(err) && try >= 3 {
			break // the store will not have it: said in the log
		}
	}
	q.mu.Lock()
	var seq uint64
	if q.moves[m.id] == m {
		seq = q.j.append(record{MoveEnd: m.id})
		m.undo = false // whoever waits in the source area, too, may go on
		q.dismissLocked(m)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
}

func (q *Queue) undoOnce(m *move) error {
	ctx, cancel := context.WithTimeout(q.ctx, deleteTime)
	defer cancel()
	store, err := q.store(ctx, m.bucket)
	if err != nil {
		return err
	}
	m.mu.Lock()
	unsure := m.unsure
	m.mu.Unlock()
	q.mu.Lock()
	var keys []string
	for key := range m.copied {
		keys = append(keys, key)
	}
	q.mu.Unlock()
	for to, src := range unsure {
		_, ours, err := q.isCopy(ctx, store.raw, src, to)
		switch {
		case errors.Is(err, backend.ErrNotExist):
		case err != nil:
			return err
		case ours:
			keys = append(keys, to)
		}
	}
	slices.Sort(keys)
	for chunk := range slices.Chunk(keys, batchMax) {
		for key, err := range q.deleteKeys(ctx, m.bucket, chunk) {
			if err != nil {
				return fmt.Errorf("delete %q: %w", key, err)
			}
		}
	}
	return nil
}
