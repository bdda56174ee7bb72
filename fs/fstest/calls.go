package fstest

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// Calls are the system calls of users. Tests of the Model replace some of them by broken
// ones.
type Calls interface {
	Open(path string, flags int, perm os.FileMode) (File, error)
	Truncate(path string, size int64) error
	Unlink(path string) error
	Mkdir(path string, perm uint32) error
	Rmdir(path string) error
	Rename(from, to string) error
	Symlink(target, path string) error
	Chmod(path string, mode uint32) error
	Utimes(path string, mtime time.Time) error
	Setxattr(path, name string, value []byte) error
	Removexattr(path, name string) error
}

// A File is an open file of a user.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Writer
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// OS are the real system calls.
type OS struct{}

var _ Calls = OS{}

func (OS) Open(path string, flags int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(path, flags, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (OS) Truncate(path string, size int64) error { return os.Truncate(path, size) }
func (OS) Symlink(target, path string) error      { return os.Symlink(target, path) }
func (OS) Unlink(path string) error               { return again(func() error { return syscall.Unlink(path) }) }

func (OS) Rmdir(path string) error { return again(func() error { return syscall.Rmdir(path) }) }

func (OS) Rename(from, to string) error {
	return again(func() error { return syscall.Rename(from, to) })
}

func (OS) Mkdir(path string, perm uint32) error {
	return again(func() error { return syscall.Mkdir(path, perm) })
}

func (OS) Chmod(path string, mode uint32) error {
	return again(func() error { return syscall.Chmod(path, mode) })
}
func (OS) Utimes(path string, mtime time.Time) error { return os.Chtimes(path, mtime, mtime) }
func (OS) Setxattr(path, name string, v []byte) error {
	return again(func() error { return syscall.Setxattr(path, name, v, 0) })
}

func (OS) Removexattr(path, name string) error {
	return again(func() error { return syscall.Removexattr(path, name) })
}

// again repeats what the runtime's own signals interrupt.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// errnoOf is the errno in err, 0 if that is nil.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO
}
