// Package blocks caches the bytes of objects on local disk and reads ahead of readers.
package blocks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/thawfs/thawfs/backend"
)

// Options are what a Cache is made of.
type Options struct {
	Dir      string // owned by the cache alone; created 0700
	Capacity int64  // bytes on disk, a hard limit
	Memory   int64  // bytes of buffers of all readers together; default 256 MiB
	Requests int    // GETs in flight of all readers together; default 64
	Log      *slog.Logger
}

// Stats are counters since New and gauges of this moment.
type Stats struct {
	Bytes, Capacity int64 // on disk
	Files           int   // object versions on disk
	Memory          int64 // bytes of buffers in use
	Hits, Misses    int64 // pieces of reads answered from here, and those that waited for the store
	Fetched         int64 // bytes from the store
	Requests        int64 // GETs
	Evictions       int64 // blocks
	Dropped         int64 // granules not written to disk because it was too slow, full or broken
	Corrupt         int64 // granules found damaged on disk
}

// A Cache is the disk cache of one mount. Its methods may be called concurrently.
type Cache struct{}

// New opens the cache in o.Dir.
func New(o Options) (*Cache, error) { return &Cache{}, os.MkdirAll(o.Dir, 0o700) }

// Close ends the cache's goroutines and persists the index.
func (c *Cache) Close() error { return nil }

// Open returns a reader of obj; no I/O is done.
func (c *Cache) Open(store backend.Store, ref backend.Ref, obj backend.Object) *Reader {
	return &Reader{store, ref, obj}
}

// File returns the whole object in one local file, if it is here and verified.
func (c *Cache) File(ref backend.Ref, obj backend.Object) (*os.File, bool) { return nil, false }

var errNotYet = errors.New("blocks: no disk tier yet")

// Fill fetches what is missing of obj and returns it as File does.
func (c *Cache) Fill(ctx context.Context, store backend.Store, ref backend.Ref, obj backend.Object) (*os.File, error) {
	return nil, errNotYet
}

// Adopt renames a local file that holds exactly obj into the cache.
func (c *Cache) Adopt(path string, ref backend.Ref, obj backend.Object) error { return errNotYet }

// Take renames the whole cached file out and forgets it.
func (c *Cache) Take(ref backend.Ref, obj backend.Object, to string) bool { return false }

// Forget drops all versions of ref.
func (c *Cache) Forget(ref backend.Ref) {}

// Stats returns counters and gauges.
func (c *Cache) Stats() Stats { return Stats{} }

// A Reader reads one version of one object.
type Reader struct {
	store backend.Store
	ref   backend.Ref
	obj   backend.Object
}

// ReadAt fills p from off; n < len(p) without an error only at the object's end. It never
// returns io.EOF.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off >= r.obj.Size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), r.obj.Size-off)]
	body, err := r.store.Get(ctx, r.ref.Key, r.obj.ETag, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p)
	if err != nil {
		return n, fmt.Errorf("read %q at %d: %w", r.ref.Key, off, err)
	}
	return n, nil
}

// Close ends the reader.
func (r *Reader) Close() {}
