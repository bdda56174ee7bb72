package blocks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sys/unix"
)

const (
	idleHandles = 128               // descriptors kept open for the next read
	fileCharge  = 4 << 10           // bytes a file costs besides its blocks: inode, name, extents
	sickLeave   = time.Minute       // how long a failing disk is left alone
	scratchSize = 32 << 10          // bytes read at a time to compare a checksum
	inlineCheck = 8 << 20           // bytes of a file that are compared while the caller waits
	sumUnasked  = 256 << 20         // bytes of a file that are compared in the background because File wanted it
	lockName    = "lock"            // flock of the process that owns the directory
	dataName    = "data"            // the files, in directories named for the first byte of their id
	dirCharge   = int64(fileCharge) // bytes of a directory in data
)

var (
	errSick  = errors.New("cache disk is left alone after an error")
	errStale = errors.New("cache file is gone")
)

// disk is the disk tier: which granules of which versions are on disk, and what leaves.
//
// Bytes are valid by granule, with a CRC32C each; the index file remembers both across
// restarts. A granule that was not written or compared since the start is compared on its
// first read: a crash, a torn write or a flipped bit costs a request, never a wrong byte.
// Eviction punches blocks out of files, because one object may be larger than the cache and
// still have a part worth keeping; only files that others may have open are evicted as a
// whole, when they no longer are.
//
// Nothing that fails here fails a read: methods answer "not here" and the disk is left alone
// for a while.
type disk struct {
	dir     string
	unit    int64 // bytes; what the file system allocates at a time
	log     *slog.Logger
	count   *counters
	lock    *os.File
	scratch sync.Pool // of *[scratchSize]byte

	jobs    chan job      // granules to write, see writer.go
	sums    chan *version // files to compare or sum, see sums.go
	stopped chan struct{} // closed when the last job is done

	journal *journal // its lock is taken before mu

	mu       sync.Mutex
	capacity int64 // bytes
	versions map[id]*version
	byRef    map[uint64][]*version
	policy   *policy // blocks of all versions but pinned ones
	pins     *pins   // names of which everything stays
	used     int64   // bytes; sum of alloc, of directories and of what is reserved for writes
	lent     []*version
	swept    time.Time // when lent was last looked through
	idle     *simplelru.LRU[*version, *handle]
	gen      uint64
	sick     time.Time // until then nothing is written
	failed   bool      // logged; until the disk works again
	mended   bool      // a write worked since
	noPunch  bool      // the file system cannot punch holes
}

func newDisk(o Options, queue int, count *counters) (*disk, error) {
	if err := os.MkdirAll(filepath.Join(o.Dir, dataName), 0o700); err != nil {
		return nil, fmt.Errorf("create cache: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	pins, err := loadPins(o.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load pins: %w", err), lock.Close())
	}
	idle, err := simplelru.NewLRU[*version, *handle](math.MaxInt, nil)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	d := &disk{
		dir:      o.Dir,
		capacity: o.Capacity,
		unit:     allocationUnit(o.Dir),
		log:      o.Log,
		count:    count,
		lock:     lock,
		scratch:  sync.Pool{New: func() any { return new([scratchSize]byte) }},
		jobs:     make(chan job, queue),
		sums:     make(chan *version, 64),
		stopped:  make(chan struct{}),
		journal:  &journal{path: filepath.Join(o.Dir, indexName)},
		versions: map[id]*version{},
		byRef:    map[uint64][]*version{},
		policy:   newPolicy(o.Capacity),
		pins:     pins,
		idle:     idle,
		gen:      uint64(time.Now().UnixNano()), // above those of every earlier run
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("load cache index: %w", err), lock.Close())
	}
	return d, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("cache %q is in use by another process: %w", dir, err)
	}
	return f, nil
}

func allocationUnit(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 4 << 10
	}
	return min(max(int64(st.Bsize), 4<<10), granuleSize)
}

// run writes and sums until ctx ends, then writes what is queued.
func (d *disk) run(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { d.write(ctx) })
	wg.Go(func() { d.sum(ctx) })
}

// close persists the index. Nothing may be at work any more.
func (d *disk) close() error {
	err := d.finishIndex()
	d.mu.Lock()
	for _, v := range d.lent {
		d.closeLocked(v)
	}
	for _, h := range d.idle.Values() {
		_ = h.f.Close() // nothing is buffered in it
	}
	d.idle.Purge()
	d.mu.Unlock()
	return errors.Join(err, d.lock.Close())
}

// missing returns how many of the granules [g, g+n) come before the first that is on disk.
func (d *disk) missing(s source, g, n int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.versions[s.id]
	if v == nil {
		return n
	}
	for i := range n {
		if v.holds(g + i) {
			return i
		}
	}
	return n
}

// fail notes that an operation on the disk failed. It says so once, until something works.
func (d *disk) fail(op string, err error) {
	d.mu.Lock()
	first := !d.failed
	d.failed, d.mended, d.sick = true, false, time.Now().Add(sickLeave)
	d.mu.Unlock()
	if first {
		d.log.Warn("cache disk fails, reading past it", "op", op, "err", err)
	}
}

func (d *disk) healthy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.failed || time.Now().After(d.sick)
}

// acquireLocked returns v's handle for use until release. The caller opens it unlocked.
func (d *disk) acquireLocked(v *version) *handle {
	if v.handle == nil {
		v.handle = &handle{}
	}
	v.handle.refs++
	d.idle.Remove(v)
	return v.handle
}

func (d *disk) release(v *version, h *handle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.releaseLocked(v, h)
}

func (d *disk) releaseLocked(v *version, h *handle) {
	h.refs--
	if h.refs > 0 {
		return
	}
	switch {
	case h.err != nil || v.gone && !v.lent:
		d.closeLocked(v)
		return
	case v.gone:
		return // sweep asks by this descriptor, there is no path to open it again
	}
	d.idle.Add(v, h)
	if d.idle.Len() > idleHandles {
		old, _, _ := d.idle.GetOldest()
		d.closeLocked(old)
	}
}

// closeLocked closes v's descriptor if nobody uses it. Nothing is ever buffered in it, so
// that this neither blocks nor fails.
func (d *disk) closeLocked(v *version) {
	h := v.handle
	if h == nil || h.refs > 0 {
		return
	}
	d.idle.Remove(v)
	v.handle = nil
	if h.f != nil {
		_ = h.f.Close()
	}
}

// settleLocked corrects the account after v's file changed its size on disk.
func (d *disk) settleLocked(v *version, alloc int64) {
	d.used += alloc - v.alloc
	v.alloc = alloc
}

// allocated is what a file takes on disk, in bytes.
func allocated(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Blocks*512 + fileCharge, nil
}

// pinLocked takes v's blocks out of eviction's reach; call it before v becomes pinned.
func (d *disk) pinLocked(v *version) {
	if v.pinned() {
		return
	}
	for i, b := range v.blocks {
		b.hot = d.policy.remove(v.key(i))
	}
}

// unpinLocked is the reverse; call it when v is no longer pinned.
func (d *disk) unpinLocked(v *version) {
	if v.pinned() || v.gone {
		return
	}
	for i, b := range v.blocks {
		d.policy.add(v.key(i), v.weight(i, d.unit), b.hot || v.used)
		b.hot = false
	}
	v.used = false
}

// enterLocked makes v known.
func (d *disk) enterLocked(v *version) {
	d.versions[v.id] = v
	d.byRef[v.ref] = append(d.byRef[v.ref], v)
	d.keepNewestLocked(v.ref)
}
