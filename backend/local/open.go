package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Package os prepares every file it opens for the poller, which for regular files and
// directories is three system calls for nothing. A listing opens tens of thousands.

// open opens path for reading and returns the descriptor, which the caller closes.
func open(path string, flags int) (int, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|flags, 0)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// openDir opens a directory to read its names.
func openDir(path string) (*os.File, error) {
	fd, err := open(path, syscall.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readUpTo reads the file path from its begin until it ends or buf is full.
func readUpTo(path string, buf []byte) (int, error) {
	fd, err := open(path, 0)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd) // read-only: nothing to lose
	done := 0
	for done < len(buf) {
		n, err := syscall.Pread(fd, buf[done:], int64(done))
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return done, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}
