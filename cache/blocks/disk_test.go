package blocks

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend/backendtest"
)

// dataFiles are the cache's files of objects.
func dataFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "data", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flip changes one byte of a file.
func flip(t testing.TB, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

func TestFlippedByteCostsOneGranule(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 5<<20)
	b.readAll("key", obj, data, 1<<20)
	b.settle()
	b.close()
	flip(t, dataFiles(t, b.opts.Dir)[0], 3<<20+77)
	b.open()
	b.store.ResetCounts()
	if _, ok := b.cache.File(ref("key"), obj); ok {
		t.Error("File of a damaged file: found")
	}
	b.readAll("key", obj, data, 1<<20)
	if n, m := b.store.Count(backendtest.OpGet), b.store.BytesRead(); n != 1 || m != granuleSize {
		t.Errorf("after one flipped byte: %d GETs of %d bytes, want 1 of %d", n, m, granuleSize)
	}
	if n := b.cache.Stats().Corrupt; n != 1 {
		t.Errorf("Stats().Corrupt = %d, want 1", n)
	}
	b.settle()
	f, ok := b.cache.File(ref("key"), obj)
	if !ok {
		t.Fatal("File after the damage was mended: not found")
	}
	sameBytes(t, f, data)
}

func sameBytes(t testing.TB, f *os.File, want []byte) {
	t.Helper()
	got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("file holds %d bytes, error %v, want %d; same: %t", len(got), err, len(want), bytes.Equal(got, want))
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestKilledCacheKeepsWhatItWrote copies the directory of a running cache, as it is found by
// the next process after a kill.
func TestKilledCacheKeepsWhatItWrote(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 5<<20)
	b.readAll("key", obj, data, 1<<20)
	b.settle()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(b.opts.Dir)); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(filepath.Dir(dataFiles(t, dir)[0]), "stray")
	if err := os.WriteFile(stray, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	b.close()
	b.opts.Dir = dir
	b.open()
	b.store.ResetCounts()
	b.readAll("key", obj, data, 1<<20)
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("%d GETs for what was written before the kill, want none", n)
	}
	if _, err := os.Stat(stray); !os.IsNotExist(err) {
		t.Errorf("a file that the index does not know: %v, want it removed", err)
	}
	if err := b.cache.invariants(); err != nil {
		t.Error(err)
	}
}

// TestTornIndexIsHarmless cuts the index and the file at every kind of place.
func TestTornIndexIsHarmless(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 3<<20+100)
	for cut := range 40 {
		b.readAll("key", obj, data, 1<<20)
		b.settle()
		b.close()
		index := filepath.Join(b.opts.Dir, indexName)
		st, err := os.Stat(index)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(index, max(0, st.Size()-int64(cut*13))); err != nil {
			t.Fatal(err)
		}
		b.open()
		if err := b.cache.invariants(); err != nil {
			t.Fatalf("after the loss of %d bytes of index: %v", cut*13, err)
		}
	}
	b.readAll("key", obj, data, 100_000)
}

func TestBudgetHoldsWhateverIsRead(t *testing.T) {
	const capacity = 12 << 20
	dir := smallDisk(t, "64m")
	b := newBench(t, Options{Dir: filepath.Join(dir, "cache"), Capacity: capacity})
	rng := rand.New(rand.NewPCG(3, 4))
	big, bigData := b.put("big", 40<<20)
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if n := usedOf(t, dir); n > capacity {
					t.Errorf("%d bytes on disk, capacity is %d", n, capacity)
				}
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	for i := range 150 {
		key := fmt.Sprint("small", i)
		obj, data := b.put(key, rng.IntN(300_000))
		b.readAll(key, obj, data, 1<<20)
		r := b.reader("big", big)
		b.want(r, bigData, rng.IntN(len(bigData)), rng.IntN(1<<20))
		r.Close()
	}
	b.readAll("big", big, bigData, 1<<20)
	b.settle()
	close(stop)
	watch.Wait()
	st := b.cache.Stats()
	if st.Evictions == 0 || st.Bytes < capacity/2 || st.Bytes > capacity {
		t.Errorf("Stats() = %+v, want evictions and a well used capacity of %d", st, capacity)
	}
	if err := b.cache.invariants(); err != nil {
		t.Error(err)
	}
	b.reopen()
	if err := b.cache.invariants(); err != nil {
		t.Error(err)
	}
	b.close()
	b.opts.Capacity = 4 << 20
	b.open()
	if n := b.cache.Stats().Bytes; n > 4<<20 {
		t.Errorf("opened with a third of the capacity: %d bytes on disk", n)
	}
	b.checkBudget()
}

// TestScanOfATreeKeepsHotFiles reads a set of files twice, then a tree four times the cache.
func TestScanOfATreeKeepsHotFiles(t *testing.T) {
	b := newBench(t, Options{Capacity: 16 << 20, Memory: 1})
	hot := map[string][]byte{}
	for i := range 20 {
		key := fmt.Sprint("hot", i)
		obj, data := b.put(key, 200_000)
		hot[key] = data
		for range 2 {
			b.cache.memory.forget(refHash(ref(key)))
			b.readAll(key, obj, data, 1<<20)
			b.settle()
		}
	}
	for i := range 300 {
		key := fmt.Sprint("tree", i)
		obj, data := b.put(key, 200_000)
		b.readAll(key, obj, data, 1<<20)
		b.settle()
	}
	b.reopen()
	b.store.ResetCounts()
	for key, data := range hot {
		obj, err := b.store.Head(b.ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		b.readAll(key, obj, data, 1<<20)
	}
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("%d of 20 hot files were evicted by a scan", n)
	}
}

func TestSecondCacheInOneDirectoryIsRefused(t *testing.T) {
	b := newBench(t, Options{})
	if c, err := New(b.opts); err == nil {
		t.Error("second cache in one directory: no error")
		_ = c.Close()
	}
}

func TestObjectWithoutETagIsNotKept(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 1<<20)
	obj.ETag = ""
	b.readAll("key", obj, data, 1<<20)
	b.settle()
	if n := len(dataFiles(t, b.opts.Dir)); n != 0 {
		t.Errorf("%d files on disk for an object without ETag", n)
	}
	data = randomBytes(5, 1<<20)
	b.putBytes("key", data)
	b.readAll("key", obj, data, 1<<20)
	if _, err := b.cache.Fill(b.ctx, b.store, ref("key"), obj); err == nil {
		t.Error("Fill of an object without ETag: no error")
	}
}

// A logbook counts messages.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Message)
	return nil
}

func (l *logbook) count(message string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, message) {
			n++
		}
	}
	return n
}

func TestBrokenDiskIsReadPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &logbook{}
		b := newBench(t, Options{Log: slog.New(book)})
		obj, data := b.put("key", 5<<20)
		b.readAll("key", obj, data, 1<<20)
		b.settle()
		dir := filepath.Join(b.opts.Dir, dataName)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // everything below fails with ENOTDIR
			t.Fatal(err)
		}
		for i := range 5 {
			key := fmt.Sprint("other", i)
			obj, data := b.put(key, 3<<20)
			b.readAll(key, obj, data, 1<<20)
			b.settle()
			time.Sleep(2 * sickLeave)
		}
		b.readAll("key", obj, data, 1<<20)
		if n := book.count("cache disk fails"); n != 1 {
			t.Errorf("a broken disk is logged %d times, want once: %q", n, book.lines)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * sickLeave)
		obj, data = b.put("again", 3<<20)
		for range 2 {
			b.store.ResetCounts()
			b.readAll("again", obj, data, 1<<20)
			b.settle()
			b.cache.memory.forget(refHash(ref("again")))
		}
		if n := b.store.Count(backendtest.OpGet); n != 0 {
			t.Errorf("%d GETs for what was read since the disk works again", n)
		}
	})
}

// smallDisk mounts a file system of that size and returns its directory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// usedOf is what the files of a file system take at this moment.
func usedOf(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// TestFullDiskIsReadPast has a disk that is smaller than the cache's capacity.
func TestFullDiskIsReadPast(t *testing.T) {
	dir := smallDisk(t, "8m")
	book := &logbook{}
	b := newBench(t, Options{Dir: filepath.Join(dir, "cache"), Log: slog.New(book)})
	obj, data := b.put("key", 20<<20)
	b.readAll("key", obj, data, 1<<20)
	b.settle()
	b.readAll("key", obj, data, 1<<20)
	b.reopen()
	b.readAll("key", obj, data, 1<<20)
	if _, err := b.cache.Fill(b.ctx, b.store, ref("key"), obj); err == nil {
		t.Error("Fill on a full disk: no error")
	}
	if n := book.count("cache disk fails"); n < 1 || n > 2 {
		t.Errorf("a full disk is logged %d times in two runs: %q", n, book.lines)
	}
}
