package blocks

import (
	"errors"
	"io"
	"os"
)

// read copies bytes from off into p as far as they are on disk without a gap, and returns
// how many; 0 means that off is not here. touched is the block the caller read last: another
// one counts as a use. It returns the block it ended in.
func (d *disk) read(s source, p []byte, off, touched int64) (n int, last int64) {
	d.mu.Lock()
	v := d.versions[s.id]
	if v == nil || !v.holds(off/granuleSize) {
		d.mu.Unlock()
		return 0, touched
	}
	r := v.runLocked(off, len(p))
	for i := range r.blocks {
		if at := int64(r.first) + int64(i); at != touched {
			d.policy.use(v.key(uint32(at)))
		}
	}
	h := d.acquireLocked(v)
	d.mu.Unlock()
	defer d.release(v, h)

	f, err := h.open(v.path)
	if err != nil {
		d.lose(v, "open", err)
		return 0, touched
	}
	if r.unchecked && !d.check(v, f, off/granuleSize) {
		return 0, touched
	}
	if _, err := f.ReadAt(p[:r.n], off); err != nil {
		d.lose(v, "read", err)
		return 0, touched
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !v.stillLocked(r) {
		return 0, touched
	}
	return r.n, int64(r.first) + int64(len(r.blocks)) - 1
}

// A run is a stretch of granules of one version that are on disk, as seen at one moment.
type run struct {
	n         int    // bytes
	first     uint32 // index of blocks[0]
	blocks    []*block
	unchecked bool // it is one granule that was not compared since the start
}

// runLocked returns the run at off, of at most n bytes. The granule at off is on disk.
func (v *version) runLocked(off int64, n int) run {
	g := off / granuleSize
	i, bit := blockOf(g)
	r := run{first: i, blocks: []*block{v.blocks[i]}, unchecked: v.blocks[i].checked&bit == 0}
	end := (g + 1) * granuleSize
	for !r.unchecked && end < off+int64(n) {
		i, bit := blockOf(end / granuleSize)
		b := v.blocks[i]
		if b == nil || b.checked&bit == 0 {
			break
		}
		if b != r.blocks[len(r.blocks)-1] {
			r.blocks = append(r.blocks, b)
		}
		end += granuleSize
	}
	r.n = int(min(off+int64(n), end, v.size) - off)
	return r
}

// stillLocked reports whether nothing of r left the disk since it was seen. What was read
// in between is then what was valid all the time.
func (v *version) stillLocked(r run) bool {
	if v.gone {
		return false
	}
	for i, b := range r.blocks {
		if v.blocks[r.first+uint32(i)] != b {
			return false
		}
	}
	return true
}

// check compares granule g with its checksum and drops it if they differ.
func (d *disk) check(v *version, f *os.File, g int64) bool {
	sum, err := d.sumOf(f, g*granuleSize, granuleLen(v.size, g))
	if err != nil && !errors.Is(err, io.EOF) {
		d.lose(v, "read", err)
		return false
	}
	good, damaged := d.compare(v, g, sum, err == nil)
	if damaged && d.count.corrupt.Add(1) == 1 {
		d.log.Warn("cache file does not match its checksum, fetching again", "path", v.path, "off", g*granuleSize)
	}
	return good
}

// compare notes the checksum that was found in the file, if it could be read as far as that.
// A granule with another one is forgotten: its room is used again by the granule that
// replaces it, or freed with its block.
func (d *disk) compare(v *version, g int64, sum uint32, read bool) (good, damaged bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, bit := blockOf(g)
	b := v.blocks[i]
	switch {
	case v.gone || b == nil || b.valid&bit == 0:
		return false, false
	case b.checked&bit != 0:
		return true, false
	case !read || sum != b.crc[g%blockGranules]:
		b.valid &^= bit
		v.valid--
		d.recordLocked(v, i)
		return false, true
	}
	b.checked |= bit
	v.checked++
	return true, false
}

// sumOf is the checksum of n bytes at off. It reads in small pieces: no buffer of the
// readers' budget is needed.
func (d *disk) sumOf(f *os.File, off int64, n int) (sum uint32, err error) {
	scratch := d.scratch.Get().(*[scratchSize]byte)
	defer d.scratch.Put(scratch)
	for n > 0 {
		p := scratch[:min(n, scratchSize)]
		if _, err := f.ReadAt(p, off); err != nil {
			return 0, err
		}
		sum = extend(sum, p)
		off += int64(len(p))
		n -= len(p)
	}
	return sum, nil
}

// lose forgets a version whose file cannot be read.
func (d *disk) lose(v *version, op string, err error) {
	if !errors.Is(err, os.ErrNotExist) { // somebody cleaned up by hand: no fault of the disk
		d.fail(op, err)
	}
	d.remove(v)
}
