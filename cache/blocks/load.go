package blocks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// load reads the index and makes the directory agree with it.
func (d *disk) load() error {
	if clean := d.replay(); !clean {
		if err := d.survey(); err != nil {
			return err
		}
	}
	shards, err := os.ReadDir(filepath.Join(d.dir, dataName))
	if err != nil {
		return err
	}
	d.used += int64(len(shards)) * dirCharge
	for _, v := range d.versions {
		if len(v.blocks) == 0 { // all of it was found damaged
			if err := ignoreAbsent(os.Remove(v.path)); err != nil {
				return err
			}
			d.settleLocked(v, 0)
			delete(d.versions, v.id)
			continue
		}
		for i := range v.blocks {
			v.valid += bits(v.blocks[i].valid)
		}
		if v.alloc == 0 { // not surveyed
			n := int64(fileCharge)
			for i := range v.blocks {
				n += v.weight(i, d.unit)
			}
			d.settleLocked(v, n)
		}
		d.enterLocked(v)
	}
	d.journal.io.Lock()
	err = d.rewrite(false)
	d.journal.io.Unlock()
	if err != nil {
		d.fail("index", err) // a full disk must not keep anybody from mounting
	}
	d.reserve(0) // the capacity may be less than last time
	return nil
}

// replay reads the index into versions and policy. It reports whether the index says that it
// is complete. An index that cannot be read is an empty one.
func (d *disk) replay() (clean bool) {
	b, err := os.ReadFile(d.journal.path)
	if err != nil || !strings.HasPrefix(string(b), indexHeader) {
		return false
	}
	for b = b[len(indexHeader):]; len(b) >= recordSize; b = b[recordSize:] {
		r, ok := parseRecord(b)
		if !ok {
			return false // torn: what follows was written after it
		}
		clean = r.index == indexClean
		d.replayOne(r)
	}
	return clean && len(b) == 0
}

func (d *disk) replayOne(r record) {
	v := d.versions[r.id]
	switch {
	case r.index == indexClean:
		return
	case r.index == indexGone:
		if v != nil && v.gen == r.gen {
			for i := range v.blocks {
				d.policy.remove(v.key(i))
			}
			delete(d.versions, r.id)
		}
		return
	case v != nil && v.gen > r.gen:
		return
	case v == nil || v.gen < r.gen:
		v = &version{source: r.source, gen: r.gen, path: filepath.Join(d.dir, fileName(r.id, r.gen)), blocks: map[uint32]*block{}}
		d.versions[r.id] = v
	}
	d.policy.remove(v.key(r.index))
	if r.valid == 0 {
		delete(v.blocks, r.index)
		return
	}
	v.blocks[r.index] = &block{valid: r.valid, summed: r.valid, crc: r.crc}
	d.policy.add(v.key(r.index), v.weight(r.index, d.unit), r.hot)
}

// survey walks the files, which a crash may have left in any state: files that the index
// does not know are removed, holes are punched where it knows of nothing, and versions
// without a file are forgotten.
func (d *disk) survey() error {
	known := map[string]*version{}
	for _, v := range d.versions {
		known[v.path] = v
	}
	err := filepath.WalkDir(filepath.Join(d.dir, dataName), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		v := known[path]
		if v == nil {
			return os.Remove(path)
		}
		if err := d.trim(v); err != nil {
			return fmt.Errorf("trim %q: %w", path, err)
		}
		return nil
	})
	for _, v := range d.versions {
		if v.alloc == 0 {
			d.replayOne(record{source: v.source, gen: v.gen, index: indexGone})
		}
	}
	return err
}

// trim frees what v's file holds besides its blocks.
func (d *disk) trim(v *version) (err error) {
	f, err := os.OpenFile(v.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	alloc, err := allocated(f)
	if err != nil {
		return err
	}
	var known int64
	for i := range v.blocks {
		known += v.weight(i, d.unit)
	}
	if alloc > known+fileCharge {
		for _, hole := range v.holes() {
			if err := punchHole(f, hole[0], hole[1]); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				return err
			}
		}
		if alloc, err = allocated(f); err != nil {
			return err
		}
	}
	d.settleLocked(v, alloc)
	return nil
}

// holes are the stretches of bytes, offset and length, without a valid granule.
func (v *version) holes() (holes [][2]int64) {
	n := granules(v.size)
	for g := int64(0); g < n; {
		from := g
		for g < n && !v.holds(g) {
			g++
		}
		if g > from {
			holes = append(holes, [2]int64{from * granuleSize, (g - from) * granuleSize})
		}
		for g < n && v.holds(g) {
			g++
		}
	}
	return holes
}
