// Package entries remembers what a store said about names, for a while: the attributes of
// objects, the absence of objects, and whole listings of one level.
//
// An answer of the store is believed for Options.TTL. Our own changes enter by Set and
// Remove when the store has confirmed them, and keep everything that is remembered true, the
// listings of all levels above included (listing.go). An answer to a question that was asked
// before such a change may be older than it: whoever asks takes a Stamp first and hands it in
// with the answer, and the Cache refuses or corrects what a change has overtaken (changes.go).
//
// A key that ends in "/" stands for a directory: it is found if anything lies at it or below
// it, and its object is bare, with nothing but a Key, if it has no marker of that key.
//
// Attributes cost a request each, listings one in a thousand. The metadata that a listing
// lacks can be taken from an earlier answer if the listing shows the same version; Complete
// does so, also across restarts (memory.go).
//
// Objects and slices that are handed in belong to the Cache from then on, maps in them
// included; what it returns is shared. Nobody changes either.
package entries

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/record"
)

// Options of a Cache. The zero Options works.
type Options struct {
	TTL         time.Duration // how long attributes and listings are believed; 0 is 30 s, negative not at all
	NegativeTTL time.Duration // how long absences are believed; 0 is 3 s, negative not at all
	Capacity    int           // attributes, absences and listed names together; 0 is 500,000
	Path        string        // file that remembers attributes across restarts; "" = memory only
	Log         *slog.Logger  // nil discards
}

// A Cache is safe for concurrent use.
type Cache struct {
	away atomic.Int64 // until when the store is not asked; Unix nanoseconds

	ttl, negativeTTL time.Duration // constant
	capacity         int           // constant; entries
	memory           *memory       // constant; nil without Options.Path

	mu   sync.Mutex // leaf
	lru  *simplelru.LRU[slot, *item]
	used int // guarded by mu; entries; == sum of charged in lru
	log  changes
}

// A slot is the place of an item: what is known of an object, or the listing of a level.
type slot struct {
	backend.Ref
	dir bool
}

// An item is an answer of the store, or what our own changes made of it.
type item struct {
	obj      backend.Object // if found
	found    bool
	fresh    bool      // obj was changed so lately that its version may be that of another, too
	list     *listing  // of a dir slot; the fields above are unused then
	expires  time.Time // afterwards the store must be asked
	absences time.Time // of a dir slot: until then what is not listed is not there
	charged  int       // entries it counts for in Cache.used
}

// New returns an empty Cache that remembers what Options.Path holds. A file that cannot be
// read is begun anew; New fails if it cannot be written either.
func New(o Options) (*Cache, error) {
	c := &Cache{ttl: o.TTL, negativeTTL: o.NegativeTTL, capacity: o.Capacity}
	if c.ttl == 0 {
		c.ttl = 30 * time.Second
	}
	if c.negativeTTL == 0 {
		c.negativeTTL = 3 * time.Second
	}
	if c.capacity <= 0 {
		c.capacity = 500_000
	}
	lru, err := simplelru.NewLRU(c.capacity, func(_ slot, it *item) { c.used -= it.charged })
	if err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	c.lru = lru
	if o.Path != "" {
		log := o.Log
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		if c.memory, err = openMemory(o.Path, log); err != nil {
			return nil, fmt.Errorf("remember entries: %w", err)
		}
	}
	return c, nil
}

// Close writes what is to be remembered. The Cache must not be used any more.
func (c *Cache) Close() error {
	if c.memory == nil {
		return nil
	}
	return c.memory.Close()
}

// Stamp is to be taken before the store is asked, and handed in with the answer.
func (c *Cache) Stamp() Stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.last
}

// Quiet reports whether no change of our own is known at or below dir since s.
func (c *Cache) Quiet(dir backend.Ref, s Stamp) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.log.known(s) {
		return false
	}
	for ch := range c.log.since(s) {
		if below(ch.ref, dir) || ch.kind == changeDropDir && below(dir, ch.ref) {
			return false
		}
	}
	return true
}

// Get returns what is known of an object: with known unset the store must be asked; with
// known set and found unset it does not exist. obj is complete, or bare. A listing that lacks
// ref, or a level above it, is knowledge too.
func (c *Cache) Get(ref backend.Ref) (obj backend.Object, found bool, known bool) {
	now := c.believed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if it, ok := c.lru.Get(slot{ref, false}); ok && now.Before(it.expires) {
		return it.obj, it.found, true
	}
	return c.listedLocked(ref, now)
}

// Learn takes a complete answer of the store, of Head or Get, to a question asked after s, or
// a bare directory. It is refused if one of our own changes may have overtaken it.
func (c *Cache) Learn(ref backend.Ref, obj backend.Object, s Stamp) {
	it := c.found(ref, obj)
	it.fresh = time.Since(obj.ModTime) < settle
	c.mu.Lock()
	refused := c.log.overtaken(ref, s, it)
	if !refused {
		c.putLocked(slot{ref, false}, it)
	}
	c.mu.Unlock()
	if !refused && !it.fresh {
		c.memory.remember(ref, it.obj)
	}
}

// LearnAbsent takes the answer that ref does not exist, to a question asked after s; of a
// directory, that nothing is below it either.
func (c *Cache) LearnAbsent(ref backend.Ref, s Stamp) {
	it := &item{expires: time.Now().Add(c.negativeTTL), charged: 1}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.log.overtaken(ref, s, it) {
		c.putLocked(slot{ref, false}, it)
	}
}

// Set tells that the store has confirmed our own change of ref; obj is complete.
func (c *Cache) Set(ref backend.Ref, obj backend.Object) {
	it := c.found(ref, obj)
	c.mu.Lock()
	c.log.add(change{kind: changeSet, ref: ref, obj: it.obj})
	c.putLocked(slot{ref, false}, it)
	c.insertLocked(ref, it.obj)
	c.mu.Unlock()
	c.memory.remember(ref, it.obj)
}

// Remove tells that the store has confirmed our own delete of ref.
func (c *Cache) Remove(ref backend.Ref) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.add(change{kind: changeRemove, ref: ref})
	if strings.HasSuffix(ref.Key, "/") {
		c.lru.Remove(slot{ref, false}) // there may be more below; the listings know, if any
	} else {
		c.putLocked(slot{ref, false}, &item{expires: now.Add(c.negativeTTL), charged: 1})
	}
	c.removeLocked(ref, now)
}

// Complete fills in what a listing does not tell of an object, if the very version that is
// listed (by ETag, size and second of ModTime) is remembered; else it returns listed and
// false. It may read the disk.
func (c *Cache) Complete(ref backend.Ref, listed backend.Object) (backend.Object, bool) {
	if listed.Meta != nil {
		return listed, true
	}
	c.mu.Lock()
	it, ok := c.lru.Peek(slot{ref, false})
	c.mu.Unlock()
	if ok && it.completes(listed) {
		return complete(listed, it.obj.Attrs), true
	}
	if attrs, ok := c.memory.recall(ref, listed); ok {
		return complete(listed, attrs), true
	}
	return listed, false
}

// Keep remembers the metadata of obj, which is complete, for listings that show this version
// (Complete). It does not say that the store still has it.
func (c *Cache) Keep(ref backend.Ref, obj backend.Object) {
	it := c.found(ref, obj)
	it.expires, it.fresh = time.Time{}, time.Since(obj.ModTime) < settle
	c.mu.Lock()
	_, known := c.lru.Peek(slot{ref, false})
	if !known {
		c.putLocked(slot{ref, false}, it)
	}
	c.mu.Unlock()
	if !known && !it.fresh {
		c.memory.remember(ref, it.obj)
	}
}

// Drop forgets what is known of ref and the listings that show it or a prefix of it.
func (c *Cache) Drop(ref backend.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.add(change{kind: changeDrop, ref: ref})
	c.lru.Remove(slot{ref, false})
	c.dropAboveLocked(ref)
}

// found returns the item of an object that exists.
func (c *Cache) found(ref backend.Ref, obj backend.Object) *item {
	obj.Key = ref.Key
	if obj.Meta == nil {
		obj.Meta = map[string]string{} // complete: nil would say that it was not asked for
	}
	return &item{obj: obj, found: true, expires: time.Now().Add(c.ttl), charged: 1}
}

// putLocked replaces the item at k and makes room for it.
func (c *Cache) putLocked(k slot, it *item) {
	c.lru.Remove(k) // Add would replace it without giving back what it is charged
	c.lru.Add(k, it)
	c.used += it.charged
	c.evictLocked()
}

func (c *Cache) evictLocked() {
	for c.used > c.capacity {
		c.lru.RemoveOldest()
	}
}

// marked reports whether it is about an object, not about an absence or a bare directory.
func (it *item) marked() bool { return it.found && it.obj.ETag != "" }

// completes reports whether it is about the version that is listed.
func (it *item) completes(listed backend.Object) bool {
	return it.marked() && !it.fresh && sameVersion(it.obj, listed)
}

// sameVersion compares what answers and listings both tell. Their times differ in precision.
func sameVersion(known, listed backend.Object) bool {
	return record.SameVersion(known.ETag, known.Size, known.ModTime.Unix(), listed)
}

// complete returns listed with the metadata of attrs.
func complete(listed backend.Object, attrs backend.Attrs) backend.Object {
	listed.Meta, listed.Header = attrs.Meta, attrs.Header
	if listed.Class == "" {
		listed.Class = attrs.Class
	}
	return listed
}

// settle is how long ago an object must have been changed for its version to tell it from
// all others: a change of metadata alone keeps the ETag, and two of them within one second
// keep the time. Of such an object that others change nothing is remembered beyond TTL.
const settle = 2 * time.Second
