package blocks

import (
	"context"
	"os"
)

// sum works off the files whose checksums are to be made (adopted ones) or compared (those of
// an earlier run that File was asked for).
func (d *disk) sum(ctx context.Context) {
	for {
		select {
		case v := <-d.sums:
			d.sumFile(ctx, v)
			d.flush()
		case <-ctx.Done():
			return
		}
	}
}

// sumLaterLocked queues v. If the queue is full, the next File asks again.
func (d *disk) sumLaterLocked(v *version) {
	if v.summing {
		return
	}
	select {
	case d.sums <- v:
		v.summing = true
	default:
	}
}

// sumFile makes or compares the checksum of every granule of v that lacks it, and stops when
// v leaves the disk: somebody may then write to the file.
func (d *disk) sumFile(ctx context.Context, v *version) {
	d.mu.Lock()
	h := d.acquireLocked(v)
	d.mu.Unlock()
	defer d.release(v, h)
	defer func() {
		d.mu.Lock()
		v.summing = false
		d.mu.Unlock()
	}()
	f, err := h.open(v.path)
	if err != nil {
		d.lose(v, "open", err)
		return
	}
	for g := range granules(v.size) {
		if ctx.Err() != nil || !d.sumGranule(v, f, g) {
			return
		}
	}
}

// sumGranule reports whether v is still there and readable.
func (d *disk) sumGranule(v *version, f *os.File, g int64) bool {
	i, bit := blockOf(g)
	d.mu.Lock()
	gone := v.gone
	var b block
	if at := v.blocks[i]; at != nil {
		b = *at
	}
	d.mu.Unlock()
	switch {
	case gone:
		return false
	case b.valid&bit == 0 || b.checked&b.summed&bit != 0:
		return true
	case b.checked&bit == 0:
		d.check(v, f, g)
		return true
	}
	sum, err := d.sumOf(f, g*granuleSize, granuleLen(v.size, g))
	if err != nil {
		d.lose(v, "read", err)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := v.blocks[i]; !v.gone && at != nil && at.valid&bit != 0 {
		at.summed |= bit
		at.crc[g%blockGranules] = sum
		d.recordLocked(v, i)
	}
	return !v.gone
}
