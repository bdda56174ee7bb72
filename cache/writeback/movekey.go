package writeback

import (
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
)

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
	case e.want == attrs && e.base.holds(c.source.obj) && (c.source.attrs == nil || !sameAttrs(*c.source.attrs, e.attrs)):
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
