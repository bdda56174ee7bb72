package fs

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The kernel interrupts a request at any signal to its caller: a timer of git's progress, the
// end of a child, one of Go's own. On a disk none of them makes stat, open or rename fail with
// EINTR, and few programs are prepared for it. So requests go on for a while: what ends the
// caller ends its request at once, which is what the kernel waits for; another signal ends what
// still takes longer than patience, so that programs that handle Ctrl-C get away from a store
// that does not answer.
const (
	patience   = 2 * time.Second
	signalLook = 50 * time.Millisecond // between looks whether the caller is being ended
)

// calm is a file system whose requests are not cancelled by signals that pass.
type calm struct{ fuse.RawFileSystem }

// through returns what cancels a request of thread tid, for which the kernel closes cancel. The
// caller calls done when the request is over.
func through(cancel <-chan struct{}, tid uint32) (late <-chan struct{}, done func()) {
	l, over := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-over:
			return
		case <-cancel:
		}
		for begun := time.Now(); time.Since(begun) < patience && !dying(tid); {
			select {
			case <-over:
				return
			case <-time.After(signalLook):
			}
		}
		close(l)
	}()
	return l, func() { close(over) }
}

// dying reports whether a thread has been sent SIGKILL: the kernel sends it to all threads of a
// process that any signal ends. A thread that is gone is dying, too.
func dying(tid uint32) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return true
	}
	defer f.Close() // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "SigPnd" && name != "ShdPnd" {
			continue
		}
		pending, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil || pending&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

func (c calm) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.Lookup(cancel, header, name, out)
}

func (c calm) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.GetAttr(cancel, in, out)
}

func (c calm) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.SetAttr(cancel, in, out)
}

func (c calm) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Mknod(cancel, in, name, out)
}

func (c calm) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Mkdir(cancel, in, name, out)
}

func (c calm) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.Unlink(cancel, header, name)
}

func (c calm) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.Rmdir(cancel, header, name)
}

func (c calm) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Rename(cancel, in, from, to)
}

func (c calm) Symlink(cancel <-chan struct{}, header *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.Symlink(cancel, header, target, name, out)
}

func (c calm) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.Readlink(cancel, header)
}

func (c calm) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.GetXAttr(cancel, header, attr, dest)
}

func (c calm) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.ListXAttr(cancel, header, dest)
}

func (c calm) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.SetXAttr(cancel, in, attr, data)
}

func (c calm) RemoveXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string) fuse.Status {
	cancel, done := through(cancel, header.Pid)
	defer done()
	return c.RawFileSystem.RemoveXAttr(cancel, header, attr)
}

func (c calm) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Create(cancel, in, name, out)
}

func (c calm) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Open(cancel, in, out)
}

func (c calm) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Read(cancel, in, buf)
}

func (c calm) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Write(cancel, in, data)
}

func (c calm) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Fsync(cancel, in)
}

func (c calm) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.Fallocate(cancel, in)
}

func (c calm) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.OpenDir(cancel, in, out)
}

func (c calm) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.ReadDir(cancel, in, out)
}

func (c calm) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	cancel, done := through(cancel, in.Pid)
	defer done()
	return c.RawFileSystem.ReadDirPlus(cancel, in, out)
}
