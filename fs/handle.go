package fs

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/writeback"
)

// kernelMode is how the kernel treats an inode while it is open. It cannot mix its own
// page cache with passthrough on one inode (an open that tries fails with EIO), so the
// first open decides. Direct I/O, which overrides passthrough in an open that has both,
// serves what fits neither.
type kernelMode uint8

const (
	modeNone   kernelMode = iota // not open
	modeCached                   // reads and writes come to us through the page cache
	modePass                     // the kernel reads and writes one local file itself
	modeMixed                    // passthrough and direct I/O: no more passthrough until all are closed
)

// A handle is an open file.
type handle struct {
	n     *fileNode
	file  *writeback.File // a writer's reference; nil for readers
	local *os.File        // a cached object that the kernel reads itself; nil otherwise
	fd    int             // for passthrough
	sync  bool            // opened with O_SYNC or O_DSYNC: each write is followed by an fsync
}

// A passHandle is a handle that the kernel may serve by itself. go-fuse registers any
// handle of a type with PassthroughFd once an inode has a backing file, so the others are
// of a type without.
type passHandle struct{ *handle }

func (h passHandle) PassthroughFd() (int, bool) { return h.fd, true }

// Lseek finds data and holes of the file that the kernel reads by itself.
func (h passHandle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if h.fd < 0 {
		return h.handle.Lseek(ctx, off, whence)
	}
	at, err := unix.Seek(h.fd, int64(off), int(whence))
	errno, _ := toErrno(err)
	return uint64(at), errno
}

// Lseek says of other files that all is data: what the kernel holds in its cache may fill a
// hole that we see.
func (h *handle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	size := uint64(h.n.attrs().size)
	switch {
	case off >= size:
		return 0, syscall.ENXIO
	case whence == unix.SEEK_HOLE:
		return size, 0
	}
	return off, 0
}

var (
	_ fusefs.FileReader          = (*handle)(nil)
	_ fusefs.FileWriter          = (*handle)(nil)
	_ fusefs.FileFlusher         = (*handle)(nil)
	_ fusefs.FileFsyncer         = (*handle)(nil)
	_ fusefs.FileReleaser        = (*handle)(nil)
	_ fusefs.FileAllocater       = (*handle)(nil)
	_ fusefs.FilePassthroughFder = passHandle{}
	_ fusefs.FileLseeker         = passHandle{}
)

func (n *fileNode) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	at, _ := n.ref()
	fh, fuseFlags, err := n.open(ctx, flags)
	if isNotExist(err) && n.movedFrom(at) {
		fh, fuseFlags, err = n.open(ctx, flags)
	}
	if err != nil {
		ref, _ := n.ref()
		if errors.Is(err, backend.ErrChanged) {
			n.fs.entries.Drop(ref) // ESTALE makes the kernel look the name up again
		}
		return nil, 0, n.fs.errno("open", ref, err)
	}
	return fh, fuseFlags, 0
}

func (n *fileNode) open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, error) {
	h := &handle{n: n, sync: syncs(flags)}
	by := callerOf(ctx, flags)
	truncate := flags&syscall.O_TRUNC != 0
	if !truncate {
		if err := n.awaitBytes(ctx, by); err != nil {
			return nil, 0, err
		}
	}
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		file, err := n.openWrite(ctx, truncate, by)
		if err != nil {
			return nil, 0, err
		}
		h.file = file
		if truncate {
			n.writtenBy(ctx)
		}
	} else if err := n.openRead(ctx, by); err != nil {
		return nil, 0, err
	}
	fh, fuseFlags := n.settle(h)
	return fh, fuseFlags, nil
}

// syncs reports whether a file is opened to have each write stored before it returns.
func syncs(flags uint32) bool {
	return flags&syscall.O_DSYNC != 0 && flags&syscall.O_ACCMODE != syscall.O_RDONLY // O_SYNC has the bit too
}

// settle decides how the kernel is to treat a new handle of n.
func (n *fileNode) settle(h *handle) (fusefs.FileHandle, uint32) {
	fd, local := n.passFd()
	n.mu.Lock()
	defer n.mu.Unlock()
	ino, ok := fileIno(fd)
	ok = ok && n.fs.passthrough.Load()
	switch {
	case n.mode == modeNone && ok && !h.sync:
		n.mode, n.backing = modePass, ino
	case n.mode == modeNone:
		n.mode = modeCached
	case n.mode == modePass && !(ok && ino == n.backing):
		n.mode = modeMixed
	}
	if n.mode == modePass {
		h.fd, h.local = fd, local
		if h.sync { // what the kernel writes alone, we cannot store
			return passHandle{h}, fuse.FOPEN_DIRECT_IO
		}
		return passHandle{h}, 0
	}
	if local != nil {
		_ = local.Close() // never used
	}
	if n.mode == modeMixed {
		h.fd = -1
		return passHandle{h}, fuse.FOPEN_DIRECT_IO
	}
	return h, n.keepCacheLocked()
}

// pages says of what content the kernel's page cache of a file is.
type pages struct {
	etag string          // of a version in the store, or
	file *writeback.File // staged
}

// keepCacheLocked lets the kernel keep its pages if they are of the content now opened. All
// writes go through them, so those of staged content are right as long as it is open. To drop
// them would even do harm: between a write to a page and its request, they are the only place
// with the new bytes.
func (n *fileNode) keepCacheLocked() uint32 {
	now := pages{file: n.file}
	if n.file == nil && n.detached == nil {
		now.etag = n.obj.ETag
	}
	keep := now == n.kept && now != pages{}
	n.kept = now
	if keep {
		return fuse.FOPEN_KEEP_CACHE
	}
	return 0
}

// passFd finds a local file with the whole content of n. local, if not nil, is the
// caller's to close.
func (n *fileNode) passFd() (fd int, local *os.File) {
	n.mu.Lock()
	file, detached, obj := n.file, n.detached, n.obj
	n.mu.Unlock()
	if !n.fs.passthrough.Load() || detached != nil {
		return -1, nil
	}
	if file != nil {
		if fd, ok := file.Fd(); ok {
			return fd, nil
		}
		return -1, nil
	}
	ref, ok := n.ref()
	if !ok || obj.Size == 0 { // an empty object is another file each time
		return -1, nil
	}
	if f, ok := n.fs.blocks.File(ref, obj); ok {
		return int(f.Fd()), f
	}
	return -1, nil
}

func fileIno(fd int) (uint64, bool) {
	var st unix.Stat_t
	if fd < 0 || unix.Fstat(fd, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}

// Read serves what the kernel does not read itself. A reader of a version that the store
// no longer has gets ESTALE, never bytes of another.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	m, err := h.n.readAt(ctx, dest, off)
	if isArchived(err) {
		if err = h.n.thawAgain(ctx); err == nil {
			m, err = h.n.readAt(ctx, dest, off)
		}
		if isArchived(err) {
			err = syscall.ETIMEDOUT // never EAGAIN
		}
	}
	if err != nil {
		ref, _ := h.n.ref()
		if errors.Is(err, backend.ErrChanged) || errors.Is(err, backend.ErrNotExist) {
			h.n.fs.entries.Drop(ref)
			return nil, syscall.ESTALE
		}
		return nil, h.n.fs.errno("read", ref, err)
	}
	return fuse.ReadResultData(dest[:m]), 0
}

func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	h.n.mu.Lock()
	file := h.n.file
	h.n.mu.Unlock()
	if file == nil {
		return 0, syscall.EBADF
	}
	m, err := file.WriteAt(data, off)
	if err != nil && m == 0 {
		ref, _ := h.n.ref()
		return 0, h.n.fs.errno("write", ref, err)
	}
	h.n.writtenBy(ctx)
	if h.sync {
		return uint32(m), h.Fsync(ctx, 0)
	}
	return uint32(m), 0
}

// Flush is close(2): what was written survives the death of thawfs from here on.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	if h.file == nil {
		return 0
	}
	ref, _ := h.n.ref()
	err := h.n.commit()
	if err == nil && h.n.fs.o.SyncClose {
		err = h.file.Sync(ctx)
	}
	return h.n.fs.errno("close", ref, err)
}

// Fsync returns when the store has what was written.
func (h *handle) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	ref, named := h.n.ref()
	err := h.n.commit()
	switch {
	case err != nil || !named:
	case h.file != nil:
		err = h.file.Sync(ctx)
	default:
		err = h.n.fs.queue.Wait(ctx, ref)
	}
	return h.n.fs.errno("fsync", ref, err)
}

// Release ends the handle. What came after the last Flush (through a mapping, say) is
// committed now; nobody is left to hear of an error, so it is logged.
func (h *handle) Release(ctx context.Context) syscall.Errno {
	var err error
	if h.file != nil {
		err = cmpErr(h.n.commit(), h.n.closeWrite(h.file))
	} else {
		err = h.n.closeRead()
	}
	if h.local != nil {
		_ = h.local.Close() // only read
	}
	if err != nil {
		ref, _ := h.n.ref()
		h.n.warn("close failed", ref, err)
	}
	return 0
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// Create makes a file and opens it. It is in the store some time after its first close.
func (d *dirNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	n, file, err := d.create(ctx, name, syscall.S_IFREG|mode&0o7777)
	if err != nil {
		at, _ := d.ref()
		at.Key += name
		return nil, nil, 0, d.fs.errno("create", at, err)
	}
	h := &handle{n: n, file: file, sync: syncs(flags)}
	inode := d.addFile(ctx, n, out)
	fh, fuseFlags := n.settle(h)
	return inode, fh, fuseFlags, 0
}

func (d *dirNode) create(ctx context.Context, name string, mode uint32) (*fileNode, *writeback.File, error) {
	ref, comp, err := d.newKey(name, false)
	if err != nil {
		return nil, nil, err
	}
	n := d.fs.newFile(d, comp, backend.Object{Key: ref.Key})
	n.attr, n.dirty = d.newAttr(ctx, mode), true
	file, err := n.create()
	if err != nil {
		return nil, nil, err
	}
	d.touch()
	return n, file, nil
}

// Mknod makes an empty file or, as s3fs keeps them, a FIFO, socket or device: an empty
// object whose metadata say what it is.
func (d *dirNode) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	n, file, err := d.create(ctx, name, mode)
	if err == nil {
		n.mu.Lock()
		n.attr.Rdev = dev
		n.mu.Unlock()
		err = cmpErr(n.commit(), n.closeWrite(file))
	}
	if err != nil {
		at, _ := d.ref()
		at.Key += name
		return nil, d.fs.errno("mknod", at, err)
	}
	return d.addFile(ctx, n, out), 0
}
