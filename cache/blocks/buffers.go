package blocks

import "golang.org/x/sys/unix"

// Buffers lie outside of Go's heap: it lets garbage grow to the size of what lives, and they
// would double that. What is not in use goes back to the system at once.

// newBuffer returns a buffer of a granule, to be given to freeBuffer.
func newBuffer() []byte {
	b, err := unix.Mmap(-1, 0, granuleSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, granuleSize) // too many mappings; the heap has room or nobody has
	}
	return b
}

func freeBuffer(b []byte) {
	_ = unix.Munmap(b[:granuleSize]) // fails only for one of the heap, which frees itself
}

// keepFree is how many buffers are kept for the next reader when nobody reads.
const keepFree = 32

// shrink gives buffers that are not in use back.
func (m *memory) shrink() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trimLocked(keepFree)
}

func (m *memory) trimLocked(keep int) {
	for len(m.free) > keep {
		last := len(m.free) - 1
		freeBuffer(m.free[last])
		m.free[last] = nil
		m.free = m.free[:last]
	}
}

// close gives all buffers back, those that readers still copy from when they are done.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, gr := range m.held {
		if gr.data != nil {
			m.dropLocked(gr)
		}
	}
	m.trimLocked(0)
}
