package attrindex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"github.com/thawfs/thawfs/backend"
)

// Options of a Book. Open is required.
type Options struct {
	// Open returns the store of a bucket. It is called often and should remember.
	Open func(ctx context.Context, bucket string) (backend.Store, error)
	// Written is told that the store holds a new index. May be nil.
	Written func(ref backend.Ref, obj backend.Object)

	ReadOnly bool  // nothing is written
	Memory   int64 // bytes of indexes that are remembered; 0 is 32 MiB
	Log      *slog.Logger
	Tuning   Tuning
}

// Tuning is for tests; the zero value is what mounts have.
type Tuning struct {
	Quiet   time.Duration // how long a directory has no changes before its index is written; 0 is 3 s
	Settled time.Duration // age of versions that an index may name; 0 is 1.2 s, negative none
	Few     int           // files that are not worth an index; 0 is 8
	Exact   bool          // the store tells all digits of times, in listings too: versions are known by them
}

const (
	workers    = 4         // indexes written at once
	maxWaiting = 200_000   // changes that wait for an index to be written; more are asked for by HEAD
	maxListing = 1_000_000 // entries of a listing that an index is held against
	fresh      = 2 * time.Second
)

// A Book is what one mount reads of indexes and has to tell them. It is safe for concurrent use.
type Book struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{}
	flight singleflight.Group // of reads

	mu      sync.Mutex // leaf
	read    *simplelru.LRU[backend.Ref, known]
	used    int64                // guarded by mu; bytes; == sum of weights in read
	dirs    map[backend.Ref]*dir // guarded by mu; with changes that no index has
	waiting int                  // guarded by mu; changes in dirs
	next    time.Time            // guarded by mu; when run looks again
	writing int                  // guarded by mu; goroutines
	refused map[string]bool      // guarded by mu; buckets that take no index
}

// known is an index as the store had it. index is nil if that was not readable.
type known struct {
	etag  string
	index *Index
}

// New returns a Book, which the caller closes.
func New(o Options) (*Book, error) {
	if o.Open == nil {
		return nil, errors.New("attrindex: Options.Open must be set")
	}
	if o.Memory == 0 {
		o.Memory = 32 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tuning.Quiet == 0 {
		o.Tuning.Quiet = 3 * time.Second
	}
	if o.Tuning.Settled == 0 {
		o.Tuning.Settled = settled
	}
	if o.Tuning.Few == 0 {
		o.Tuning.Few = 8
	}
	b := &Book{o: o, wake: make(chan struct{}, 1), dirs: map[backend.Ref]*dir{}, refused: map[string]bool{}}
	var err error
	b.read, err = simplelru.NewLRU(100_000, func(_ backend.Ref, k known) { b.used -= k.index.weight() })
	if err != nil {
		return nil, fmt.Errorf("attrindex: %w", err)
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if !o.ReadOnly {
		b.wg.Go(b.run)
	}
	return b, nil
}

// Load returns the index of dir, whose version the listing of dir shows, nil if it cannot be
// read or is damaged. With an empty etag, when the listing has not come so far, the store is
// asked in any case.
func (b *Book) Load(ctx context.Context, store backend.Store, dir backend.Ref, etag string) *Index {
	if k, ok := b.known(dir); ok && etag != "" && k.etag == etag {
		return k.index
	}
	v, err, _ := b.flight.Do(dir.String()+"\x00"+etag, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // others may wait for it
		defer cancel()
		return fetch(ctx, store, dir, "")
	})
	switch {
	case errors.Is(err, errDamaged):
		b.o.Log.Info("index of attributes is damaged and will be replaced", slog.String("key", dir.String()), slog.Any("err", err))
	case errors.Is(err, backend.ErrNotExist):
		return nil
	case err != nil:
		b.o.Log.Debug("index of attributes cannot be read", slog.String("key", dir.String()), slog.Any("err", err))
		return nil
	}
	x, _ := v.(*Index)
	if etag != "" {
		b.learn(dir, known{etag, x})
	}
	return x
}

// fetch reads the index of dir; an empty etag means its newest version.
func fetch(ctx context.Context, store backend.Store, dir backend.Ref, etag string) (*Index, error) {
	r, err := store.Get(ctx, Key(dir.Key), etag, 0, -1)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return parse(body)
}

// Find is x.Find with the precision that versions of this store are known by.
func (b *Book) Find(x *Index, name string, listed backend.Object) (backend.Attrs, bool) {
	return x.Find(name, listed, b.o.Tuning.Exact)
}

func (b *Book) known(dir backend.Ref) (known, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read.Get(dir)
}

func (b *Book) learn(dir backend.Ref, k known) {
	if k.index.weight() > b.o.Memory/2 {
		k = known{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read.Remove(dir) // Add would replace it without giving back what it weighs
	if k.etag == "" {
		return
	}
	b.read.Add(dir, k)
	b.used += k.index.weight()
	for b.used > b.o.Memory {
		b.read.RemoveOldest()
	}
}

// Discard forgets what waits for the indexes of dir and of all directories below, and waits for
// those that are being written: behind it nothing of dir is stored by this Book, unless something
// new is stored in it. It reports whether the store may have an index of dir.
func (b *Book) Discard(dir backend.Ref) (there bool) {
	for {
		b.mu.Lock()
		var busy chan struct{}
		for at, d := range b.dirs {
			if at.Bucket != dir.Bucket || !strings.HasPrefix(at.Key, dir.Key) {
				continue
			}
			if d.busy != nil {
				d.cancel()
				busy = d.busy
				there = there || at == dir
				continue
			}
			b.dropLocked(at, d)
		}
		for _, at := range b.read.Keys() {
			if at.Bucket == dir.Bucket && strings.HasPrefix(at.Key, dir.Key) {
				b.read.Remove(at)
				there = there || at == dir
			}
		}
		b.mu.Unlock()
		if busy == nil {
			return there
		}
		<-busy
	}
}

// Close writes what is worth it, for as long as ctx lasts, and ends the Book.
func (b *Book) Close(ctx context.Context) {
	b.cancel()
	b.wg.Wait()
	if !b.o.ReadOnly {
		b.flush(ctx)
	}
}
