package fs

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/cache/writeback"
)

// Allocate reserves, punches and zeroes in the staged file as its file system does it. The
// kernel lets no other modes through (EOPNOTSUPP).
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	h.n.mu.Lock()
	file := h.n.file
	h.n.mu.Unlock()
	if file == nil {
		return syscall.EBADF
	}
	var err error
	if fd, ok := file.Fd(); ok {
		for err = unix.EINTR; err == unix.EINTR; { // by a signal of our own, which is not the caller's
			err = unix.Fallocate(fd, mode, int64(off), int64(size))
		}
	} else {
		err = allocateParts(ctx, file, int64(off), int64(off+size), mode)
	}
	ref, _ := h.n.ref()
	return h.n.fs.errno("fallocate", ref, err)
}

// allocateParts is fallocate for a file of which only the changes are staged: a hole in it is
// written zeros, since what is not staged is as in the store.
func allocateParts(ctx context.Context, file *writeback.File, off, end int64, mode uint32) error {
	have, _, _ := file.Stat()
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		if err := writeZeros(file, off, min(end, have)); err != nil {
			return err
		}
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 && end > have {
		return file.Truncate(ctx, end)
	}
	return nil
}

func writeZeros(file *writeback.File, off, end int64) error {
	zeros := make([]byte, 1<<20)
	for off < end {
		n, err := file.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
