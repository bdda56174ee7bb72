package blocks

import (
	"os"
	"sync"
)

// A version is one version of one object as far as it is on disk: a sparse file of the
// object's size. It exists from the first granule written until its last block is evicted,
// or it is taken or forgotten.
type version struct {
	source
	gen  uint64
	path string

	// io is held while the file is made, written, punched, lent, renamed or removed, so
	// that none of these meets another. It is taken before disk.mu, and only one at a time.
	io sync.Mutex

	// The rest is guarded by disk.mu.
	blocks  map[uint32]*block
	valid   int64 // granules in blocks
	checked int64 // of these, known good since the start
	alloc   int64 // bytes on disk when last looked at, see allocated
	fills   int   // Fills at work: nothing is evicted
	lent    bool  // somebody else may have the file open: nothing is evicted, see lease.go
	kept    bool  // of a pinned name: nothing is evicted, see pin.go
	used    bool  // File answered from it since it was lent
	asOne   bool  // evict only as a whole: whether others have it open cannot be told
	summing bool  // queued for the summer
	gone    bool  // no longer in disk.versions; never comes back
	handle  *handle
}

// A block is the state of up to blockGranules granules on disk; bit i is the i-th of them.
// A reader that read the file without a lock compares the pointer afterwards: the same
// block still there means that nothing was punched meanwhile.
type block struct {
	valid   uint8 // written
	checked uint8 // known good since the start: written by us, or read and compared
	summed  uint8 // crc is known; an adopted file is valid before that
	hot     bool  // was frequent when it was pinned
	crc     [blockGranules]uint32
}

// A handle is the cache's one open descriptor of a version. Guarded by disk.mu but for once.
type handle struct {
	once sync.Once
	f    *os.File
	err  error
	refs int
}

func (h *handle) open(path string) (*os.File, error) {
	h.once.Do(func() {
		if h.f == nil {
			h.f, h.err = os.OpenFile(path, os.O_RDWR, 0)
		}
	})
	return h.f, h.err
}

func blockOf(g int64) (index uint32, bit uint8) {
	return uint32(g / blockGranules), 1 << (g % blockGranules)
}

func (v *version) key(index uint32) blockKey { return blockKey{v.id, index} }

func (v *version) pinned() bool { return v.busy() || v.kept }

// busy reports whether somebody is at work with the file.
func (v *version) busy() bool { return v.fills > 0 || v.lent }

func (v *version) whole() bool { return v.valid == granules(v.size) }

// sound reports whether the whole file can be trusted.
func (v *version) sound() bool { return v.whole() && v.checked == v.valid }

// holds reports whether granule g is written.
func (v *version) holds(g int64) bool {
	i, bit := blockOf(g)
	b := v.blocks[i]
	return b != nil && b.valid&bit != 0
}

// weight is what a block's granules take on disk, in bytes.
func (v *version) weight(index uint32, unit int64) (n int64) {
	b := v.blocks[index]
	for i := range int64(blockGranules) {
		if b.valid&(1<<i) != 0 {
			n += roundUp(int64(granuleLen(v.size, int64(index)*blockGranules+i)), unit)
		}
	}
	return n
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
