package blocks

import (
	"bytes"
	"sync"
	"testing"
)

// TestPunchedBlockIsNotReadAsZeros reads a block without a pause while it is evicted and
// written again.
func TestPunchedBlockIsNotReadAsZeros(t *testing.T) {
	b := newBench(t, Options{})
	d := b.cache.disk
	data := randomBytes(1, 2*blockSize)
	s := source{id: id{2}, size: int64(len(data))}
	put := func(g int64) {
		d.jobs <- job{source: s, g: g, data: data[g*granuleSize:][:granuleSize], done: func(err error) {
			if err != nil {
				t.Error(err)
			}
		}}
	}
	put(blockGranules) // the other block, so that eviction punches
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var reads int
	wg.Go(func() {
		p := make([]byte, blockSize)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, _ := d.read(s, p, 0, -1)
			if !bytes.Equal(p[:n], data[:n]) {
				t.Errorf("read of a block that is being evicted: %d wrong bytes", n)
				return
			}
			if n > 0 {
				reads++
			}
		}
	})
	for i := 0; i < 500 && !t.Failed(); i++ {
		for g := range int64(blockGranules) {
			put(g)
		}
		b.settle()
		v, _ := d.find(s, 0)
		d.evict(v, v.key(0))
	}
	close(stop)
	wg.Wait()
	if reads == 0 {
		t.Error("nothing was read from disk")
	}
	if err := d.invariants(); err != nil {
		t.Error(err)
	}
}
