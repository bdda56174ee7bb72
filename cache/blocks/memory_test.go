package blocks

import "testing"

// TestGranuleThatArrivesUnwanted has one come from the store although the last who wanted it has
// left, before its fetch was cancelled, while somebody else has it fetched anew.
func TestGranuleThatArrivesUnwanted(t *testing.T) {
	m := newMemory(16 * granuleSize)
	begin := func() *granule {
		f := &fetch{wanted: 1, cancel: func() {}}
		gr := &granule{granuleKey: granuleKey{id: id{1}}, fetch: f, done: make(chan struct{})}
		f.granules = []*granule{gr}
		m.held[gr.granuleKey] = gr
		m.taken++
		return gr
	}
	late := begin()
	m.leave(late.fetch)
	again := begin()
	for _, gr := range []*granule{late, again} {
		m.publish(gr, m.buffer()[:1], false)
	}
	if err := m.invariants(); err != nil {
		t.Error(err)
	}
	m.close()
}
