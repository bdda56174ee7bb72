package fs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A Mount is a file system that the kernel serves programs from.
type Mount struct {
	*FS
	server     *fuse.Server
	mountpoint string
}

// readAhead is how far the kernel reads ahead of a sequential reader, in KiB. Without it
// no request is larger than 128 KiB, at half the speed.
const readAhead = 4096

// NewMount opens the caches of o and mounts them on an existing directory. It serves when it
// returns. The caller ends it with Unmount (or anybody with umount(8)) and then Close.
func NewMount(mountpoint string, o Options) (*Mount, error) {
	f, err := New(o)
	if err != nil {
		return nil, err
	}
	m := &Mount{FS: f, mountpoint: mountpoint}
	m.server, err = mountAlone(mountpoint, f.Root(), f.fuseOptions())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount on %q: %w", mountpoint, err), f.Close(context.Background()))
	}
	f.served.Store(true)
	f.tryPassthrough(m.server)
	f.setReadAhead(mountpoint)
	return m, nil
}

// mountAlone mounts so that no child of this process inherits the connection: with a copy of
// it alive elsewhere, the mount of a dead process hangs instead of failing with ENOTCONN.
// go-fuse opens /dev/fuse without O_CLOEXEC, so nothing may be started until that is mended.
func mountAlone(mountpoint string, root fusefs.InodeEmbedder, o *fusefs.Options) (*fuse.Server, error) {
	if os.Geteuid() == 0 { // others need fusermount, which has to be started
		o.DirectMountStrict = true
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	server, err := serve(mountpoint, root, o)
	fds, derr := os.ReadDir("/proc/self/fd")
	if err != nil || derr != nil {
		return server, err
	}
	for _, e := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == "/dev/fuse" {
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				unix.CloseOnExec(fd)
			}
		}
	}
	return server, nil
}

// serve mounts and serves; it returns when the kernel has been answered.
func serve(mountpoint string, root fusefs.InodeEmbedder, o *fusefs.Options) (*fuse.Server, error) {
	server, err := fuse.NewServer(calm{fusefs.NewNodeFS(root, o)}, mountpoint, &o.MountOptions)
	if err != nil {
		return nil, err
	}
	go server.Serve() // ends with the mount; Close waits
	return server, server.WaitMount()
}

func (f *FS) fuseOptions() *fusefs.Options {
	mo := fuse.MountOptions{
		Name:        "thawfs",
		FsName:      f.o.Source,
		AllowOther:  f.o.AllowOther,
		DirectMount: true,
		Options:     []string{"default_permissions"},
		MaxWrite:    1 << 20,
		// As many requests in the background as read-ahead of a few readers makes.
		MaxBackground: 64,
		// The kernel asks for security labels of every file it writes; no object has any.
		IgnoreSecurityLabels: true,
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2 |
			fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_READDIRPLUS_AUTO,
		EnableSymlinkCaching: true,
		// Left alone, the kernel drops its pages whenever a file's time has changed, as each write
		// changes it, and with them what is written at that moment. Opens say what may stay.
		ExplicitDataCacheControl: true,
		PanicHandler: func(v any) fuse.Status {
			f.log.Error("panic in a request", slog.Any("panic", v))
			return fuse.EIO
		},
		Debug:  f.o.Debug,
		Logger: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
	}
	if f.o.ReadOnly {
		mo.DirectMountFlags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_RDONLY
		if os.Geteuid() != 0 {
			mo.Options = append(mo.Options, "ro")
		}
	}
	return &fusefs.Options{
		MountOptions:      mo,
		EntryTimeout:      &f.o.TTL,
		AttrTimeout:       &f.o.TTL,
		NegativeTimeout:   &f.o.NegativeTTL,
		FirstAutomaticIno: firstAutomaticIno,
		NullPermissions:   true,
		Logger:            log.New(slog.NewLogLogger(f.log.Handler(), slog.LevelDebug).Writer(), "", 0),
	}
}

// tryPassthrough registers a trial file with the kernel: it refuses without CAP_SYS_ADMIN,
// or for file systems it cannot stack on, and then go-fuse would go on without a word.
func (f *FS) tryPassthrough(server *fuse.Server) {
	file, err := os.CreateTemp(filepath.Join(f.o.CacheDir, "tmp"), "trial")
	if err != nil {
		return
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }()
	id, errno := server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(file.Fd())})
	if errno != 0 {
		f.log.Info("no FUSE passthrough: reads of cached files and writes take the longer way", slog.String("err", errno.Error()))
		return
	}
	_ = server.UnregisterBackingFd(id)
	f.passthrough.Store(true)
}

// setReadAhead raises the kernel's read-ahead for this mount; only root can.
func (f *FS) setReadAhead(mountpoint string) {
	var st unix.Stat_t
	if err := unix.Stat(mountpoint, &st); err != nil {
		return
	}
	path := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if err := os.WriteFile(path, fmt.Append(nil, readAhead), 0); err != nil {
		f.log.Debug("kernel read-ahead stays as it is", slog.Any("err", err))
	}
}

// Unmount takes the mount from the mount table; EBUSY if a program uses it.
func (m *Mount) Unmount() error { return m.server.Unmount() }

// Wait returns when it is unmounted, by whomever.
func (m *Mount) Wait() { m.server.Wait() }

// SetDebug has every FUSE request logged, or no more.
func (m *Mount) SetDebug(on bool) { m.server.SetDebug(on) }

// Mountpoint is the directory it is mounted on.
func (m *Mount) Mountpoint() string { return m.mountpoint }
