package blocks

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// Granules that were read are kept in memory for the next read as long as nobody needs
	// the room, up to this share of the budget and this many bytes: the disk tier and the
	// kernel's page cache keep the rest better.
	spentShare = 4
	maxSpent   = 32 << 20
)

// A granuleKey names a granule of a version.
type granuleKey struct {
	id id
	g  int64
}

// memory is the memory tier: granules on their way from the store, read ahead of readers, or
// just read. It never has more buffers than total.
//
// A fetch reserves the buffers of all its granules before it asks the store, and never waits
// for memory once it has begun. So every fetch ends, and what it brought can be dropped at
// any time unless a reader or the disk writer is copying it right now: a reader that waits
// for its first granule gets one sooner or later, however small the budget is.
type memory struct {
	total, keep, spare int // granules; constant

	mu     sync.Mutex // leaf
	held   map[granuleKey]*granule
	taken  int // buffers reserved or in use
	free   [][]byte
	closed bool                                 // nothing is kept any more
	ahead  *simplelru.LRU[granuleKey, *granule] // ready, not yet read, not pinned
	spent  *simplelru.LRU[granuleKey, *granule] // ready, read, not pinned
	queue  []chan struct{}                      // readers that wait for a buffer, each closed in turn
	used   int64                                // bytes read ahead that were read, see trust
	wasted int64                                // bytes read ahead that were not
}

// A granule is a piece of an object in memory, or on its way there.
type granule struct {
	granuleKey
	fetch *fetch
	ahead bool          // fetched without being asked for
	done  chan struct{} // closed when data or err is set

	// Guarded by memory.mu until done is closed; data and err do not change after that.
	data  []byte
	err   error
	pins  int // readers waiting or copying, and the disk writer
	read  bool
	gone  bool      // not in held: its buffer is free with the last pin
	since time.Time // when it was ready
}

func newMemory(bytes int64) *memory {
	m := &memory{total: int(bytes / granuleSize), held: map[granuleKey]*granule{}}
	m.keep = int(min(bytes/spentShare, maxSpent) / granuleSize)
	m.spare = m.total / demandShare
	m.ahead, m.spent = newGranules(), newGranules()
	return m
}

func newGranules() *simplelru.LRU[granuleKey, *granule] {
	lru, err := simplelru.NewLRU[granuleKey, *granule](math.MaxInt, nil)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return lru
}

// attach returns granule k, pinned for the caller, if it is here or on its way; else nil.
func (m *memory) attach(k granuleKey) *granule {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attachLocked(k)
}

func (m *memory) attachLocked(k granuleKey) *granule {
	gr := m.held[k]
	if gr != nil {
		gr.pins++
		gr.fetch.wanted++
		m.ahead.Remove(gr.granuleKey)
		m.spent.Remove(gr.granuleKey)
	}
	return gr
}

// unpin is the reverse of attach; read tells that the caller made use of it. A fetch that
// nobody wants any more is cancelled.
func (m *memory) unpin(gr *granule, read bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if read && !gr.read {
		gr.read = true
		if gr.ahead {
			m.judgeLocked(len(gr.data), 0)
		}
	}
	m.unpinLocked(gr)
	m.leaveLocked(gr.fetch)
}

// written is unpin for the disk writer.
func (m *memory) written(gr *granule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unpinLocked(gr)
}

func (m *memory) unpinLocked(gr *granule) {
	gr.pins--
	if gr.pins == 0 && gr.data != nil {
		m.restLocked(gr)
	}
}

// leave ends the interest of the stream that began f.
func (m *memory) leave(f *fetch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaveLocked(f)
}

func (m *memory) leaveLocked(f *fetch) {
	f.wanted--
	if f.wanted > 0 {
		return
	}
	f.cancel()
	for _, gr := range f.granules {
		if gr.data == nil && m.held[gr.granuleKey] == gr {
			delete(m.held, gr.granuleKey) // whoever comes now asks for itself
		}
	}
}

// restLocked puts a granule that nobody uses where it can be dropped.
func (m *memory) restLocked(gr *granule) {
	switch {
	case gr.gone:
		m.recycleLocked(gr)
	case gr.read:
		m.spent.Add(gr.granuleKey, gr)
		for m.spent.Len() > m.keep {
			_, old, _ := m.spent.GetOldest()
			m.dropLocked(old)
		}
		m.wakeLocked()
	default:
		m.ahead.Add(gr.granuleKey, gr)
		m.wakeLocked()
	}
}

// dropLocked forgets a ready granule; its buffer is free when nobody uses it any more.
func (m *memory) dropLocked(gr *granule) {
	m.ahead.Remove(gr.granuleKey)
	m.spent.Remove(gr.granuleKey)
	delete(m.held, gr.granuleKey)
	if gr.ahead && !gr.read {
		m.judgeLocked(0, len(gr.data))
	}
	gr.gone = true
	if gr.pins == 0 {
		m.recycleLocked(gr)
	}
}

func (m *memory) recycleLocked(gr *granule) {
	m.freeLocked(gr.data)
	gr.data = nil
	m.taken--
	m.wakeLocked()
}

func (m *memory) freeLocked(b []byte) {
	if m.closed {
		freeBuffer(b)
		return
	}
	m.free = append(m.free, b[:granuleSize])
}

// buffer returns one of the buffers that a fetch reserved.
func (m *memory) buffer() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b
	}
	return newBuffer()
}

// publish makes a granule ready. hold pins it for the disk writer.
func (m *memory) publish(gr *granule, data []byte, hold bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gr.data, gr.since = data, time.Now()
	// It came although nobody wanted it any more (leaveLocked), and may be asked for anew.
	gr.gone = m.held[gr.granuleKey] != gr
	close(gr.done)
	if hold {
		gr.pins++
	}
	if gr.pins == 0 {
		m.restLocked(gr)
	}
}

// fail ends granules that will not come. buf is the buffer that one of them had, or nil.
func (m *memory) fail(grs []*granule, buf []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if buf != nil {
		m.freeLocked(buf)
	}
	for _, gr := range grs {
		if m.held[gr.granuleKey] == gr {
			delete(m.held, gr.granuleKey)
		}
		gr.err, gr.gone = err, true
		close(gr.done)
		m.taken--
		m.wakeLocked()
	}
}

// wait returns when gr is ready, has failed, or ctx is done. It stays pinned.
func (gr *granule) wait(ctx context.Context) error {
	select {
	case <-gr.done:
		return gr.err
	default:
	}
	select {
	case <-gr.done:
		return gr.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// judgeLocked counts what became of bytes that were read ahead; the past fades.
func (m *memory) judgeLocked(used, wasted int) {
	m.used += int64(used)
	m.wasted += int64(wasted)
	if m.used+m.wasted > trustSpan {
		m.used /= 2
		m.wasted /= 2
	}
}

const trustSpan = 256 << 20 // bytes of read-ahead that trust looks back on

// trusted reports whether read-ahead has proved worth it on this mount lately.
func (m *memory) trusted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used+m.wasted >= 2*rangeSize && m.used >= 7*m.wasted
}

// demote tells that the stream for which granules [from, to) were fetched has ended: those
// it did not read are worth no more than what was read.
func (m *memory) demote(i id, from, to int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for g := from; g < to; g++ {
		gr := m.held[granuleKey{i, g}]
		if gr == nil || !m.ahead.Remove(gr.granuleKey) {
			continue
		}
		if gr.ahead {
			m.judgeLocked(0, len(gr.data))
		}
		gr.ahead, gr.read = false, true
		m.restLocked(gr)
	}
}

// forget drops all granules of a version that have arrived.
func (m *memory) forget(ref uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, gr := range m.held {
		if gr.fetch.ref == ref && gr.data != nil {
			m.dropLocked(gr)
		}
	}
}

func (m *memory) bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(m.taken) * granuleSize
}
