package blocks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	// The driver resumes a body that breaks off; these attempts are for a range as a whole.
	fetchAttempts = 3
	fetchPause    = 100 * time.Millisecond // before the second attempt, doubled for each further one
)

// A fetch is one range on its way from the store. It belongs to the cache, not to the reader
// that began it: whoever wants one of its granules waits for that, and the fetch is cancelled
// when nobody does.
type fetch struct {
	object
	ahead    bool        // counted by tempo, and its failure is of no interest to anybody
	lone     bool        // of no stream: it says nothing about the tempo of one
	granules []*granule  // contiguous; constant once begun
	ended    func(error) // called once it is over, without locks

	ctx    context.Context // the cache's, ended by cancel
	cancel context.CancelFunc
	wanted int // guarded by memory.mu; readers that wait, and the stream that began it

	// Of the goroutine that runs it.
	ready   int // granules published
	buf     []byte
	filled  int           // bytes in buf
	latency time.Duration // from the request to the first byte, of the last attempt
}

// An object is a version and where to get it.
type object struct {
	source
	store  backend.Store
	key    string
	etag   string
	noDisk bool // has no ETag: its bytes may be of any version and are not kept
}

// run brings the granules one after the other, when it is its turn to ask the store.
func (c *Cache) run(f *fetch) {
	err := c.slots.Acquire(f.ctx, 1)
	if err == nil {
		err = c.transfer(f)
		c.slots.Release(1)
	}
	if err != nil && c.ctx.Err() != nil {
		err = errClosed
	}
	c.memory.fail(f.granules[f.ready:], f.buf, err)
	f.cancel()
	f.ended(err)
}

// transfer asks for the range, and for the rest of it if the store fails for a while.
func (c *Cache) transfer(f *fetch) error {
	for attempt := 1; ; attempt++ {
		reached := f.reached()
		begun := c.tempo.now()
		err := c.stream(f)
		if err == nil && f.ahead && !f.lone && attempt == 1 {
			c.tempo.sample(begun, f.reached()-reached)
		}
		if err == nil || attempt == fetchAttempts || f.ctx.Err() != nil || !errors.Is(err, backend.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(fetchPause << (attempt - 1)):
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// reached is how many bytes of the range have arrived.
func (f *fetch) reached() int64 {
	return int64(f.ready)*granuleSize + int64(f.filled)
}

// extent is the range in bytes of the object.
func (f *fetch) extent() (off, n int64) {
	first, last := f.granules[0].g, f.granules[len(f.granules)-1].g
	off = first * granuleSize
	return off, min((last+1)*granuleSize, f.size) - off
}

// stream is one GET of what has not arrived.
func (c *Cache) stream(f *fetch) error {
	off, n := f.extent()
	reached := f.reached()
	if reached == n {
		return nil
	}
	c.count.requests.Add(1)
	asked := time.Now()
	body, err := f.store.Get(f.ctx, f.key, f.etag, off+reached, n-reached)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read to its end or of no use
	f.latency = 0
	for f.ready < len(f.granules) {
		if err := c.fill(f, body, asked); err != nil {
			return fmt.Errorf("read %q at %d: %w", f.key, off+f.reached(), err)
		}
	}
	return nil
}

// fill reads one granule from body and publishes it.
func (c *Cache) fill(f *fetch, body io.Reader, asked time.Time) error {
	gr := f.granules[f.ready]
	want := granuleLen(f.size, gr.g)
	if f.buf == nil {
		f.buf = c.memory.buffer()
	}
	for f.filled < want {
		n, err := body.Read(f.buf[f.filled:want])
		if n > 0 && f.latency == 0 {
			f.latency = time.Since(asked)
			c.tempo.latency(f.latency)
		}
		f.filled += n
		c.count.fetched.Add(int64(n))
		switch {
		case f.filled == want:
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: body ends early: %w", backend.ErrUnavailable, io.ErrUnexpectedEOF)
		case err != nil:
			return err
		}
	}
	data := f.buf[:want]
	f.buf, f.filled = nil, 0
	f.ready++
	c.publish(f, gr, data)
	return nil
}

// publish hands a granule to those who wait for it and to the disk writer.
func (c *Cache) publish(f *fetch, gr *granule, data []byte) {
	keep := !f.noDisk && c.disk != nil
	c.memory.publish(gr, data, keep)
	if !keep {
		return
	}
	j := job{source: f.source, g: gr.g, data: data, done: func(error) { c.memory.written(gr) }}
	if !c.disk.offer(j) {
		c.memory.written(gr)
	}
}
