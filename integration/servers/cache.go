package servers

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is where the programs are kept: $THAWFS_TEST_CACHE, or thawfs-test in the user's cache
// directory. Each has a directory of its own there, named by program and version, which may be
// deleted at any time but while it is in use.
func Dir() (string, error) {
	dir := os.Getenv("THAWFS_TEST_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for the test servers (set THAWFS_TEST_CACHE): %w", err)
		}
		dir = filepath.Join(cache, "thawfs-test")
	}
	dir, err := filepath.Abs(dir) // versitygw changes its directory
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// locked runs do while no other process is inside locked with the same name: test binaries run
// in parallel, and one of them builds for all.
func locked(name string, do func() error) error {
	dir, err := Dir()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() // gives up the lock; nothing was written
	if err := flock(f, unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return do()
}

// flock is flock(2), again after every signal that interrupts the wait.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
