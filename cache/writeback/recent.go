package writeback

import (
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A caller looks at a key, then tells us what it saw. If in between the store has confirmed
// a change of ours, what it saw is older than what we know, and acting on it would take
// our own object for that of a stranger. So for a while we remember what was confirmed.
const (
	recentFor = 10 * time.Second // far longer than any caller takes
	recentMax = 1 << 14          // keys
)

type recent struct {
	obj  backend.Object // ETag "": deleted
	past []string       // ETags of what it replaced
	at   time.Time
}

type recentKey struct {
	ref backend.Ref
	at  time.Time
}

// rememberLocked notes that the store confirmed obj for ref, in place of old.
func (q *Queue) rememberLocked(ref backend.Ref, old, obj backend.Object) {
	now := time.Now()
	past := []string{"", old.ETag}
	if r, ok := q.recent[ref]; ok {
		past = append(past, r.obj.ETag)
		past = append(past, r.past[max(0, len(r.past)-8):]...)
	}
	past = slices.DeleteFunc(past, func(etag string) bool { return etag == obj.ETag })
	q.recent[ref] = recent{obj, past, now}
	q.recents = append(q.recents, recentKey{ref, now})
	for len(q.recents) > 0 && (len(q.recents) > recentMax || now.Sub(q.recents[0].at) > recentFor) {
		if k := q.recents[0]; q.recent[k.ref].at.Equal(k.at) {
			delete(q.recent, k.ref)
		}
		q.recents = q.recents[1:]
	}
}

// Made tells that the caller has itself made obj as ref, where nothing was. Equal contents
// have equal ETags: without a word, obj could be taken for one that was deleted a moment ago.
func (q *Queue) Made(ref backend.Ref, obj backend.Object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rememberLocked(ref, backend.Object{Key: ref.Key}, obj)
}

// newestLocked is obj, or what we know to have replaced it.
func (q *Queue) newestLocked(ref backend.Ref, obj backend.Object) (backend.Object, bool) {
	r, ok := q.recent[ref]
	if !ok || time.Since(r.at) > recentFor || !slices.Contains(r.past, obj.ETag) {
		return obj, false
	}
	return r.obj, true
}

// freshen corrects what a caller believes to be in the store.
func (q *Queue) freshen(ref backend.Ref, o OpenOptions) OpenOptions {
	q.mu.Lock()
	newer, stale := q.newestLocked(ref, o.Base)
	q.mu.Unlock()
	if !stale {
		return o
	}
	o.dispose() // of another version
	o.Base, o.Path, o.ReadBase = newer, "", q.storeReader(ref.Bucket, newer)
	return o
}
