package writeback

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func (q *Queue) makeDirs() error {
	for _, dir := range []string{q.o.Dir, q.stagingDir(), q.lostDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("write-back directory: %w", err)
		}
		if err := ownDir(dir); err != nil {
			return fmt.Errorf("write-back directory: %w", err)
		}
	}
	return nil
}

// ownDir makes sure that dir is a real directory of ours that nobody else can enter: it
// holds other people's data in clear.
func ownDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to us", dir, st.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// lockDir takes the lock of dir, which lasts until the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write-back directory: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(file, 256)) // only for the message
		_ = file.Close()                                  // nothing was written
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%w: %s, by %s", ErrLocked, dir, strings.TrimSpace(string(owner)))
	}
	text := fmt.Sprintf("pid %d (%s)\n", os.Getpid(), strings.Join(os.Args[:1], ""))
	if err := errors.Join(file.Truncate(0), writeAll(file, text)); err != nil {
		_ = file.Close() // gives the lock up
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return file, nil
}

func writeAll(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	name, _, _ = strings.Cut(name, ".")
	return strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' {
			return '_'
		}
		return r
	}, name)
}

// bootID names the run of the kernel: while it is the same, the page cache has lost nothing.
// It is empty where it cannot be told.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// probeMtime reports whether the file system of dir gives two writes with a stat between
// them different mtimes at any pace (multigrain timestamps, Linux 6.13). Others count time
// in ticks of up to 10 ms.
func probeMtime(dir string) bool {
	file, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return false
	}
	defer func() {
		_ = file.Close() // of no importance
		_ = os.Remove(file.Name())
	}()
	var last int64
	for range 8 {
		var st unix.Stat_t
		if writeAll(file, "x") != nil || unix.Fstat(int(file.Fd()), &st) != nil || st.Mtim.Nano() == last {
			return false
		}
		last = st.Mtim.Nano()
	}
	return true
}
