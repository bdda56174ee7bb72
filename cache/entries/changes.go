package entries

import (
	"iter"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// A Stamp is a point in the order of our own changes.
type Stamp uint64

// maxChanges bounds how many changes are kept. An answer that took longer to come than so
// many changes did is refused.
const maxChanges = 4096

type changeKind uint8

const (
	changeSet changeKind = iota
	changeRemove
	changeDrop    // unknown what it is now
	changeDropDir // the same, for everything below
)

// A change is one that answers may be older than.
type change struct {
	kind changeKind
	ref  backend.Ref
	obj  backend.Object // of changeSet
}

// changes are the last changes, in order; that of stamp s is at s % maxChanges.
type changes struct {
	last Stamp
	ring []change
}

func (l *changes) add(ch change) {
	l.last++
	if l.ring == nil {
		l.ring = make([]change, maxChanges)
	}
	l.ring[l.last%maxChanges] = ch
}

// known reports whether all changes after s are still kept.
func (l *changes) known(s Stamp) bool { return s+maxChanges >= l.last }

// since yields the changes after s, oldest first.
func (l *changes) since(s Stamp) iter.Seq[*change] {
	return func(yield func(*change) bool) {
		for at := s + 1; at <= l.last; at++ {
			if !yield(&l.ring[at%maxChanges]) {
				return
			}
		}
	}
}

// overtaken reports whether a change after s may have made it, an answer about ref, untrue.
func (l *changes) overtaken(ref backend.Ref, s Stamp, it *item) bool {
	if !l.known(s) {
		return true
	}
	dir := strings.HasSuffix(ref.Key, "/") && !it.marked()
	for ch := range l.since(s) {
		switch {
		case ch.ref == ref:
			return true
		case ch.kind == changeDropDir && below(ref, ch.ref):
			return true
		case !dir || !below(ch.ref, ref):
		case it.found && ch.kind != changeSet: // the last of a bare directory may be gone
			return true
		case !it.found && ch.kind != changeRemove: // the first may have come
			return true
		}
	}
	return false
}

// replay carries the changes after s over into a listing of dir that was asked for then and
// shows some of them or none. It returns false if what the listing would be is not known.
func (l *changes) replay(list *listing, dir backend.Ref, s Stamp) bool {
	if !l.known(s) {
		return false
	}
	for ch := range l.since(s) {
		if ch.kind == changeDropDir && below(dir, ch.ref) {
			return false
		}
		if !below(ch.ref, dir) {
			continue
		}
		key, prefix := shown(dir.Key, ch.ref.Key)
		_, listed := list.get(key)
		switch {
		case ch.kind == changeSet:
			list.insert(dir.Key, ch.obj)
		case ch.kind == changeRemove && !prefix:
			list.remove(key)
		case ch.kind == changeRemove && !listed:
		default:
			return false // the prefix may have gone with the key
		}
	}
	return true
}

// below reports whether ref is dir or below it.
func below(ref, dir backend.Ref) bool {
	return ref.Bucket == dir.Bucket && strings.HasPrefix(ref.Key, dir.Key)
}
