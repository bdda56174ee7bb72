package fs

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/fs/fstest"
)

// A mutant is a mount with one thing broken: in the calls users make, in the store below it,
// or in the machine. Missing parts are sound.
type mutant struct {
	calls   func(fstest.Calls) fstest.Calls
	store   func(backendtest.Full) backendtest.Full
	machine func(*target) fstest.Target
	cold    bool // what is broken has to do with the archive
}

// TestModelCatches breaks a mount in one place after the other; random stories must notice.
func TestModelCatches(t *testing.T) {
	t.Parallel()
	const tries = 150 // stories; nearly all mutants fall within ten
	for name, mu := range mutants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stories := fstest.Stories(30)
			if mu.cold {
				stories = fstest.ColdStories(30)
			}
			for seed := range tries {
				s := stories.Example(seed)
				if err := playMutant(t.Context(), s, mu); err != nil {
					t.Logf("story %d: %v", seed, err)
					return
				}
			}
			t.Errorf("%d stories did not notice", tries)
		})
	}
}

func playMutant(ctx context.Context, s fstest.Story, mu mutant) (err error) {
	base, err := os.MkdirTemp(fastDir(), "thawfs-model")
	if err != nil {
		return err
	}
	service, store, err := newService(filepath.Join(base, "store"), s.Setup)
	if err != nil {
		return err
	}
	if mu.store != nil {
		service = mutantService{service, mu.store}
	}
	m, err := mountTarget(base, service, store, s.Setup)
	if err != nil {
		return err
	}
	var calls fstest.Calls = fstest.OS{}
	if mu.calls != nil {
		calls = mu.calls(calls)
	}
	var t fstest.Target = m
	if mu.machine != nil {
		t = mu.machine(m)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = fstest.Run(ctx, t, calls, s)
	_ = errors.Join(m.stop(), os.RemoveAll(base)) // a broken mount may end badly
	return err
}

func mutants() map[string]mutant {
	all := coldMutants()
	maps.Copy(all, map[string]mutant{
		"a write is dropped": {calls: func(c fstest.Calls) fstest.Calls {
			return &brokenFiles{Calls: c, write: func(n int) (bool, int64) { return n%5 == 4, 0 }}
		}},
		"a write is a byte off": {calls: func(c fstest.Calls) fstest.Calls {
			return &brokenFiles{Calls: c, write: func(n int) (bool, int64) { return false, int64(n % 5 / 4) }}
		}},
		"modes are forgotten":     {calls: func(c fstest.Calls) fstest.Calls { return noChmod{c} }},
		"times are whole seconds": {calls: func(c fstest.Calls) fstest.Calls { return wholeSeconds{c} }},
		"renames come late":       {calls: func(c fstest.Calls) fstest.Calls { return &lateRename{Calls: c} }},
		"an unlink is dropped":    {calls: func(c fstest.Calls) fstest.Calls { return &lostUnlink{Calls: c} }},
		"xattrs are forgotten":    {calls: func(c fstest.Calls) fstest.Calls { return noXattrs{c} }},

		"objects lack their end":        {store: func(f backendtest.Full) backendtest.Full { return tornPut{f} }},
		"an object is not stored":       {store: func(f backendtest.Full) backendtest.Full { return &lostPut{Full: f} }},
		"the store forgets metadata":    {store: func(f backendtest.Full) backendtest.Full { return noMeta{f} }},
		"copies forget attributes":      {store: func(f backendtest.Full) backendtest.Full { return plainCopy{f} }},
		"conditions are ignored":        {store: func(f backendtest.Full) backendtest.Full { return noConditions{f} }},
		"nothing is deleted":            {store: func(f backendtest.Full) backendtest.Full { return noDelete{f} }},
		"listings end early":            {store: func(f backendtest.Full) backendtest.Full { return shortList{f} }},
		"bytes that are read are wrong": {store: func(f backendtest.Full) backendtest.Full { return wrongGet{f} }},

		"a crash forgets what waits": {machine: func(t *target) fstest.Target { return forgetful{t} }},
	})
	return all
}

// brokenFiles breaks the writes for which write says so: it drops them or moves them.
type brokenFiles struct {
	fstest.Calls
	write func(n int) (drop bool, shift int64)
	n     int
}

func (b *brokenFiles) Open(path string, flags int, perm os.FileMode) (fstest.File, error) {
	f, err := b.Calls.Open(path, flags, perm)
	if err != nil {
		return nil, err
	}
	return brokenFile{f, b}, nil
}

type brokenFile struct {
	fstest.File
	b *brokenFiles
}

func (f brokenFile) WriteAt(p []byte, off int64) (int, error) {
	f.b.n++
	drop, shift := f.b.write(f.b.n)
	if drop {
		return len(p), nil
	}
	return f.File.WriteAt(p, off+shift)
}

type noChmod struct{ fstest.Calls }

func (noChmod) Chmod(string, uint32) error { return nil }

type wholeSeconds struct{ fstest.Calls }

func (c wholeSeconds) Utimes(path string, mtime time.Time) error {
	return c.Calls.Utimes(path, mtime.Truncate(time.Second))
}

// lateRename does a rename after the next call, as if the two had changed places.
type lateRename struct {
	fstest.Calls
	from, to string
}

func (c *lateRename) Rename(from, to string) error {
	if c.from != "" {
		return c.Calls.Rename(from, to)
	}
	if _, err := os.Lstat(from); err != nil {
		return c.Calls.Rename(from, to)
	}
	c.from, c.to = from, to
	return nil
}

func (c *lateRename) Open(path string, flags int, perm os.FileMode) (fstest.File, error) {
	f, err := c.Calls.Open(path, flags, perm)
	if c.from != "" {
		_ = c.Calls.Rename(c.from, c.to) // it said that it went well
		c.from = ""
	}
	return f, err
}

type lostUnlink struct {
	fstest.Calls
	n int
}

func (c *lostUnlink) Unlink(path string) error {
	if c.n++; c.n == 2 {
		_, err := os.Lstat(path)
		return err
	}
	return c.Calls.Unlink(path)
}

type noXattrs struct{ fstest.Calls }

func (noXattrs) Setxattr(string, string, []byte) error { return nil }

// mutantService breaks the stores it opens.
type mutantService struct {
	backend.Service
	wrap func(backendtest.Full) backendtest.Full
}

func (s mutantService) Open(ctx context.Context, bucket string) (backend.Store, error) {
	st, err := s.Service.Open(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return s.wrap(st.(backendtest.Full)), nil
}

type tornPut struct{ backendtest.Full }

func (s tornPut) Put(ctx context.Context, key string, body *io.SectionReader, o backend.PutOptions) (backend.Object, error) {
	o.CRC64NVME = nil
	return s.Full.Put(ctx, key, io.NewSectionReader(body, 0, max(body.Size()-1, 0)), o)
}

// lostPut says of the third Put that it went well.
type lostPut struct {
	backendtest.Full
	n atomic.Int32
}

func (s *lostPut) Put(ctx context.Context, key string, body *io.SectionReader, o backend.PutOptions) (backend.Object, error) {
	if s.n.Add(1) == 3 {
		return backend.Object{Key: key, Size: body.Size(), ETag: "lost", ModTime: time.Now(), Attrs: o.Attrs}, nil
	}
	return s.Full.Put(ctx, key, body, o)
}

type noMeta struct{ backendtest.Full }

func (s noMeta) Put(ctx context.Context, key string, body *io.SectionReader, o backend.PutOptions) (backend.Object, error) {
	o.Meta = nil
	return s.Full.Put(ctx, key, body, o)
}

type plainCopy struct{ backendtest.Full }

func (s plainCopy) Copy(ctx context.Context, from backend.Object, to string, o backend.CopyOptions) (backend.Object, error) {
	o.Attrs = nil
	return s.Full.Copy(ctx, from, to, o)
}

type noConditions struct{ backendtest.Full }

func (s noConditions) Put(ctx context.Context, key string, body *io.SectionReader, o backend.PutOptions) (backend.Object, error) {
	o.Cond = backend.Cond{}
	return s.Full.Put(ctx, key, body, o)
}

type noDelete struct{ backendtest.Full }

func (s noDelete) Delete(context.Context, string) error { return nil }

func (s noDelete) DeleteBatch(context.Context, []string) map[string]error { return nil }

type shortList struct{ backendtest.Full }

func (s shortList) List(ctx context.Context, prefix, after string, o backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		n := 0
		for e, err := range s.Full.List(ctx, prefix, after, o) {
			if n++; n > 3 || !yield(e, err) {
				return
			}
		}
	}
}

type wrongGet struct{ backendtest.Full }

func (s wrongGet) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	r, err := s.Full.Get(ctx, key, etag, off, n)
	if err != nil {
		return nil, err
	}
	return wrongBody{r}, nil
}

type wrongBody struct{ io.ReadCloser }

func (b wrongBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 50 {
		p[50] ^= 1
	}
	return n, err
}

// forgetful loses its cache in a crash.
type forgetful struct{ *target }

func (f forgetful) Crash() error {
	f.caches++
	return f.target.Crash()
}
