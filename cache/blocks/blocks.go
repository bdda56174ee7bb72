// Package blocks caches the bytes of objects on local disk and reads ahead of readers.
//
// A Cache has two tiers. In memory (memory.go, budget.go) are pieces on their way from the
// store, read ahead, or just read, within a budget for the whole mount. On disk (disk.go) is
// one sparse file for each version of an object, so that a whole object can be handed to the
// kernel as one file; every 128 KiB granule of it is valid or not by itself and has a
// checksum.
//
//	Reader.ReadAt ─► memory ─► disk ─► fetch ─► Store.Get(key, etag, range)
//	                   ▲                 │
//	                   └──── publish ────┴─► writer (bounded, dropped rather than waited for) ─► disk
//
// A Reader (reader.go) looks in memory, then on disk, then begins a fetch (fetch.go), which
// publishes each granule as it arrives; readers of the same range share it. A stream
// (stream.go) recognizes sequential reads and keeps a growing window of fetches ahead of
// them (ahead.go), as many at a time as tempo.go finds to pay. What leaves the disk is
// decided by policy.go and done by evict.go; the index (index.go, load.go) survives restarts.
//
// Pieces are named by a hash of bucket, key, ETag and size: bytes of another version cannot
// be asked for, and nothing is ever invalidated. Objects without an ETag are never written
// to disk.
//
// Locks, in the order they are taken: Reader.mu; version.io; journal.io; then one of
// Cache.mu, memory.mu, disk.mu, tempo.mu, under which nothing is waited for.
package blocks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/thawfs/thawfs/backend"
)

const (
	defaultMemory   = 256 << 20
	leastMemory     = 4 << 20 // bytes; a few readers can make progress
	defaultRequests = 64
	// Granules that wait for the disk hold memory, which readers may need more.
	queueShare = 4
	maxQueue   = 256 // granules
)

var errClosed = fmt.Errorf("block cache: %w", os.ErrClosed)

// Options are what a Cache is made of.
type Options struct {
	Dir      string // owned by the cache alone; created 0700; may be empty if Capacity is 0
	Capacity int64  // bytes on disk, a hard limit; nothing is kept there if it is not positive
	Memory   int64  // bytes of buffers of all readers together; default 256 MiB, at least 4 MiB
	Requests int    // GETs in flight of all readers together; default 64
	Log      *slog.Logger
}

// Stats are counters since New and gauges of this moment.
type Stats struct {
	Bytes, Capacity int64 // on disk
	Pinned          int64 // of Bytes, what pins keep
	Files           int   // object versions on disk
	Memory          int64 // bytes of buffers in use
	Hits, Misses    int64 // pieces of reads that were here, and those that waited for the store
	Fetched         int64 // bytes from the store
	Requests        int64 // GETs
	Evictions       int64 // blocks that made room for others
	Dropped         int64 // granules not written: the disk was too slow, full or broken
	Corrupt         int64 // granules on disk that did not match their checksum
}

type counters struct {
	hits, misses, fetched, requests, evictions, dropped, corrupt atomic.Int64
}

// A Cache holds bytes of objects for all readers of a mount. Its methods may be called
// concurrently.
type Cache struct {
	log    *slog.Logger
	count  *counters
	memory *memory
	disk   *disk // nil without capacity
	tempo  *tempo
	slots  *semaphore.Weighted // GETs in flight

	ctx    context.Context // of fetches; ended by Close
	cancel context.CancelFunc
	writer context.CancelFunc
	wg     sync.WaitGroup // of the disk's goroutines

	mu      sync.Mutex // leaf
	closed  bool
	readers int            // open
	fetches sync.WaitGroup // none is added once closed is set
	unnamed uint64         // counts objects without ETag
}

// New opens the cache in o.Dir, which no other process may be using.
func New(o Options) (*Cache, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	o.Memory = max(o.Memory, leastMemory)
	if o.Requests <= 0 {
		o.Requests = defaultRequests
	}
	c := &Cache{log: o.Log, count: &counters{}, memory: newMemory(o.Memory), tempo: newTempo(o.Requests)}
	c.slots = semaphore.NewWeighted(int64(o.Requests))
	c.ctx, c.cancel = context.WithCancel(context.Background())
	writing, stop := context.WithCancel(context.Background())
	c.writer = stop
	if o.Capacity > 0 {
		d, err := newDisk(o, min(c.memory.total/queueShare, maxQueue), c.count)
		if err != nil {
			c.cancel()
			stop()
			return nil, err
		}
		c.disk = d
		d.run(writing, &c.wg)
	}
	return c, nil
}

// Close cancels what is on its way, writes what has arrived, and persists the index. Reads
// fail from now on if they need the store.
func (c *Cache) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.cancel()
	c.fetches.Wait()
	c.writer()
	c.wg.Wait()
	c.memory.close()
	if c.disk == nil {
		return nil
	}
	return c.disk.close()
}

// Open returns a reader of the version obj of ref; it does no I/O.
func (c *Cache) Open(store backend.Store, ref backend.Ref, obj backend.Object) *Reader {
	c.mu.Lock()
	c.readers++
	c.mu.Unlock()
	return &Reader{c: c, object: c.objectOf(store, ref, obj), touched: -1}
}

func (c *Cache) objectOf(store backend.Store, ref backend.Ref, obj backend.Object) object {
	o := object{source: sourceOf(ref, obj), store: store, key: ref.Key, etag: obj.ETag, noDisk: obj.ETag == ""}
	if o.noDisk {
		c.mu.Lock()
		c.unnamed++
		o.id = id{}
		for i := range 8 { // no two readers share bytes that may be of two versions
			o.id[i] = byte(c.unnamed >> (8 * i))
		}
		c.mu.Unlock()
	}
	return o
}

func (c *Cache) readerClosed() {
	c.mu.Lock()
	c.readers--
	last := c.readers == 0
	c.mu.Unlock()
	if last {
		c.memory.shrink()
	}
}

// launch runs a fetch, or fails it when the cache is closed.
func (c *Cache) launch(f *fetch) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.fetches.Go(func() { c.run(f) })
	}
	c.mu.Unlock()
	if closed {
		c.memory.fail(f.granules, nil, errClosed)
	}
}

// Forget drops all versions of ref. Readers that need them again fetch them again.
func (c *Cache) Forget(ref backend.Ref) {
	c.memory.forget(refHash(ref))
	if c.disk != nil {
		c.disk.forget(refHash(ref))
	}
}

// Stats returns counters and gauges.
func (c *Cache) Stats() Stats {
	n := c.count
	s := Stats{
		Memory:    c.memory.bytes(),
		Hits:      n.hits.Load(),
		Misses:    n.misses.Load(),
		Fetched:   n.fetched.Load(),
		Requests:  n.requests.Load(),
		Evictions: n.evictions.Load(),
		Dropped:   n.dropped.Load(),
		Corrupt:   n.corrupt.Load(),
	}
	if c.disk != nil {
		s.Bytes, s.Files, s.Capacity = c.disk.usage()
		s.Pinned = c.disk.pinnedBytes()
	}
	return s
}

// errDisabled is why nothing whole can be kept: there is no disk tier, or the object has no
// ETag that says which version the bytes are.
var errDisabled = errors.New("object cannot be kept on disk")
