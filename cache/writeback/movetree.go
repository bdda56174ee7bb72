package writeback

import (
	"context"
	"sync"

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
// ErrArchived if some of that cannot be read, with ErrImmutable if it is there for good.
func (q *Queue) sources(m *move, store backend.Store) (list []source, err error) {
	err = q.retryMove(m, 1<<30, func(ctx context.Context) error {
		list, m.left = nil, nil
		for entry, err := range store.List(ctx, m.from, "", backend.ListOptions{}) {
			if err != nil {
				return err
			}
			a, needed := q.movedAttrs(m, entry.Object)
			if !needed {
				continue
			}
			if q.o.Left != nil && q.o.Left(entry.Key) {
				m.left = append(m.left, entry.Object)
				continue
			}
			if err := copyable(ctx, store, entry.Object); err != nil {
				return err
			}
			list = append(list, source{obj: entry.Object, attrs: a, strict: q.isBase(m, entry.Key)})
		}
		return nil
	})
	return list, err
}

// Movable reports what RenameTree would refuse to rename, as that does.
func (q *Queue) Movable(ctx context.Context, bucket, from string) error {
	store, err := q.store(ctx, bucket)
	if err != nil {
		return err
	}
	_, err = q.sources(q.newMove(bucket, from, from, true), store.raw)
	return err
}

// copyable fails with ErrArchived for what cannot be copied, with ErrImmutable for what is there
// for good. Few listings but those of S3 tell of
// restored copies, so of what they show as archived the store is asked again.
func copyable(ctx context.Context, store backend.Store, listed backend.Object) error {
	switch {
	case immutable(store, listed):
		return checkMovable(store, listed)
	case listed.State.Readable():
		return nil
	}
	obj, err := store.Head(ctx, listed.Key)
	if err == nil && !obj.State.Readable() {
		err = &backend.Error{Op: "rename", Key: listed.Key, Err: backend.ErrArchived}
	}
	return err
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
	for _, obj := range m.left {
		e := q.entryLocked(backend.Ref{Bucket: m.bucket, Key: obj.Key}, knownBase(obj))
		recs = append(recs, q.emptyLocked(e))
	}
	if !m.tree {
		q.sent.Copies++
	}
	q.j.append(append(recs, record{MoveEnd: m.id})...)
	q.movedLocked(backend.Ref{Bucket: m.bucket, Key: m.from}, backend.Ref{Bucket: m.bucket, Key: m.to})
	q.mu.Unlock()
	err := q.syncSurely()
	if err == nil {
		q.mu.Lock()
		q.confirmLocked(m)
		q.dismissLocked(m)
		q.mu.Unlock()
	}
	return err
}

// confirmLocked tells those who sync a moved file that the copy has all that its last Commit
// asked for. Before the rename is on the disk that is not certain: after a power cut the copy
// would be made anew, of what the journal has by then.
func (q *Queue) confirmLocked(m *move) {
	for key := range m.copies {
		n := q.entries[backend.Ref{Bucket: m.bucket, Key: m.target(key)}]
		if n != nil && n.want == clean && n.file != nil {
			n.file.confirmed = n.file.gen
			n.file.notifyLocked()
		}
	}
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
