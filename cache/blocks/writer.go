package blocks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A job is a granule to be written. done is called once, by the writer, when data is no
// longer needed.
type job struct {
	source source
	g      int64
	data   []byte
	done   func(error)
}

// offer queues a job unless the queue is full; then done is not called. A reader never waits
// for the disk.
func (d *disk) offer(j job) bool {
	select {
	case d.jobs <- j:
		return true
	default:
		d.count.dropped.Add(1)
		return false
	}
}

// write works off the jobs. It is the only goroutine that stores granules.
func (d *disk) write(ctx context.Context) {
	for {
		select {
		case j := <-d.jobs:
			d.do(j)
		case <-ctx.Done():
			for len(d.jobs) > 0 {
				d.do(<-d.jobs)
			}
			close(d.stopped)
			return
		}
	}
}

func (d *disk) do(j job) {
	err := d.store(j.source, j.g, j.data)
	if err != nil {
		d.count.dropped.Add(1)
	}
	j.done(err)
	if len(d.jobs) == 0 {
		d.flush()
	}
}

// store writes one granule, making room first. A granule that is there already is left
// alone. A version that leaves at the wrong moment is begun anew, once.
func (d *disk) store(s source, g int64, data []byte) error {
	err := d.tryStore(s, g, data)
	if errors.Is(err, errStale) {
		err = d.tryStore(s, g, data)
	}
	return err
}

func (d *disk) tryStore(s source, g int64, data []byte) error {
	v, held := d.find(s, g)
	if held {
		return nil
	}
	if !d.healthy() {
		return errSick
	}
	need := roundUp(int64(len(data)), d.unit)
	if v == nil {
		need += fileCharge
	}
	if !d.reserve(need) {
		return errNoRoom
	}
	defer d.unreserve(need)
	var err error
	if v == nil {
		v, err = d.create(s)
	}
	if err == nil {
		if err = d.put(v, g, data); err != nil {
			d.removeEmpty(v)
		}
	}
	if err != nil && !errors.Is(err, errStale) {
		d.fail("write", err)
	}
	if errors.Is(err, unix.ENOSPC) {
		d.yield(yielded)
	}
	return err
}

func (d *disk) find(s source, g int64) (v *version, held bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v = d.versions[s.id]
	return v, v != nil && v.holds(g)
}

// create makes the sparse file of a version and enters it without any granule.
func (d *disk) create(s source) (*version, error) {
	v := d.newVersion(s)
	if err := d.shard(v.path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(v.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// The size first: file systems guess ahead for writes that extend a file.
	if err := f.Truncate(s.size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(v.path))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.versions[s.id]; other != nil { // adopted meanwhile
		return nil, errors.Join(errStale, f.Close(), os.Remove(v.path))
	}
	v.handle = &handle{f: f}
	d.idle.Add(v, v.handle)
	d.enterLocked(v)
	d.settleLocked(v, fileCharge)
	return v, nil
}

func (d *disk) newVersion(s source) *version {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	return &version{
		source: s,
		gen:    d.gen,
		path:   filepath.Join(d.dir, fileName(s.id, d.gen)),
		blocks: map[uint32]*block{},
	}
}

// shard makes the directory of path.
func (d *disk) shard(path string) error {
	err := os.Mkdir(filepath.Dir(path), 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		d.mu.Lock()
		d.used += dirCharge
		d.mu.Unlock()
	}
	return err
}

// put writes a granule into v's file and makes it valid.
func (d *disk) put(v *version, g int64, data []byte) error {
	v.io.Lock()
	defer v.io.Unlock()
	d.mu.Lock()
	if v.gone {
		d.mu.Unlock()
		return errStale
	}
	h := d.acquireLocked(v)
	d.mu.Unlock()
	defer d.release(v, h)

	f, err := h.open(v.path)
	if err != nil {
		return err
	}
	_, werr := f.WriteAt(data, g*granuleSize)
	alloc, err := allocated(f)
	if err := errors.Join(werr, err); err != nil {
		return fmt.Errorf("write cache file: %w", err)
	}
	sum := checksum(data)
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.gone {
		return errStale
	}
	d.mended = true
	d.settleLocked(v, alloc)
	d.enterGranuleLocked(v, g, sum)
	return nil
}

// enterGranuleLocked makes a granule that was just written or summed valid.
func (d *disk) enterGranuleLocked(v *version, g int64, sum uint32) {
	i, bit := blockOf(g)
	b := v.blocks[i]
	if b == nil {
		b = &block{}
		v.blocks[i] = b
	}
	b.valid |= bit
	b.checked |= bit
	b.summed |= bit
	b.crc[g%blockGranules] = sum
	v.valid++
	v.checked++
	if !v.pinned() {
		d.policy.add(v.key(i), v.weight(i, d.unit), false)
	}
	d.recordLocked(v, i)
}

// storeNow has a granule written and returns when it is on disk. data is not used any more
// when it returns.
func (d *disk) storeNow(ctx context.Context, s source, g int64, data []byte) error {
	done := make(chan error, 1)
	select {
	case d.jobs <- job{source: s, g: g, data: data, done: func(err error) { done <- err }}:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.stopped:
		return errClosed
	}
	select {
	case err := <-done:
		return err
	case <-d.stopped:
		return errClosed
	}
}

// usage is what the cache takes on disk, in bytes and files, and the bytes it may.
func (d *disk) usage() (bytes int64, files int, capacity int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used + d.journal.size + fileCharge, len(d.versions), d.capacity
}

// empty returns a file without bytes that nobody else knows.
func (d *disk) empty() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(d.dir, dataName), "empty-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
