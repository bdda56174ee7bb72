package blocks

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errNoRoom is why a granule is not kept or a Fill fails: everything on disk is in use, or
// it is larger than the cache.
var errNoRoom = fmt.Errorf("no room in the cache: %w", unix.ENOSPC)

// reserve takes n bytes of the capacity, evicting what it must. The caller gives them back
// with unreserve once the file that they are for is settled.
func (d *disk) reserve(n int64) bool {
	d.sweep(false)
	for {
		d.mu.Lock()
		capacity := d.capacity
		over := d.used+d.journal.bytes()+n > capacity
		if !over {
			d.used += n
		}
		k, found := d.policy.victim()
		v := d.versions[k.id]
		d.mu.Unlock()
		switch {
		case !over:
			return true
		case n > capacity:
			return false
		case found:
			d.evict(v, k)
		case !d.sweep(true):
			return false
		}
	}
}

// yield evicts n bytes because the disk is full: the cache's index needs room, and so do
// others.
func (d *disk) yield(n int64) {
	d.mu.Lock()
	goal := d.used - n
	d.mu.Unlock()
	for {
		d.mu.Lock()
		k, found := d.policy.victim()
		v, enough := d.versions[k.id], d.used <= goal
		d.mu.Unlock()
		if !found || enough {
			return
		}
		d.evict(v, k)
	}
}

const yielded = 4 << 20 // bytes

func (d *disk) unreserve(n int64) {
	d.mu.Lock()
	d.used -= n
	d.mu.Unlock()
}

// evict removes block k of v from the disk.
func (d *disk) evict(v *version, k blockKey) {
	v.io.Lock()
	defer v.io.Unlock()
	d.mu.Lock()
	b := v.blocks[k.index]
	if v.gone || b == nil || v.pinned() {
		d.mu.Unlock() // it changed since it was chosen, and is no longer in policy
		return
	}
	d.policy.evict(k)
	d.count.evictions.Add(1)
	if len(v.blocks) == 1 || v.asOne || d.noPunch {
		d.leaveLocked(v)
		d.mu.Unlock()
		d.unlink(v)
		return
	}
	v.valid -= bits(b.valid)
	v.checked -= bits(b.checked)
	delete(v.blocks, k.index)
	d.recordLocked(v, k.index)
	h := d.acquireLocked(v)
	d.mu.Unlock()
	defer d.release(v, h)
	if err := d.punch(v, h, int64(k.index)*blockSize); err != nil {
		if !errors.Is(err, unix.EOPNOTSUPP) {
			d.fail("punch", err)
		}
		d.mu.Lock()
		d.noPunch = d.noPunch || errors.Is(err, unix.EOPNOTSUPP)
		if !v.gone {
			d.leaveLocked(v)
		}
		d.mu.Unlock()
		d.unlink(v)
	}
}

func bits(mask uint8) (n int64) {
	for ; mask != 0; mask &= mask - 1 {
		n++
	}
	return n
}

// punch frees a block of v's file. v.io is held.
func (d *disk) punch(v *version, h *handle, off int64) error {
	f, err := h.open(v.path)
	if err != nil {
		return err
	}
	if err := punchHole(f, off, blockSize); err != nil {
		return err
	}
	alloc, err := allocated(f)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.settleLocked(v, alloc)
	d.mu.Unlock()
	return nil
}

func punchHole(f *os.File, off, n int64) error {
	return os.NewSyscallError("fallocate",
		unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n))
}

// remove takes a version off the disk, whatever it is used for.
func (d *disk) remove(v *version) {
	v.io.Lock()
	defer v.io.Unlock()
	d.mu.Lock()
	if v.gone {
		d.mu.Unlock()
		return
	}
	d.leaveLocked(v)
	d.mu.Unlock()
	d.unlink(v)
}

// removeEmpty removes a version that nothing was written for: no block of it could be evicted.
func (d *disk) removeEmpty(v *version) {
	d.mu.Lock()
	empty := len(v.blocks) == 0 && !v.busy() && !v.gone
	d.mu.Unlock()
	if empty {
		d.remove(v)
	}
}

// leaveLocked makes v unknown. Its file is still there, and still counted.
func (d *disk) leaveLocked(v *version) {
	for i := range v.blocks {
		d.policy.remove(v.key(i))
	}
	clear(v.blocks)
	v.gone, v.valid, v.checked = true, 0, 0
	delete(d.versions, v.id)
	if rest := without(d.byRef[v.ref], v); len(rest) > 0 {
		d.byRef[v.ref] = rest
	} else {
		delete(d.byRef, v.ref)
	}
	d.recordGoneLocked(v)
}

func without(vs []*version, v *version) []*version {
	for i := range vs {
		if vs[i] == v {
			return append(vs[:i:i], vs[i+1:]...)
		}
	}
	return vs
}

// unlink removes the file of a version that has left. Bytes that somebody may still have
// open stay counted until sweep finds that nobody has. v.io is held.
func (d *disk) unlink(v *version) {
	d.mu.Lock()
	var h *handle
	if v.lent {
		h = d.acquireLocked(v) // sweep asks by it
	}
	d.mu.Unlock()
	if h != nil {
		_, _ = h.open(v.path) // on failure sweep cannot tell and forgets the file
	}
	err := os.Remove(v.path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if h != nil {
		d.releaseLocked(v, h)
	} else if err == nil || errors.Is(err, os.ErrNotExist) {
		d.settleLocked(v, 0)
	}
	if v.handle != nil && !v.lent {
		d.closeLocked(v)
	}
}

const (
	sweepEvery = time.Second
	sweepBatch = 64 // files asked for at a time
)

// sweep looks at files that were lent out and takes back those that nobody has open any
// more. It does so now and then, or, when all is set, at once until it found one; it reports
// whether it did.
func (d *disk) sweep(all bool) (found bool) {
	d.mu.Lock()
	n := len(d.lent)
	if !all {
		n = min(n, sweepBatch)
		if time.Since(d.swept) < sweepEvery {
			n = 0
		}
	}
	if n > 0 {
		d.swept = time.Now()
	}
	d.mu.Unlock()
	for range n {
		d.mu.Lock()
		if len(d.lent) == 0 {
			d.mu.Unlock()
			break
		}
		v := d.lent[0]
		d.lent = d.lent[1:]
		d.mu.Unlock()
		if d.takeBack(v) {
			found = true
			if all {
				break
			}
		}
	}
	return found
}
