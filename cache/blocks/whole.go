package blocks

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// file opens the whole file of s if it is here and sound. What was not compared since the
// start is compared first when the file is small or patient is set. hit tells that the
// answer counts as a use of its blocks.
func (d *disk) file(ctx context.Context, s source, patient, hit bool) (*os.File, bool) {
	v := d.wholeVersion(s)
	if v == nil || !d.verify(ctx, v, patient || s.size <= inlineCheck) {
		return nil, false
	}
	f, err := d.lend(v, hit)
	if err != nil {
		if !errors.Is(err, errStale) {
			d.lose(v, "open", err)
		}
		return nil, false
	}
	return f, true
}

// lend opens v's file for somebody else.
func (d *disk) lend(v *version, hit bool) (*os.File, error) {
	v.io.Lock()
	defer v.io.Unlock()
	d.mu.Lock()
	if v.gone || !v.sound() {
		d.mu.Unlock()
		return nil, errStale
	}
	d.lendLocked(v)
	v.used = v.used || hit
	d.mu.Unlock()
	return os.OpenFile(v.path, os.O_RDWR, 0)
}

func (d *disk) wholeVersion(s source) *version {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := d.versions[s.id]; v != nil && v.whole() {
		return v
	}
	return nil
}

// verify reports whether v is sound, comparing what was not compared since the start if now
// is set; else it has that done in the background unless the file is large.
func (d *disk) verify(ctx context.Context, v *version, now bool) bool {
	d.mu.Lock()
	sound := v.sound()
	if !sound && !now && v.size <= sumUnasked {
		d.sumLaterLocked(v)
	}
	d.mu.Unlock()
	if sound || !now {
		return sound
	}
	d.sumFile(ctx, v)
	d.mu.Lock()
	defer d.mu.Unlock()
	return !v.gone && v.sound()
}

// adopt renames a file that holds exactly s into the cache. It counts as lent: whoever wrote
// it may still have it open.
func (d *disk) adopt(path string, s source) error {
	alloc, err := sizeOnDisk(path, s.size)
	if err != nil {
		return err
	}
	if !d.reserve(alloc) {
		return errNoRoom
	}
	defer d.unreserve(alloc)
	v := d.newVersion(s)
	if err := d.shard(v.path); err != nil {
		return err
	}
	if err := os.Rename(path, v.path); err != nil {
		return err
	}
	for !d.enterWhole(v, alloc) {
		d.replace(s)
	}
	if s.size <= inlineCheck {
		d.sumFile(context.Background(), v)
	}
	d.flush()
	return nil
}

// sizeOnDisk is what the file at path takes on disk; it must be size bytes long.
func sizeOnDisk(path string, size int64) (alloc int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() || st.Size() != size {
		return 0, fmt.Errorf("%q is not a file of %d bytes", path, size)
	}
	return allocated(f)
}

// enterWhole makes v known with every granule valid and known good, unless another version
// is there. It has the checksums made: without them v would not outlast a restart.
func (d *disk) enterWhole(v *version, alloc int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.versions[v.id] != nil {
		return false
	}
	for g := range granules(v.size) {
		i, bit := blockOf(g)
		if v.blocks[i] == nil {
			v.blocks[i] = &block{}
		}
		v.blocks[i].valid |= bit
		v.blocks[i].checked |= bit
	}
	v.valid, v.checked = granules(v.size), granules(v.size)
	d.settleLocked(v, alloc)
	d.enterLocked(v)
	d.lendLocked(v)
	if v.size > inlineCheck {
		d.sumLaterLocked(v)
	}
	return true
}

// replace removes what is here of s.
func (d *disk) replace(s source) {
	d.mu.Lock()
	v := d.versions[s.id]
	d.mu.Unlock()
	if v != nil {
		d.remove(v)
	}
}

// take renames the file of s to path if it is whole and sound. Nothing reads or writes the
// file by the cache's hand afterwards.
func (d *disk) take(s source, path string) bool {
	v := d.wholeVersion(s)
	if v == nil || !d.verify(context.Background(), v, s.size <= inlineCheck) {
		return false
	}
	v.io.Lock()
	defer v.io.Unlock()
	d.mu.Lock()
	if v.gone || !v.sound() {
		d.mu.Unlock()
		return false
	}
	d.leaveLocked(v)
	d.lent = without(d.lent, v)
	v.lent = false
	d.closeLocked(v)
	d.mu.Unlock()
	err := os.Rename(v.path, path)
	if err != nil {
		d.log.Warn("cannot rename a file out of the cache", "path", path, "err", err)
		err = errors.Join(err, os.Remove(v.path)) // it has left already
	}
	d.mu.Lock()
	d.settleLocked(v, 0)
	d.mu.Unlock()
	d.flush()
	return err == nil
}

// forget removes all versions of an object.
func (d *disk) forget(ref uint64) {
	d.mu.Lock()
	vs := append([]*version(nil), d.byRef[ref]...)
	d.mu.Unlock()
	for _, v := range vs {
		d.remove(v)
	}
	d.flush()
}

// beginFill returns the version of s, made if need be, which is not evicted before endFill.
// It makes room for all of it first.
func (d *disk) beginFill(s source) (*version, error) {
	if !d.healthy() {
		return nil, errSick
	}
	for {
		d.mu.Lock()
		v, need := d.versions[s.id], s.size+fileCharge
		if v != nil {
			d.pinLocked(v)
			v.fills++
			need -= v.alloc
		}
		d.mu.Unlock()
		room := d.reserve(max(need, 0))
		if room {
			d.unreserve(max(need, 0))
		}
		switch {
		case v != nil && room:
			return v, nil
		case v != nil:
			d.endFill(v)
			fallthrough
		case !room:
			return nil, errNoRoom
		}
		if _, err := d.create(s); err != nil && !errors.Is(err, errStale) {
			d.fail("create", err)
			return nil, err
		}
	}
}

func (d *disk) endFill(v *version) {
	d.mu.Lock()
	v.fills--
	d.unpinLocked(v)
	d.mu.Unlock()
	d.removeEmpty(v)
}
