package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// locks excludes changes of one key from each other, in this process by mutexes and among
// processes by flock. There is a fixed number of locks, which keys share by hash; a change
// holds one of them, briefly. The files are never removed, so that all processes mean the
// same inodes.
type locks struct {
	stripes [64]stripe
}

type stripe struct {
	mu sync.Mutex
	f  *os.File // keeps fd open as long as the stripe is in use
	fd int      // flocked while mu is held
}

func newLocks(dir string) (*locks, error) {
	l := &locks{}
	for i := range l.stripes {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%02x", i)), os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		l.stripes[i].f, l.stripes[i].fd = f, int(f.Fd())
	}
	return l, nil
}

// lock excludes other changes of key in bucket until the returned function is called.
func (l *locks) lock(bucket, key string) (unlock func(), err error) {
	return l.stripes[stripeOf(bucket+"/"+key)%uint64(len(l.stripes))].lock()
}

// lockAll excludes all changes. No caller of lock takes a second one, so there is no
// order to violate.
func (l *locks) lockAll() (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, u := range held {
			u()
		}
	}
	for i := range l.stripes {
		u, err := l.stripes[i].lock()
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, u)
	}
	return unlock, nil
}

func (s *stripe) lock() (unlock func(), err error) {
	s.mu.Lock()
	if err := flockFd(s.fd, syscall.LOCK_EX); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return func() {
		_ = flockFd(s.fd, syscall.LOCK_UN) // cannot fail on a lock that is held
		s.mu.Unlock()
	}, nil
}

// lockFile takes the flock of the file path, which is created if need be.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // gives the lock up
}

func flock(f *os.File, how int) error { return flockFd(int(f.Fd()), how) }

// flockFd is flock(2); signals do not end it.
func flockFd(fd, how int) error {
	for {
		err := syscall.Flock(fd, how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// stripeOf is FNV-1a: the same in every process.
func stripeOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
