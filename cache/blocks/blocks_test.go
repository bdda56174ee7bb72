package blocks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is a cache over a bucket of backend/local behind a store that counts and fails.
type bench struct {
	t     testing.TB
	ctx   context.Context
	store *backendtest.Faulty
	cache *Cache
	opts  Options
}

func newBench(t testing.TB, o Options) *bench {
	t.Helper()
	svc, err := local.New(t.TempDir(), local.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := svc.CreateBucket(ctx, "photos"); err != nil {
		t.Fatal(err)
	}
	store, err := svc.Open(ctx, "photos")
	if err != nil {
		t.Fatal(err)
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "cache")
	}
	if o.Capacity == 0 {
		o.Capacity = 1 << 30
	}
	b := &bench{t: t, ctx: ctx, store: backendtest.NewFaulty(store), opts: o}
	b.open()
	t.Cleanup(func() { b.close() })
	return b
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.cache, err = New(b.opts); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	b.checkBudget()
	if err := b.cache.Close(); err != nil {
		b.t.Errorf("Close: %v", err)
	}
	b.checkBudget()
}

// reopen ends the cache's process, as it were, and starts another one.
func (b *bench) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

func ref(key string) backend.Ref { return backend.Ref{Bucket: "photos", Key: key} }

// put stores n random bytes and returns them.
func (b *bench) put(key string, n int) (backend.Object, []byte) {
	b.t.Helper()
	data := randomBytes(uint64(n)+uint64(len(key))<<32, n)
	return b.putBytes(key, data), data
}

func (b *bench) putBytes(key string, data []byte) backend.Object {
	b.t.Helper()
	obj, err := b.store.Put(b.ctx, key, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), backend.PutOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return obj
}

func randomBytes(seed uint64, n int) []byte {
	var s [32]byte
	s[0], s[1], s[2], s[3], s[4] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24), byte(seed>>32)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(s).Read(data) // never fails
	return data
}

func (b *bench) reader(key string, obj backend.Object) *Reader {
	return b.cache.Open(b.store, ref(key), obj)
}

// want reads [off, off+n) and compares it with data.
func (b *bench) want(r *Reader, data []byte, off, n int) {
	b.t.Helper()
	p := make([]byte, n)
	got, err := r.ReadAt(b.ctx, p, int64(off))
	want := data[min(off, len(data)):min(off+n, len(data))]
	if err != nil || !bytes.Equal(p[:got], want) {
		b.t.Fatalf("ReadAt(%d, %d) = %d bytes, error %v; want %d bytes; same: %t", off, n, got, err, len(want), bytes.Equal(p[:got], want))
	}
}

// readAll reads data in pieces of n bytes.
func (b *bench) readAll(key string, obj backend.Object, data []byte, n int) {
	b.t.Helper()
	r := b.reader(key, obj)
	defer r.Close()
	for off := 0; off < len(data); off += n {
		b.want(r, data, off, n)
	}
}

// settle waits until everything that has arrived is written: jobs are done in order.
func (b *bench) settle() {
	b.t.Helper()
	done := make(chan struct{})
	s := source{id: id{0: 1}, size: 1}
	b.cache.disk.jobs <- job{source: s, done: func(error) { close(done) }}
	<-done
	b.cache.disk.replace(s)
}

// checkBudget compares what the cache's directory takes on disk with its capacity.
func (b *bench) checkBudget() {
	b.t.Helper()
	if used := diskUsage(b.t, b.opts.Dir); used > max(b.opts.Capacity, 0) {
		b.t.Errorf("cache directory takes %d bytes on disk, capacity is %d", used, b.opts.Capacity)
	}
}

func diskUsage(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // evicted meanwhile
		}
		if err != nil {
			return err
		}
		bytes += st.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes
}

func TestReadsAreWhatTheStoreHolds(t *testing.T) {
	b := newBench(t, Options{})
	for _, n := range []int{0, 1, granuleSize - 1, granuleSize, granuleSize + 1, blockSize, blockSize + 5, 20<<20 + 17} {
		obj, data := b.put("key", n)
		for _, piece := range []int{4 << 10, 100_001, granuleSize, 1 << 20, 12 << 20} {
			if n/piece < 2000 {
				b.readAll("key", obj, data, piece)
			}
		}
		r := b.reader("key", obj)
		b.want(r, data, n, 10)
		b.want(r, data, n+1000, 10)
		b.want(r, data, max(0, n-5), 10)
		r.Close()
	}
}

func TestWarmReadsAskNothing(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 10<<20)
	b.readAll("key", obj, data, 1<<20)
	b.settle()
	b.reopen()
	b.store.ResetCounts()
	b.readAll("key", obj, data, 100_000)
	b.readAll("key", obj, data, 1<<20)
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("reading what is on disk after a restart: %d GETs, want none", n)
	}
	if st := b.cache.Stats(); st.Files != 1 || st.Bytes < int64(len(data)) || st.Hits == 0 || st.Misses != 0 {
		t.Errorf("Stats() = %+v, want one file of %d bytes and only hits", st, len(data))
	}
}
