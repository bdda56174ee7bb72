package blocks

import (
	"context"
	"fmt"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// A Reader reads one version of one object. Its methods may be called concurrently; reads
// that arrive out of order by what a kernel keeps in flight still count as sequential.
type Reader struct {
	c *Cache
	object

	mu      sync.Mutex // taken before the locks of memory, disk and tempo
	streams streams
	touched int64 // block that was read from disk last
	closed  bool
}

// ReadAt fills p from off. It returns fewer bytes than that without an error only at the
// object's end, and never io.EOF. Errors are those of Store.Get: ErrChanged when bytes that
// are not here exist no more in this version, ErrArchived when they cannot be had now. When
// ctx is done it returns ctx's error, while what it asked the store for goes on as long as
// the reader is open and has not turned elsewhere: an interrupted read is often repeated.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, backend.ErrInvalid)
	}
	if off >= r.size || len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), r.size-off)]
	s := r.note(off, int64(len(p)))
	n := 0
	for n < len(p) {
		m, err := r.some(ctx, s, p[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	r.readAhead(s)
	return n, nil
}

// Close ends read-ahead. Reads that are under way finish.
func (r *Reader) Close() {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	for _, s := range r.streams.all {
		r.endLocked(s)
	}
	r.mu.Unlock()
	if !closed {
		r.c.readerClosed()
	}
}

// some copies at least one byte at off into p, from memory, from disk or from the store.
func (r *Reader) some(ctx context.Context, s *stream, p []byte, off int64) (int, error) {
	g := off / granuleSize
	if gr := r.c.memory.attach(granuleKey{r.id, g}); gr != nil {
		select {
		case <-gr.done:
			r.c.count.hits.Add(1)
		default:
			r.c.count.misses.Add(1)
			r.readAhead(s)
		}
		return r.use(ctx, gr, p, off)
	}
	if n := r.fromDisk(p, off); n > 0 {
		r.c.count.hits.Add(1)
		return n, nil
	}
	gr, err := r.demand(ctx, s, g, off+int64(len(p)))
	if err != nil {
		return 0, err
	}
	r.c.count.misses.Add(1)
	r.readAhead(s)
	return r.use(ctx, gr, p, off)
}

// use waits for a granule that is pinned, copies from it and unpins it.
func (r *Reader) use(ctx context.Context, gr *granule, p []byte, off int64) (int, error) {
	err := gr.wait(ctx)
	n := 0
	if err == nil {
		n = copy(p, gr.data[off-gr.g*granuleSize:])
	}
	r.c.memory.unpin(gr, n > 0)
	return n, err
}

func (r *Reader) fromDisk(p []byte, off int64) int {
	if r.noDisk || r.c.disk == nil {
		return 0
	}
	r.mu.Lock()
	touched := r.touched
	r.mu.Unlock()
	n, last := r.c.disk.read(r.source, p, off, touched)
	if last != touched {
		r.mu.Lock()
		r.touched = last
		r.mu.Unlock()
	}
	return n
}

// demand returns granule g, pinned. It is on its way with those that follow up to byte end,
// or further: a small object comes as a whole, a sequential reader gets a range.
func (r *Reader) demand(ctx context.Context, s *stream, g, end int64) (*granule, error) {
	w := wish{key: granuleKey{r.id, g}, from: g, to: min(granules(end), g+rangeGranules)}
	if r.size <= leastRange {
		w.from, w.to = 0, granules(r.size)
	} else if ahead := r.ahead(s); ahead > 0 {
		w.nice = min(g+ahead, g+rangeGranules, granules(r.size))
	}
	r.trim(&w)
	f := r.newFetch(false)
	gr, err := r.c.memory.demand(ctx, f, w)
	if len(f.granules) == 0 {
		f.cancel()
		return gr, err
	}
	r.mu.Lock()
	r.launchLocked(s, f)
	r.mu.Unlock()
	return gr, nil
}

// trim cuts from a wish what is on disk.
func (r *Reader) trim(w *wish) {
	if r.noDisk || r.c.disk == nil {
		return
	}
	missing := func(from, to int64) int64 { return from + r.c.disk.missing(r.source, from, to-from) }
	for g := w.key.g; g > w.from; g-- {
		if missing(g-1, g) == g-1 {
			w.from = g
		}
	}
	w.to = max(w.key.g+1, missing(w.key.g, w.to))
	if w.nice > w.to {
		w.nice = missing(w.to, w.nice)
	}
}

func (r *Reader) newFetch(ahead bool) *fetch {
	ctx, cancel := context.WithCancel(r.c.ctx)
	return &fetch{object: r.object, ahead: ahead, ctx: ctx, cancel: cancel, wanted: 1}
}
