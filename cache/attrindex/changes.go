package attrindex

import (
	"context"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A dir is a directory with changes that its index does not have. All fields are guarded by
// Book.mu.
type dir struct {
	changes map[string]change // by name
	adds    int               // changes that are no removals: without any nothing is written
	first   time.Time         // when the first came
	due     time.Time
	fails   int
	absent  bool // it has no index, and too few files for one

	busy   chan struct{} // closed when the write under way ends; nil without one
	cancel context.CancelFunc
}

// A change is what became of a file.
type change struct {
	entry []byte    // nil: it is gone
	at    time.Time // when we heard of it
}

// Stored tells that the store holds obj, which this mount has just put there.
func (b *Book) Stored(ref backend.Ref, obj backend.Object) { b.note(ref, obj) }

// Found tells what a HEAD has found, for an index that lacks it.
func (b *Book) Found(ref backend.Ref, obj backend.Object) {
	if b.o.Tuning.Exact || time.Since(obj.ModTime) > fresh { // else it may change again within that second
		b.note(ref, obj)
	}
}

func (b *Book) note(ref backend.Ref, obj backend.Object) {
	if b.o.ReadOnly || obj.Meta == nil || obj.ETag == "" || IsKey(ref.Key) {
		return
	}
	at, name := place(ref.Key)
	b.change(backend.Ref{Bucket: ref.Bucket, Key: at}, name, appendEntry(nil, name, obj))
}

// Removed tells that ref is gone from the store. That alone is no reason to write an index: an
// entry too many counts for nothing.
func (b *Book) Removed(ref backend.Ref) {
	at, name := place(ref.Key)
	dir := backend.Ref{Bucket: ref.Bucket, Key: at}
	b.mu.Lock()
	waits := b.dirs[dir] != nil
	b.mu.Unlock()
	if waits {
		b.change(dir, name, nil)
	}
}

func (b *Book) change(at backend.Ref, name string, entry []byte) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.dirs[at]
	switch {
	case b.refused[at.Bucket], b.ctx.Err() != nil:
		return
	case d == nil && entry == nil:
		return
	case d == nil:
		d = &dir{changes: map[string]change{}, first: now}
	}
	old, known := d.changes[name]
	if !known && b.waiting >= maxWaiting {
		return
	}
	b.dirs[at] = d
	if !known {
		b.waiting++
	}
	if known && old.entry != nil {
		d.adds--
	}
	if entry != nil {
		d.adds++
	}
	d.changes[name] = change{entry, now}
	b.planLocked(at, d, now)
}

// planLocked has the index written when the directory has been quiet for a while, the longer
// the larger it is, or when the first change has waited twenty times as long.
func (b *Book) planLocked(at backend.Ref, d *dir, now time.Time) {
	if d.fails > 0 && d.due.After(now) {
		return // it waits longer, whatever comes
	}
	k, _ := b.read.Peek(at)
	quiet := b.o.Tuning.Quiet * time.Duration(5_000+k.index.Len()+len(d.changes)) / 5_000
	d.due = now.Add(quiet)
	if latest := d.first.Add(20 * quiet); latest.Before(d.due) {
		d.due = latest
	}
	if b.waiting > maxWaiting/2 {
		d.due = now
	}
	if d.fails > 0 {
		d.due = now.Add(retry << min(d.fails, 6))
	}
	if b.worthLocked(d) && (b.next.IsZero() || d.due.Before(b.next)) {
		b.kick()
	}
}

const retry = 10 * time.Second // doubled with every failure

// worthLocked reports whether d is to be written when it is due.
func (b *Book) worthLocked(d *dir) bool {
	return d.busy == nil && d.adds > 0 && (!d.absent || d.adds >= b.o.Tuning.Few)
}

func (b *Book) dropLocked(at backend.Ref, d *dir) {
	b.waiting -= len(d.changes)
	delete(b.dirs, at)
}

func (b *Book) kick() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
