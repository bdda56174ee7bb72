package blocks

import (
	"math/rand/v2"
	"testing"
)

// TestScanKeepsTheHotSet reads a hot set that fits, then walks a tree ten times the size of
// the cache once, with the hot set read now and then, as a backup run does.
func TestScanKeepsTheHotSet(t *testing.T) {
	const capacity = 1000 // blocks of size 1
	p, held := newPolicy(capacity), map[blockKey]bool{}
	read := func(k blockKey) (hit bool) {
		if held[k] {
			p.use(k)
			return true
		}
		for len(held) >= capacity {
			v, ok := p.victim()
			if !ok {
				t.Fatal("victim() of a full cache: none")
			}
			p.evict(v)
			delete(held, v)
		}
		p.add(k, 1, false)
		held[k] = true
		return false
	}
	rng := rand.New(rand.NewPCG(1, 2))
	hot := func() blockKey { return blockKey{index: uint32(rng.IntN(500))} }
	for range 10_000 {
		read(hot())
	}
	var reads, hits int
	for i := range uint32(10 * capacity) {
		read(blockKey{index: 1000 + i})
		if i%10 == 0 {
			reads++
			if read(hot()) {
				hits++
			}
		}
	}
	if hits*100 < reads*98 {
		t.Errorf("hot set during a scan: %d of %d reads hit, want at least 98 %%", hits, reads)
	}
	if p.ghost.bytes > capacity/ghostShare {
		t.Errorf("ghost holds %d, want at most %d", p.ghost.bytes, capacity/ghostShare)
	}
}

func TestPolicyCountsSizes(t *testing.T) {
	p := newPolicy(100)
	a, b := blockKey{index: 1}, blockKey{index: 2}
	p.add(a, 10, false)
	p.add(a, 15, false) // grown
	p.add(b, 20, false)
	p.use(b)
	if p.recent.bytes != 15 || p.frequent.bytes != 20 {
		t.Errorf("recent, frequent = %d, %d bytes, want 15, 20", p.recent.bytes, p.frequent.bytes)
	}
	p.evict(a)
	p.add(a, 15, false)
	if p.frequent.bytes != 35 {
		t.Errorf("frequent after the return of a ghost = %d bytes, want 35", p.frequent.bytes)
	}
	if !p.remove(a) || !p.remove(b) || p.recent.bytes+p.frequent.bytes != 0 {
		t.Errorf("recent, frequent of nothing = %d, %d bytes", p.recent.bytes, p.frequent.bytes)
	}
}
