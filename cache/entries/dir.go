package entries

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Dir returns the whole listing of one level in byte order; dir.Key is "" or ends in "/".
// Objects that were listed without metadata still lack them, and are to be looked up by Get.
func (c *Cache) Dir(dir backend.Ref) ([]backend.Entry, bool) {
	now := c.believed()
	c.mu.Lock()
	defer c.mu.Unlock()
	it, ok := c.lru.Get(slot{dir, true})
	if !ok || !now.Before(it.expires) {
		return nil, false
	}
	all := it.list.entries()
	c.weighLocked(slot{dir, true}, it)
	return all, true
}

// LearnDir takes the whole listing of one level, asked for after s. Our own changes since
// are carried over into it. It is refused if that is not possible, if Drop or DropDir met
// it since, or if it would take more than half of the capacity.
func (c *Cache) LearnDir(dir backend.Ref, entries []backend.Entry, s Stamp) {
	if len(entries) >= c.capacity/2 || !slices.IsSortedFunc(entries, byKey) {
		return
	}
	now := time.Now()
	list := &listing{base: entries, n: len(entries)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.log.replay(list, dir, s) {
		return
	}
	c.forgetOthersLocked(dir, list)
	it := &item{list: list, expires: now.Add(c.ttl), absences: now.Add(min(c.ttl, c.negativeTTL))}
	it.charged = list.weight()
	c.putLocked(slot{dir, true}, it)
}

// Listed returns what a listing that is still believed shows of an object: mostly without its
// metadata. ok is false if there is no such listing, or it does not have the object.
func (c *Cache) Listed(ref backend.Ref) (obj backend.Object, ok bool) {
	now := c.believed()
	c.mu.Lock()
	defer c.mu.Unlock()
	dir := c.dirLocked(ref.Bucket, levelOf(ref.Key), now)
	if dir == nil {
		return obj, false
	}
	e, ok := dir.list.get(ref.Key)
	return e.Object, ok && !e.Prefix
}

// DropDir forgets dir and everything below it. It looks at all that is cached.
func (c *Cache) DropDir(dir backend.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.add(change{kind: changeDropDir, ref: dir})
	for _, k := range c.lru.Keys() {
		if k.Bucket == dir.Bucket && strings.HasPrefix(k.Key, dir.Key) {
			c.lru.Remove(k)
		}
	}
	c.dropAboveLocked(dir)
}

// dropAboveLocked forgets the listings that show ref and what hangs on it above: absences
// of directories and directories without a marker.
func (c *Cache) dropAboveLocked(ref backend.Ref) {
	for level := range levels(ref.Key) {
		at := backend.Ref{Bucket: ref.Bucket, Key: level}
		c.lru.Remove(slot{at, true})
		if it, ok := c.lru.Peek(slot{at, false}); ok && !it.marked() {
			c.lru.Remove(slot{at, false})
		}
	}
}

// levels yields the levels whose listings show key or a prefix of it, innermost first:
// for a/b/c these are "a/b/", "a/" and ""; for the marker a/b/ they are the same.
func levels(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for level := levelOf(key); yield(level) && level != ""; {
			level = levelOf(level[:len(level)-1])
		}
	}
}

// levelOf returns the level that lists key as an object.
func levelOf(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }

// shown returns the entry under which the listing of level shows a key below it: the
// object itself or the prefix it is rolled up into.
func shown(level, key string) (entry string, prefix bool) {
	if slash := strings.IndexByte(key[len(level):], '/'); slash >= 0 {
		return key[:len(level)+slash+1], true
	}
	return key, false
}

// byKey is the order of listings.
func byKey(a, b backend.Entry) int { return strings.Compare(a.Key, b.Key) }

// dirLocked returns the listing of a level that is still believed, or nil.
func (c *Cache) dirLocked(bucket, level string, now time.Time) *item {
	it, ok := c.lru.Peek(slot{backend.Ref{Bucket: bucket, Key: level}, true})
	if !ok || !now.Before(it.expires) {
		return nil
	}
	return it
}

// listedLocked is Get by listings.
func (c *Cache) listedLocked(ref backend.Ref, now time.Time) (obj backend.Object, found bool, known bool) {
	for level := range levels(ref.Key) {
		dir := c.dirLocked(ref.Bucket, level, now)
		if dir == nil {
			continue
		}
		key, prefix := shown(level, ref.Key)
		e, listed := dir.list.get(key)
		switch {
		case !listed && level == ref.Key && dir.list.n > 0:
			return backend.Object{Key: ref.Key}, true, true
		case !listed:
			return backend.Object{}, false, now.Before(dir.absences) || dir.list.other(ref.Key)
		case prefix:
			return backend.Object{}, false, false // there is something below, all levels above say the same
		case e.Meta != nil:
			return e.Object, true, true
		}
		if it, ok := c.lru.Peek(slot{ref, false}); ok && it.completes(e.Object) {
			return complete(e.Object, it.obj.Attrs), true, true // too old, but the listing confirms it
		}
		return backend.Object{}, false, false
	}
	return backend.Object{}, false, false
}

// insertLocked makes the cached listings show obj, and the directories above it be there.
func (c *Cache) insertLocked(ref backend.Ref, obj backend.Object) {
	for level := range levels(ref.Key) {
		k := slot{backend.Ref{Bucket: ref.Bucket, Key: level}, true}
		if it, ok := c.lru.Peek(k); ok {
			it.list.insert(level, obj)
			c.weighLocked(k, it)
		}
		k.dir = false
		if it, ok := c.lru.Peek(k); ok && !it.found {
			c.lru.Remove(k)
		}
	}
}

// removeLocked takes ref out of the cached listings, and prefixes that stood for it alone.
// A listing that may or may not show such a prefix is forgotten, and so is the directory.
func (c *Cache) removeLocked(ref backend.Ref, now time.Time) {
	level := levelOf(ref.Key)
	it := c.dirLocked(ref.Bucket, level, now)
	k := slot{backend.Ref{Bucket: ref.Bucket, Key: level}, true}
	if listed, ok := c.lru.Peek(k); ok { // too old or not: it may be believed again (Away)
		listed.list.remove(ref.Key)
		c.weighLocked(k, listed)
	}
	for level != "" && !c.inhabitedLocked(ref.Bucket, level, it, now) {
		c.lru.Remove(slot{backend.Ref{Bucket: ref.Bucket, Key: level}, false})
		above := levelOf(level[:len(level)-1])
		k := slot{backend.Ref{Bucket: ref.Bucket, Key: above}, true}
		parent := c.dirLocked(ref.Bucket, above, now)
		if it != nil && parent != nil { // nothing is left below
			parent.list.remove(level)
			c.weighLocked(k, parent)
		} else {
			c.lru.Remove(k)
			if parent != nil && parent.list.n > 1 {
				return
			}
			parent = nil
		}
		level, it = above, parent
	}
}

// inhabitedLocked reports whether something is known to be below level, whose listing is
// it or nil.
func (c *Cache) inhabitedLocked(bucket, level string, it *item, now time.Time) bool {
	if it != nil {
		return it.list.n > 0
	}
	mark, ok := c.lru.Peek(slot{backend.Ref{Bucket: bucket, Key: level}, false})
	return ok && mark.marked() && now.Before(mark.expires)
}

// weighLocked charges a listing that has changed anew.
func (c *Cache) weighLocked(k slot, it *item) {
	c.used -= it.charged
	it.charged = it.list.weight()
	c.used += it.charged
	if it.charged > c.capacity/2 {
		c.lru.Remove(k)
	}
	c.evictLocked()
}

// forgetOthersLocked forgets what contradicts a new listing. Which of both is older cannot
// be told; the store will.
func (c *Cache) forgetOthersLocked(dir backend.Ref, list *listing) {
	k := slot{dir, false}
	if it, ok := c.lru.Peek(k); ok && !it.marked() && it.found != (list.n > 0) {
		c.lru.Remove(k)
	}
	for _, e := range list.entries() {
		k.Key = e.Key
		it, ok := c.lru.Peek(k)
		if ok && (!it.found || !e.Prefix && !sameVersion(it.obj, e.Object)) {
			c.lru.Remove(k)
		}
	}
}
