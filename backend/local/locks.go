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
	dir     string // of the lock files
	stripes [64]stripe
}

type stripe struct {
	mu sync.Mutex
	f  *os.File // opened by the first lock; guarded by mu
	fd int      // of f; flocked while mu is held
}

func newLocks(dir string) *locks { return &locks{dir: dir} }

// lock excludes other changes of key in bucket until the returned function is called.
func (l *locks) lock(bucket, key string) (unlock func(), err error) {
	return l.lockStripe(stripeOf(bucket+"/"+key) % uint64(len(l.stripes)))
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
		u, err := l.lockStripe(uint64(i))
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, u)
	}
	return unlock, nil
}

func (l *locks) lockStripe(i uint64) (unlock func(), err error) {
	s := &l.stripes[i]
	s.mu.Lock()
	err = s.openLocked(filepath.Join(l.dir, fmt.Sprintf("%02x", i)))
	if err == nil {
		err = flockFd(s.fd, syscall.LOCK_EX)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return func() {
		_ = flockFd(s.fd, syscall.LOCK_UN) // cannot fail on a lock that is held
		s.mu.Unlock()
	}, nil
}

func (s *stripe) openLocked(path string) error {
	if s.f != nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	s.f, s.fd = f, int(f.Fd())
	return nil
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
