package fs

import (
	"context"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

const (
	mostWalk = 64    // names fetched ahead in a directory, and HEADs in flight for all
	maxWalks = 1_000 // directories that are watched; beyond it all are forgotten
)

// walks fetch ahead of programs that go through a directory in an order (walk.go): one that
// opens one small file after the other waits for a round trip each, however many the store
// would answer at once.
type walks struct {
	fs     *FS
	ctx    context.Context // of requests; ended by close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  chan struct{} // HEADs in flight that nobody waits for

	mu     sync.Mutex // leaf
	opens  map[backend.Ref]*walk
	looks  map[backend.Ref]*walk
	asking map[backend.Ref]chan struct{}   // HEADs under way, closed when they are over
	parts  map[backend.Ref][]backend.Entry // what was last read of listings not read to their end
}

func newWalks(f *FS) *walks {
	w := &walks{fs: f, slots: make(chan struct{}, mostWalk)}
	w.opens, w.looks, w.asking = map[backend.Ref]*walk{}, map[backend.Ref]*walk{}, map[backend.Ref]chan struct{}{}
	w.parts = map[backend.Ref][]backend.Entry{}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *walks) close() {
	w.mu.Lock()
	w.cancel() // nothing is begun from here on
	w.mu.Unlock()
	w.wg.Wait()
}

// opened tells that ref was opened for reading. The content of the files behind it is fetched.
func (w *walks) opened(store backend.Store, ref backend.Ref) {
	w.step(w.opens, ref, func(e backend.Entry) bool {
		at := backend.Ref{Bucket: ref.Bucket, Key: e.Key}
		if e.State != backend.Online && e.State != backend.Restored {
			return false
		}
		if _, pending := w.fs.queue.Find(at); pending {
			return false
		}
		return w.fs.blocks.Prefetch(store, at, e.Object)
	})
}

// looked tells that ref was looked up. The attributes of the files behind it are asked for, as
// far as nobody remembers them.
func (w *walks) looked(store backend.Store, ref backend.Ref) {
	w.step(w.looks, ref, func(e backend.Entry) bool {
		at := backend.Ref{Bucket: ref.Bucket, Key: e.Key}
		if _, _, known := w.fs.entries.Get(at); known {
			return false
		}
		if _, known := w.fs.entries.Complete(at, e.Object); known {
			return false
		}
		if w.fs.plain.plain(backend.Ref{Bucket: ref.Bucket, Key: dirOf(e.Key)}, w.fs.o.TTL) {
			return false
		}
		return w.ask(store, at)
	})
}

// step enters one step into the walk of ref's directory and fetches what is due then.
func (w *walks) step(all map[backend.Ref]*walk, ref backend.Ref, fetch func(backend.Entry) bool) {
	level := backend.Ref{Bucket: ref.Bucket, Key: dirOf(ref.Key)}
	w.mu.Lock()
	one := all[level]
	if one == nil {
		if len(all) >= maxWalks {
			clear(all)
		}
		one = &walk{level: level, window: firstWalk}
		all[level] = one
	}
	due := one.stepTo(ref.Key)
	w.mu.Unlock()
	if !due || w.ctx.Err() != nil {
		return
	}
	names, ok := w.fs.entries.Dir(level)
	if !ok {
		names = w.part(level)
	}
	w.mu.Lock()
	batch := one.next(names)
	w.mu.Unlock()
	var fetched []string
	for _, e := range batch {
		if fetch(e) {
			fetched = append(fetched, e.Key)
		}
	}
	w.mu.Lock()
	for _, key := range fetched {
		one.fetched(key)
	}
	w.mu.Unlock()
}

// listed tells what a program has just read of the listing of level. It is of use until all of
// it is known.
func (w *walks) listed(level backend.Ref, names []backend.Entry) {
	if len(names) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before, known := w.parts[level]
	if !known && len(w.parts) >= maxWalks {
		clear(w.parts)
	}
	if len(before) > 0 && before[len(before)-1].Key < names[0].Key {
		names = append(before[max(0, len(before)-dirBatch):len(before):len(before)], names...)
	}
	w.parts[level] = names
}

func (w *walks) part(level backend.Ref) []backend.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parts[level]
}

// ask asks for the attributes of ref in the background, unless that is being done.
func (w *walks) ask(store backend.Store, ref backend.Ref) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asking[ref] != nil || w.ctx.Err() != nil {
		return false
	}
	over := w.beginLocked(ref)
	w.wg.Go(func() {
		defer over()
		select {
		case w.slots <- struct{}{}:
			if _, known := w.fs.fromListing(w.ctx, store, ref); !known {
				_, _ = w.fs.head(w.ctx, store, ref) // who needs it will see for himself
			}
			<-w.slots
		case <-w.ctx.Done():
		}
	})
	return true
}

// alone makes the caller the only one who asks for ref until it calls over. If somebody else is
// at it, it waits for that and reports false.
func (w *walks) alone(ctx context.Context, ref backend.Ref) (over func(), ok bool, err error) {
	w.mu.Lock()
	busy := w.asking[ref]
	if busy == nil {
		defer w.mu.Unlock()
		return w.beginLocked(ref), true, nil
	}
	w.mu.Unlock()
	select {
	case <-busy:
		return nil, false, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

func (w *walks) beginLocked(ref backend.Ref) (over func()) {
	done := make(chan struct{})
	w.asking[ref] = done
	return func() {
		w.mu.Lock()
		delete(w.asking, ref)
		w.mu.Unlock()
		close(done)
	}
}
