package writeback

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Pending is what is known here of a key and not, or not only, in the store.
type Pending struct {
	Ref backend.Ref
	// Gone is a delete that the store has not confirmed: the name is absent here.
	Gone bool
	// Object is the object as it will be. ETag is empty while content is unsent. With a
	// mere change of attributes it is the version they apply to, which can be read; with
	// a file that is open and unchanged, or stored, it is the version in the store.
	Object  backend.Object
	File    *File // staged content; nil for Gone and for attribute-only changes
	Since   time.Time
	Err     error // why the last attempt failed; nil if none did
	Sending bool
	Clean   bool // nothing is to be sent: the file is open, and changed at most since its last Commit
	Parked  bool // attributes of an archived object, which stay here; see Outdated
}

// Find returns what is pending or open of ref. It is newer than anything the store says.
func (q *Queue) Find(ref backend.Ref) (Pending, bool) {
	q.mu.Lock()
	e := q.entries[ref]
	if e == nil {
		q.mu.Unlock()
		return Pending{}, false
	}
	p, live := e.pending()
	q.mu.Unlock()
	if live {
		p.refresh()
	}
	return p, true
}

// pending describes e. live means that somebody may be writing: the file must be asked.
func (e *entry) pending() (p Pending, live bool) {
	p = Pending{
		Ref: e.ref, File: e.file, Since: e.since, Err: e.err,
		Sending: e.job != nil, Clean: e.want == clean, Parked: e.parked(),
		Gone: e.want == gone && e.file == nil,
	}
	f := e.file
	p.Object = e.base.obj
	switch {
	case p.Gone:
		p.Object = backend.Object{}
	case e.want == content:
		p.Object = backend.Object{Size: f.size, ModTime: e.mod, Attrs: e.attrs}
	case e.want == attrs:
		p.Object.Attrs, p.Object.ModTime = e.attrs, e.mod
	case f != nil && f.begin: // new, not committed
		p.Object = backend.Object{Size: f.size, ModTime: e.mod, Attrs: f.attrs}
	}
	p.Object.Key = e.ref.Key
	return p, f != nil && f.refs > 0
}

// refresh brings size and time of a file that may be changing up to date.
func (p *Pending) refresh() {
	size, mtime, changed := p.File.Stat()
	if changed {
		p.Object.Size, p.Object.ModTime, p.Object.ETag = size, mtime, ""
	}
}

// listStep bounds the entries looked at in one go under the lock.
const listStep = 256

// List yields what is pending or open below prefix behind after, in byte order of keys,
// including what is Gone. It sees changes that are made while it runs, or not.
func (q *Queue) List(bucket, prefix, after string) iter.Seq[Pending] {
	return func(yield func(Pending) bool) {
		for {
			step, live := q.listStep(bucket, prefix, after)
			for i, p := range step {
				if live[i] {
					p.refresh()
				}
				if !yield(p) {
					return
				}
			}
			if len(step) < listStep {
				return
			}
			after = step[len(step)-1].Ref.Key
		}
	}
}

func (q *Queue) listStep(bucket, prefix, after string) (step []Pending, live []bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := q.keys[bucket]
	if keys == nil {
		return nil, nil
	}
	for _, key := range keys.next(prefix, after, listStep) {
		p, l := q.entries[backend.Ref{Bucket: bucket, Key: key}].pending()
		step, live = append(step, p), append(live, l)
	}
	return step, live
}

// Pending returns all changes that the store has not confirmed, sorted by ref.
func (q *Queue) Pending() []Pending {
	q.mu.Lock()
	var all []Pending
	for _, e := range q.entries {
		if e.waits() {
			p, _ := e.pending()
			all = append(all, p)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(all, func(a, b Pending) int {
		return cmp.Or(strings.Compare(a.Ref.Bucket, b.Ref.Bucket), strings.Compare(a.Ref.Key, b.Ref.Key))
	})
	return all
}

// Stats of a Queue.
type Stats struct {
	Pending  int       // keys with changes that the store has not confirmed
	Bytes    int64     // content among them
	Failed   int       // keys whose last attempt failed
	Oldest   time.Time // since when the oldest is pending; zero if none is
	Renames  int       // renames under way
	Staged   int64     // bytes of staged files, open and pending
	Capacity int64     // bytes
	Down     bool      // the store does not answer
	Sent     Sent
}

// Sent counts what the store has confirmed since New.
type Sent struct {
	Objects, Bytes, Parts, Attrs, Deletes, Copies, Conflicts int64
}

// Stats returns figures of this moment.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Staged: q.staged, Capacity: q.o.Capacity, Sent: q.sent, Renames: len(q.moves), Down: q.health.down()}
	for _, e := range q.entries {
		if !e.waits() {
			continue
		}
		s.Pending++
		if e.want == content {
			s.Bytes += e.file.size
		}
		if e.err != nil {
			s.Failed++
		}
		if s.Oldest.IsZero() || e.since.Before(s.Oldest) {
			s.Oldest = e.since
		}
	}
	return s
}

func (q *Queue) pendingCountLocked() int {
	n := 0
	for _, e := range q.entries {
		if e.waits() {
			n++
		}
	}
	return n
}
