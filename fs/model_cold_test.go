package fs

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/fs/fstest"
)

// coldMutants are mounts with one thing about archived files broken.
func coldMutants() map[string]mutant {
	store := func(wrap func(backendtest.Full) backendtest.Full) mutant { return mutant{cold: true, store: wrap} }
	calls := func(wrap func(fstest.Calls) fstest.Calls) mutant { return mutant{cold: true, calls: wrap} }
	seen := func(see func(*backend.Object)) mutant {
		return store(func(f backendtest.Full) backendtest.Full { return otherSight{f, see} })
	}
	return map[string]mutant{
		"stubs read as zeros": store(func(f backendtest.Full) backendtest.Full {
			return zeros{otherSight{f, func(obj *backend.Object) {
				if obj.State == backend.Archived {
					obj.State = backend.Online
				}
			}}}
		}),
		"stubs can be opened": seen(func(obj *backend.Object) {
			if obj.State == backend.Archived {
				obj.State = backend.Restored
			}
		}),
		"restored files cannot be opened": seen(func(obj *backend.Object) {
			if obj.State == backend.Restored {
				obj.State = backend.Archived
			}
		}),
		"restored files lose their copy with their mode": seen(func(obj *backend.Object) {
			if obj.State == backend.Restored {
				obj.State = backend.Online
			}
		}),
		"stubs are empty": seen(func(obj *backend.Object) {
			if obj.State == backend.Archived {
				obj.Size = 0
			}
		}),
		"EAGAIN is EACCES":             calls(func(c fstest.Calls) fstest.Calls { return denied{c} }),
		"stubs can be renamed":         calls(func(c fstest.Calls) fstest.Calls { return boldRename{c} }),
		"half of a directory is moved": calls(func(c fstest.Calls) fstest.Calls { return halfRename{c} }),
		"attributes of stubs are forgotten": {cold: true, machine: func(t *target) fstest.Target {
			return moody{t}
		}},
		"a retrieval brings other bytes": store(func(f backendtest.Full) backendtest.Full { return wrongThaw{f} }),
	}
}

// otherSight shows objects otherwise than they are.
type otherSight struct {
	backendtest.Full
	see func(*backend.Object)
}

func (s otherSight) Head(ctx context.Context, key string) (backend.Object, error) {
	obj, err := s.Full.Head(ctx, key)
	if err == nil {
		s.see(&obj)
	}
	return obj, err
}

func (s otherSight) List(ctx context.Context, prefix, after string, o backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		for e, err := range s.Full.List(ctx, prefix, after, o) {
			if err == nil && !e.Prefix {
				s.see(&e.Object)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// zeros gives zeros for what is archived.
type zeros struct{ otherSight }

func (s zeros) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	r, err := s.Full.Get(ctx, key, etag, off, n)
	if !errors.Is(err, backend.ErrArchived) {
		return r, err
	}
	obj, err := s.Full.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	if left := max(obj.Size-off, 0); n < 0 || n > left {
		n = left
	}
	return io.NopCloser(strings.NewReader(strings.Repeat("\x00", int(n)))), nil
}

// wrongThaw has other bytes in its restored copies.
type wrongThaw struct{ backendtest.Full }

func (s wrongThaw) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	r, err := s.Full.Get(ctx, key, etag, off, n)
	if err != nil {
		return nil, err
	}
	if obj, err := s.Full.Head(ctx, key); err == nil && obj.State == backend.Restored {
		return wrongBody{r}, nil
	}
	return r, nil
}

type denied struct{ fstest.Calls }

func (c denied) Open(path string, flags int, perm os.FileMode) (fstest.File, error) {
	f, err := c.Calls.Open(path, flags, perm)
	if errors.Is(err, syscall.EAGAIN) {
		err = syscall.EACCES
	}
	return f, err
}

// boldRename does not say that it has not renamed a stub.
type boldRename struct{ fstest.Calls }

func (c boldRename) Rename(from, to string) error {
	err := c.Calls.Rename(from, to)
	if err == syscall.EAGAIN {
		return nil
	}
	return err
}

// halfRename has moved what it could of a directory when it fails.
type halfRename struct{ fstest.Calls }

func (c halfRename) Rename(from, to string) error {
	err := c.Calls.Rename(from, to)
	if err != syscall.EAGAIN {
		return err
	}
	entries, listErr := os.ReadDir(from)
	if listErr != nil {
		return err
	}
	_ = c.Calls.Mkdir(to, 0o755) // which may be there
	for _, e := range entries {
		_ = c.Calls.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
	}
	return err
}

// moody loses with each remount what it has not sent.
type moody struct{ *target }

func (m moody) Remount(empty bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := m.target.Drain(ctx); err != nil {
		return err
	}
	return m.target.Remount(true)
}
