package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	dataPrefix = "thawfs-test-"
	shmNeeded  = 2 << 30 // bytes free in /dev/shm, else the disk is used
)

// A dataDir holds what one server stores. A lock that lives as long as its owner's process
// tells it from those whose owners were killed.
type dataDir struct {
	path string
	lock *os.File
}

// newDataDir makes a directory, in memory when there is room, and removes those that killed
// test binaries have left.
func newDataDir(name string) (*dataDir, error) {
	base := os.TempDir()
	if roomy("/dev/shm") {
		base = "/dev/shm"
	}
	return newDataDirIn(base, name)
}

func newDataDirIn(base, name string) (*dataDir, error) {
	var d *dataDir
	// Under a lock, so that nobody sweeps a directory that is not locked yet.
	err := locked("data", func() error {
		if err := sweep(base); err != nil {
			return err
		}
		path, err := os.MkdirTemp(base, dataPrefix+name+"-")
		if err != nil {
			return err
		}
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		d = &dataDir{path: path, lock: lock}
		return flock(lock, unix.LOCK_EX)
	})
	if err != nil {
		return nil, fmt.Errorf("data directory of %s: %w", name, err)
	}
	return d, nil
}

// remove may be called again.
func (d *dataDir) remove() error {
	err := os.RemoveAll(d.path)
	if closed := d.lock.Close(); !errors.Is(closed, os.ErrClosed) {
		err = errors.Join(err, closed)
	}
	return err
}

// roomy reports whether dir has room and keeps user attributes (versitygw needs them; tmpfs
// has them since Linux 6.6).
func roomy(dir string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < shmNeeded {
		return false
	}
	f, err := os.CreateTemp(dir, dataPrefix+"probe")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name()) // a leftover is empty
	defer f.Close()           // nothing was written
	return unix.Fsetxattr(int(f.Fd()), "user.thawfs", []byte("probe"), 0) == nil
}

// sweep removes the directories whose owners live no more.
func sweep(base string) error {
	entries, err := os.ReadDir(base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		if !e.IsDir() || !strings.HasPrefix(e.Name(), dataPrefix) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue // another user's, or being removed
		}
		if flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = os.RemoveAll(path)
		}
		if err := errors.Join(err, lock.Close()); err != nil {
			return err
		}
	}
	return nil
}
