package writeback

import (
	"maps"
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// want says what an entry asks of the store.
type want uint8

const (
	clean   want = iota // nothing: the entry is there for an open file
	content             // hold the bytes of entry.file with entry.attrs
	attrs               // hold base's bytes with entry.attrs
	gone                // hold nothing
)

func (w want) String() string { return [...]string{"clean", "content", "attrs", "gone"}[w] }

// An entry is the state of one key that differs, or may soon differ, from the store.
// All fields are guarded by Queue.mu.
type entry struct {
	ref      backend.Ref
	want     want
	file     *File         // the content; nil unless it is wanted or open
	attrs    backend.Attrs // as they shall be
	base     base
	gen      uint64    // of the newest change
	since    time.Time // of the oldest change that is not sent
	mod      time.Time // of the newest
	conflict bool      // the name was made up for a conflict copy

	job     *job      // what is under way for this key
	leaving bool      // the file is being handed over: no new writers
	due     time.Time // when to send
	index   int       // in Queue.due; -1 if not there
	batched bool      // in a batch of deletes
	fails   int       // failed attempts in a row
	tried   uint64    // failed attempts ever
	asked   bool      // somebody waits for it: it is sent as it is
	err     error     // of the last attempt
	fatal   bool      // err will not go away by itself
}

// base is what the store holds for a key, as far as we know.
type base struct {
	known bool
	obj   backend.Object // ETag "": absent
	tries []try          // content sent, with an outcome that we do not know
	metas []textMap      // the same of attributes for obj: metadata alone tells them
}

// parked reports whether e only changes attributes of an object that is archived, without
// moving it to another class. No store can do that. Of one with a restored copy it could, but
// the new object would be archived again, and the copy gone that somebody has paid and waited
// for. So they stay here until the object is replaced.
func (e *entry) parked() bool {
	if e.want != attrs {
		return false
	}
	s := e.base.obj.State
	return !s.Readable() || s == backend.Restored && e.attrs.Class == e.base.obj.Class
}

// waits reports whether e is to be sent.
func (e *entry) waits() bool { return e.want != clean && !e.parked() }

// maxTries bounds base.tries. More uncertain attempts with different contents in a row than
// this and the oldest would count as foreign: a conflict copy too many, nothing worse.
const maxTries = 16

// absent reports whether the store certainly holds nothing.
func (b *base) absent() bool { return b.known && b.obj.ETag == "" && len(b.tries) == 0 }

func (b *base) addTry(t try) bool {
	for _, old := range b.tries {
		if old == t {
			return false
		}
	}
	if len(b.tries) == maxTries {
		b.tries = b.tries[1:]
	}
	b.tries = append(b.tries[:len(b.tries):len(b.tries)], t)
	return true
}

// addMeta is addTry for attributes.
func (b *base) addMeta(m textMap) bool {
	if len(m) == 0 || b.sentMeta(m) {
		return false
	}
	if len(b.metas) == maxTries {
		b.metas = b.metas[1:]
	}
	b.metas = append(b.metas[:len(b.metas):len(b.metas)], maps.Clone(m))
	return true
}

func (b *base) sentMeta(m map[string]string) bool {
	return slices.ContainsFunc(b.metas, func(old textMap) bool { return maps.Equal(old, m) })
}

// ours reports whether head, which is not obj, is something that we sent in its place.
func (b *base) ours(head backend.Object) bool {
	return b.holds(head) || b.sentMeta(head.Meta) &&
		slices.ContainsFunc(b.tries, func(t try) bool { return t.Size == head.Size })
}

// holds reports whether head is obj, or obj with attributes that we sent.
func (b *base) holds(head backend.Object) bool {
	return b.known && b.obj.ETag != "" &&
		(head.ETag == b.obj.ETag || head.Size == b.obj.Size && b.sentMeta(head.Meta))
}

// cond is the condition under which the base may be replaced.
func (b *base) cond() backend.Cond {
	switch {
	case !b.known:
		return backend.Cond{}
	case b.obj.ETag == "":
		return backend.Cond{IfAbsent: true}
	}
	return backend.Cond{IfMatch: b.obj.ETag}
}

func knownBase(obj backend.Object) base { return base{known: true, obj: obj} }

// entryLocked returns the entry of ref, made if there is none.
func (q *Queue) entryLocked(ref backend.Ref, b base) *entry {
	if e := q.entries[ref]; e != nil {
		return e
	}
	e := &entry{ref: ref, base: b, index: -1, mod: time.Now()}
	q.entries[ref] = e
	keys := q.keys[ref.Bucket]
	if keys == nil {
		keys = &sortedKeys{}
		q.keys[ref.Bucket] = keys
	}
	keys.add(ref.Key)
	return e
}

// forgetLocked takes e out of the queue. Its file, if any, loses its name.
func (q *Queue) forgetLocked(e *entry) {
	if e.file != nil {
		e.file.entry = nil
		e.file = nil
	}
	q.due.drop(e)
	delete(q.entries, e.ref)
	keys := q.keys[e.ref.Bucket]
	keys.remove(e.ref.Key)
	if len(keys.chunks) == 0 {
		delete(q.keys, e.ref.Bucket)
	}
	q.settleLocked()
}

// changedLocked notes a new change of e, to be sent after the delay.
func (q *Queue) changedLocked(e *entry, w want) {
	now := time.Now()
	if e.want == clean || e.since.IsZero() {
		e.since = now
	}
	e.want, e.mod = w, now
	q.lastGen++
	e.gen = q.lastGen
	e.fails, e.err, e.fatal = 0, nil, false
	delay := q.o.Delay
	if w == gone {
		delay = 0 // batches have a delay of their own
	}
	due := now.Add(delay)
	if latest := e.since.Add(10 * delay); latest.Before(due) {
		due = latest // one that is changed all the time is sent all the same
	}
	q.scheduleLocked(e, due)
}

// record is e as the journal has it: nil if there is nothing to remember.
func (e *entry) record() *entryRec {
	if e.want == clean {
		return nil
	}
	r := &entryRec{
		refRec: newRefRec(e.ref), Want: e.want.String(), Tries: e.base.tries, Metas: e.base.metas,
		Since: e.since.UnixNano(), Mod: e.mod.UnixNano(), Conflict: e.conflict,
	}
	if e.base.known {
		r.Base = newObjRec(e.base.obj)
	}
	if e.want != gone {
		r.Attrs = newAttrsRec(e.attrs)
	}
	if e.want == content {
		r.File = e.file.record()
	}
	return r
}

// setOrDrop is the record of e's present state.
func (e *entry) setOrDrop() record {
	if r := e.record(); r != nil {
		return record{Set: r}
	}
	ref := newRefRec(e.ref)
	return record{Drop: &ref}
}

// sameAttrs reports whether a and b ask the same of the store. An empty class means
// whatever there is.
func sameAttrs(a, b backend.Attrs) bool {
	class := a.Class == b.Class || a.Class == "" || b.Class == ""
	return class && maps.Equal(a.Meta, b.Meta) && maps.Equal(a.Header, b.Header)
}

func cloneAttrs(a backend.Attrs) backend.Attrs {
	return backend.Attrs{Meta: maps.Clone(a.Meta), Header: maps.Clone(a.Header), Class: a.Class}
}
