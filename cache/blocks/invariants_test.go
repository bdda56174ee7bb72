package blocks

import (
	"errors"
	"fmt"
)

// invariants checks what the comments say of guarded fields, at a moment when nothing is at
// work.
func (c *Cache) invariants() error {
	err := c.memory.invariants()
	if c.disk != nil {
		err = errors.Join(err, c.disk.invariants())
	}
	return err
}

func (m *memory) invariants() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("memory: "+format, args...))
		}
	}
	check(m.taken <= m.total, "%d buffers taken of %d", m.taken, m.total)
	check(m.taken == len(m.held), "%d buffers taken, %d granules held", m.taken, len(m.held))
	check(m.taken+len(m.free) <= m.total, "%d buffers taken and %d free of %d", m.taken, len(m.free), m.total)
	check(m.ahead.Len()+m.spent.Len() == len(m.held), "%d + %d granules in the lists, %d held", m.ahead.Len(), m.spent.Len(), len(m.held))
	for k, gr := range m.held {
		check(gr.pins == 0 && gr.data != nil && !gr.gone, "granule %v at rest: %d pins, data %t, gone %t", k, gr.pins, gr.data != nil, gr.gone)
		check(m.ahead.Contains(k) != gr.read, "granule %v: read %t, in ahead %t", k, gr.read, m.ahead.Contains(k))
	}
	check(len(m.queue) == 0, "%d readers wait for buffers", len(m.queue))
	return errors.Join(errs...)
}

func (d *disk) invariants() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("disk: "+format, args...))
		}
	}
	var alloc int64
	blocks := 0
	for i, v := range d.versions {
		check(i == v.id && !v.gone, "version %x known as %x, gone %t", v.id, i, v.gone)
		check(!v.lent || contains(d.lent, v), "version %x is lent and not in the list", v.id)
		check(contains(d.byRef[v.ref], v), "version %x is not known by its ref", v.id)
		check(len(v.blocks) > 0 || v.pinned(), "version %x has no blocks", v.id)
		alloc += v.alloc
		var valid, checked int64
		for j, b := range v.blocks {
			valid += bits(b.valid)
			checked += bits(b.checked)
			in := d.policy.recent.Contains(v.key(j)) || d.policy.frequent.Contains(v.key(j))
			check(in == !v.pinned(), "block %d of %x: pinned %t, in policy %t", j, v.id, v.pinned(), in)
			check(b.checked&^b.valid == 0, "block %d of %x: %b checked, %b valid", j, v.id, b.checked, b.valid)
			if in {
				blocks++
			}
		}
		check(valid == v.valid && checked == v.checked, "version %x: %d valid, %d checked; counted %d, %d", v.id, v.valid, v.checked, valid, checked)
	}
	for _, v := range d.lent {
		if v.gone {
			alloc += v.alloc
		}
	}
	check(blocks == d.policy.len(), "policy has %d blocks, versions have %d", d.policy.len(), blocks)
	check((d.used-alloc)%dirCharge == 0 && d.used >= alloc && d.used-alloc <= 256*dirCharge, "used is %d, files take %d", d.used, alloc)
	check(d.used <= d.capacity, "used is %d of %d", d.used, d.capacity)
	return errors.Join(errs...)
}

func contains(vs []*version, v *version) bool {
	for _, w := range vs {
		if w == v {
			return true
		}
	}
	return false
}
