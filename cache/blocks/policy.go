package blocks

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A blockKey names a block of a version, also after it has left the disk.
type blockKey struct {
	id    id
	index uint32
}

// policy decides which block leaves the disk next. It is 2Q: a block enters recent, moves to
// frequent when it is used again, and victims come from recent while that holds more than
// its share. A pass over a huge tree therefore flows through recent and leaves frequent
// alone. ghost remembers the names of blocks that fell out of recent: one that comes back
// soon was evicted too early and enters frequent at once.
//
// Sizes are bytes. It has no lock of its own: disk.mu guards it.
type policy struct {
	capacity                int64
	recent, frequent, ghost weighted
}

const (
	recentShare = 4 // recent may hold capacity/4
	ghostShare  = 2 // ghost remembers blocks of capacity/2
)

func newPolicy(capacity int64) *policy {
	return &policy{capacity, newWeighted(), newWeighted(), newWeighted()}
}

// add enters a block or gives it another size. hot is for a block that was frequent before.
func (p *policy) add(k blockKey, size int64, hot bool) {
	switch {
	case p.frequent.Contains(k):
		p.frequent.set(k, size)
	case p.recent.Contains(k):
		p.recent.set(k, size)
	case hot || p.ghost.drop(k):
		p.frequent.set(k, size)
	default:
		p.recent.set(k, size)
	}
}

// use notes a read of a block; one that is not here is ignored.
func (p *policy) use(k blockKey) {
	if _, ok := p.frequent.Get(k); ok {
		return
	}
	if size, ok := p.recent.Peek(k); ok {
		p.recent.drop(k)
		p.frequent.set(k, size)
	}
}

// victim is the block to evict next. It stays until it is evicted or removed.
func (p *policy) victim() (blockKey, bool) {
	from := p.frequent
	if p.recent.bytes > p.capacity/recentShare || from.Len() == 0 {
		from = p.recent
	}
	k, _, ok := from.GetOldest()
	return k, ok
}

// evict removes a block that leaves the disk for lack of room.
func (p *policy) evict(k blockKey) {
	size, cold := p.recent.Peek(k)
	p.remove(k)
	if !cold {
		return
	}
	p.ghost.set(k, size)
	for p.ghost.bytes > p.capacity/ghostShare {
		p.ghost.RemoveOldest()
	}
}

// remove forgets a block without a trace in ghost; hot tells that it was frequent.
func (p *policy) remove(k blockKey) (hot bool) {
	p.recent.drop(k)
	return p.frequent.drop(k)
}

// len is the number of blocks on disk.
func (p *policy) len() int { return p.recent.Len() + p.frequent.Len() }

// order is all blocks, those to be evicted first before the others in each list.
func (p *policy) order() []blockKey { return append(p.recent.Keys(), p.frequent.Keys()...) }

// weighted is an LRU list that knows the sum of its values.
type weighted struct {
	*simplelru.LRU[blockKey, int64]
	*sum
}

type sum struct{ bytes int64 }

func newWeighted() weighted {
	s := new(sum)
	// The count is not limited; the callback hears of every removal, but not of a value
	// that Add replaces.
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ blockKey, size int64) { s.bytes -= size })
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return weighted{lru, s}
}

func (w weighted) set(k blockKey, size int64) {
	old, _ := w.Peek(k)
	w.bytes += size - old
	w.Add(k, size)
}

func (w weighted) drop(k blockKey) bool { return w.Remove(k) }
