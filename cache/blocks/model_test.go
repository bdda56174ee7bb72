package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

// A shadow is what the cache should say: every version there ever was, with its bytes.
type shadow struct {
	*bench
	rt       *rapid.T
	versions []*shadowVersion
	latest   map[string]*shadowVersion
	readers  []*shadowReader
	n        int
}

type shadowVersion struct {
	key  string
	obj  backend.Object
	data []byte
}

type shadowReader struct {
	*Reader
	*shadowVersion
	at int
}

// TestModel does random operations on a small cache and compares every byte. rapid prints how
// to repeat a failing run.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t, Options{Capacity: 6 << 20, Memory: 4 << 20, Dir: filepath.Join(t.TempDir(), "cache")})
		s := &shadow{bench: b, rt: rt, latest: map[string]*shadowVersion{}}
		s.write()
		rt.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { s.check() },
			"write":   func(*rapid.T) { s.write() },
			"open":    func(*rapid.T) { s.openReader() },
			"read":    func(*rapid.T) { s.readRandom() },
			"go on":   func(*rapid.T) { s.readOn() },
			"cancel":  func(*rapid.T) { s.readCancelled() },
			"close":   func(*rapid.T) { s.closeReader() },
			"fill":    func(*rapid.T) { s.fillWhole() },
			"file":    func(*rapid.T) { s.file() },
			"adopt":   func(*rapid.T) { s.adopt() },
			"take":    func(*rapid.T) { s.take() },
			"forget":  func(*rapid.T) { s.cache.Forget(ref(s.any().key)) },
			"fail":    func(*rapid.T) { s.fail() },
			"restart": func(*rapid.T) { s.restart(func() {}) },
			"damage":  func(*rapid.T) { s.restart(s.damage) },
		})
		for len(s.readers) > 0 {
			s.closeReader()
		}
	})
}

func (s *shadow) any() *shadowVersion {
	return rapid.SampledFrom(s.versions).Draw(s.rt, "version")
}

func (s *shadow) write() {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(s.rt, "key")
	size := rapid.OneOf(rapid.IntRange(0, 300_000), rapid.IntRange(0, 5<<20)).Draw(s.rt, "size")
	s.n++
	data := randomBytes(uint64(s.n), size)
	v := &shadowVersion{key, s.putBytes(key, data), data}
	s.versions, s.latest[key] = append(s.versions, v), v
}

func (s *shadow) openReader() {
	if len(s.readers) < 5 {
		v := s.any()
		s.readers = append(s.readers, &shadowReader{Reader: s.reader(v.key, v.obj), shadowVersion: v})
	}
}

func (s *shadow) anyReader() *shadowReader {
	if len(s.readers) == 0 {
		s.openReader()
	}
	return rapid.SampledFrom(s.readers).Draw(s.rt, "reader")
}

func (s *shadow) closeReader() {
	if len(s.readers) > 0 {
		s.readers[0].Close()
		s.readers = s.readers[1:]
	}
}

func (s *shadow) readRandom() {
	r := s.anyReader()
	off := rapid.IntRange(0, len(r.data)+10).Draw(s.rt, "off")
	s.read(r, off, rapid.IntRange(0, 2<<20).Draw(s.rt, "n"))
}

func (s *shadow) readOn() {
	r := s.anyReader()
	for range rapid.IntRange(1, 20).Draw(s.rt, "times") {
		s.read(r, r.at, granuleSize)
	}
}

// read compares what comes; another version than the latest may also be gone.
func (s *shadow) read(r *shadowReader, off, n int) {
	p := make([]byte, n)
	got, err := r.ReadAt(s.ctx, p, int64(off))
	want := r.data[min(off, len(r.data)):min(off+n, len(r.data))]
	r.at = off + got
	if !bytes.Equal(p[:got], want[:got]) {
		s.rt.Fatalf("ReadAt(%d, %d) of %q = %d bytes that are not those of its version", off, n, r.key, got)
	}
	gone := errors.Is(err, backend.ErrChanged) && s.latest[r.key] != r.shadowVersion
	if err != nil && !gone || err == nil && got < len(want) {
		s.rt.Fatalf("ReadAt(%d, %d) of %q = %d, %v; want %d bytes", off, n, r.key, got, err, len(want))
	}
}

func (s *shadow) readCancelled() {
	r := s.anyReader()
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	off := rapid.IntRange(0, len(r.data)).Draw(s.rt, "off")
	p := make([]byte, 1<<20)
	n, err := r.ReadAt(ctx, p, int64(off))
	if !bytes.Equal(p[:n], r.data[off:off+n]) || err == nil && n < min(len(p), len(r.data)-off) {
		s.rt.Fatalf("cancelled ReadAt(%d) of %q = %d, %v: wrong bytes", off, r.key, n, err)
	}
}

func (s *shadow) fillWhole() {
	v := s.any()
	f, err := s.cache.Fill(s.ctx, s.store, ref(v.key), v.obj)
	switch {
	case err == nil:
		sameBytes(s.t, f, v.data)
	case errors.Is(err, backend.ErrChanged) && s.latest[v.key] != v, errors.Is(err, unix.ENOSPC):
	default:
		s.rt.Fatalf("Fill of %q: %v", v.key, err)
	}
}

func (s *shadow) file() {
	v := s.any()
	if f, ok := s.cache.File(ref(v.key), v.obj); ok {
		sameBytes(s.t, f, v.data)
	}
}

func (s *shadow) adopt() {
	v := s.any()
	path := s.stage(v.data)
	if err := s.cache.Adopt(path, ref(v.key), v.obj); err != nil && !errors.Is(err, unix.ENOSPC) {
		s.rt.Fatalf("Adopt of %q: %v", v.key, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.rt.Fatal(err)
	}
}

func (s *shadow) take() {
	v := s.any()
	s.n++
	to := filepath.Join(filepath.Dir(s.opts.Dir), fmt.Sprint("taken", s.n))
	if !s.cache.Take(ref(v.key), v.obj, to) {
		return
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, v.data) {
		s.rt.Fatalf("Take of %q gave %d bytes, error %v; same: %t", v.key, len(got), err, bytes.Equal(got, v.data))
	}
	if err := os.WriteFile(to, bytes.Repeat([]byte("taken"), len(got)/5), 0o600); err != nil {
		s.rt.Fatal(err)
	}
}

// fail has the next requests break off, as many as the cache bridges.
func (s *shadow) fail() {
	s.store.Heal()
	cut := rapid.Int64Range(-1, 1<<20).Draw(s.rt, "cut")
	s.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Cut: cut, Times: rapid.IntRange(1, fetchAttempts-1).Draw(s.rt, "times"), Err: backend.ErrUnavailable})
}

func (s *shadow) restart(between func()) {
	for len(s.readers) > 0 {
		s.closeReader()
	}
	s.close()
	between()
	s.open()
}

// damage flips a byte somewhere in the directory, or cuts a file.
func (s *shadow) damage() {
	files := append(dataFiles(s.t, s.opts.Dir), filepath.Join(s.opts.Dir, indexName))
	path := rapid.SampledFrom(files).Draw(s.rt, "file")
	st, err := os.Stat(path)
	if err != nil {
		s.rt.Fatal(err)
	}
	off := rapid.Int64Range(0, max(st.Size()-1, 0)).Draw(s.rt, "off")
	if rapid.Bool().Draw(s.rt, "cut") {
		err = os.Truncate(path, off)
	} else if st.Size() > 0 {
		flip(s.t, path, off)
	}
	if err != nil {
		s.rt.Fatal(err)
	}
}

// check lets everything come to rest.
func (s *shadow) check() {
	s.cache.fetches.Wait()
	s.settle()
	if err := s.cache.invariants(); err != nil {
		s.rt.Fatal(err)
	}
	s.checkBudget()
}
