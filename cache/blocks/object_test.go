package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

// fill fetches a whole object and compares the file.
func (b *bench) fill(key string, obj backend.Object, data []byte) {
	b.t.Helper()
	f, err := b.cache.Fill(b.ctx, b.store, ref(key), obj)
	if err != nil {
		b.t.Fatalf("Fill(%q): %v", key, err)
	}
	sameBytes(b.t, f, data)
}

func TestFillFetchesWhatIsMissing(t *testing.T) {
	b := newBench(t, Options{})
	for _, n := range []int{0, 1, 1 << 20, 20<<20 + 1} {
		obj, data := b.put("key", n)
		r := b.reader("key", obj)
		b.want(r, data, n/2, 100)
		r.Close()
		b.settle()
		b.store.ResetCounts()
		b.fill("key", obj, data)
		if m := b.store.BytesRead(); m > int64(n) || n > 2<<20 && m > int64(n)-granuleSize {
			t.Errorf("Fill of %d bytes with a granule here fetched %d", n, m)
		}
		b.store.ResetCounts()
		f, ok := b.cache.File(ref("key"), obj)
		if !ok {
			t.Fatalf("File of %d bytes after Fill: not found", n)
		}
		sameBytes(t, f, data)
		b.readAll("key", obj, data, 1<<20)
		if n := b.store.Count(backendtest.OpGet); n != 0 {
			t.Errorf("%d GETs after Fill, want none", n)
		}
	}
}

func TestFileFromAnEarlierRun(t *testing.T) {
	b := newBench(t, Options{})
	small, smallData := b.put("small", 8<<20)
	large, largeData := b.put("large", 9<<20)
	b.fill("small", small, smallData)
	b.fill("large", large, largeData)
	b.reopen()
	f, ok := b.cache.File(ref("small"), small)
	if !ok {
		t.Fatal("File of a small object of an earlier run: not found")
	}
	sameBytes(t, f, smallData)
	b.store.ResetCounts()
	for ok = false; !ok; { // compared in the background
		f, ok = b.cache.File(ref("large"), large)
	}
	sameBytes(t, f, largeData)
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("%d GETs for files of an earlier run, want none", n)
	}
}

func TestFillOfDamagedFile(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 20<<20)
	b.fill("key", obj, data)
	b.close()
	flip(t, dataFiles(t, b.opts.Dir)[0], 11<<20)
	b.open()
	b.fill("key", obj, data)
}

func TestFillThatCannotBe(t *testing.T) {
	b := newBench(t, Options{Capacity: 8 << 20})
	obj, data := b.put("key", 9<<20)
	if _, err := b.cache.Fill(b.ctx, b.store, ref("key"), obj); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Fill of an object larger than the cache: %v, want ENOSPC", err)
	}
	b.readAll("key", obj, data, 1<<20)

	obj, _ = b.put("key", 5<<20)
	b.putBytes("key", data)
	if _, err := b.cache.Fill(b.ctx, b.store, ref("key"), obj); !errors.Is(err, backend.ErrChanged) {
		t.Errorf("Fill of an overwritten object: %v, want ErrChanged", err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	obj, _ = b.put("key", 6<<20)
	if _, err := b.cache.Fill(ctx, b.store, ref("key"), obj); !errors.Is(err, context.Canceled) {
		t.Errorf("Fill with a cancelled context: %v", err)
	}
	b.settle()
	if err := b.cache.disk.invariants(); err != nil {
		t.Error(err)
	}
}

// TestOpenFilesAreNotEvicted fills the cache with files that are open and asks for more.
func TestOpenFilesAreNotEvicted(t *testing.T) {
	b := newBench(t, Options{Capacity: 16 << 20})
	var files []*os.File
	var contents [][]byte
	for i := range 3 {
		key := fmt.Sprint("open", i)
		obj, data := b.put(key, 4<<20)
		f, err := b.cache.Fill(b.ctx, b.store, ref(key), obj)
		if err != nil {
			t.Fatal(err)
		}
		files, contents = append(files, f), append(contents, data)
	}
	obj, data := b.put("other", 8<<20)
	if _, err := b.cache.Fill(b.ctx, b.store, ref("other"), obj); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Fill of a cache full of open files: %v, want ENOSPC", err)
	}
	b.readAll("other", obj, data, 1<<20)
	b.settle()
	b.checkBudget()
	// Forgotten while open: still there for whoever has it open, and still counted.
	before := b.cache.Stats().Bytes
	b.cache.Forget(ref("open0"))
	if after := b.cache.Stats().Bytes; after < before-1<<20 {
		t.Errorf("%d bytes counted after an open file was forgotten, before %d", after, before)
	}
	for i, f := range files {
		sameBytes(t, f, contents[i]) // closes it
	}
	b.fill("other", obj, data)
	b.checkBudget()
	if err := b.cache.disk.invariants(); err != nil {
		t.Error(err)
	}
}

// stage makes a file as the staging area has it, on the cache's file system.
func (b *bench) stage(data []byte) string {
	b.t.Helper()
	path := filepath.Join(filepath.Dir(b.opts.Dir), fmt.Sprintf("staged-%d", len(data)))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func TestAdoptAndTakeKeepTheInode(t *testing.T) {
	b := newBench(t, Options{})
	for _, n := range []int{1, 5 << 20, 20 << 20} {
		obj, data := b.put("key", n)
		path := b.stage(data)
		inode := inodeOf(t, path)
		if err := b.cache.Adopt(path, ref("key"), obj); err != nil {
			t.Fatal(err)
		}
		f, ok := b.cache.File(ref("key"), obj)
		if !ok {
			t.Fatalf("File of %d bytes after Adopt: not found", n)
		}
		if got := inodeOf(t, fmt.Sprintf("/proc/self/fd/%d", f.Fd())); got != inode {
			t.Errorf("inode after Adopt = %d, want %d", got, inode)
		}
		sameBytes(t, f, data)
		b.readAll("key", obj, data, 1<<20)
		to := filepath.Join(t.TempDir(), "taken")
		if !b.cache.Take(ref("key"), obj, to) {
			t.Fatalf("Take of %d bytes: false", n)
		}
		if got := inodeOf(t, to); got != inode {
			t.Errorf("inode after Take = %d, want %d", got, inode)
		}
		if _, ok := b.cache.File(ref("key"), obj); ok {
			t.Error("File after Take: found")
		}
		if b.cache.Take(ref("key"), obj, to) {
			t.Error("second Take: true")
		}
		if err := b.cache.disk.invariants(); err != nil {
			t.Error(err)
		}
	}
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("%d GETs, want none", n)
	}
}

func inodeOf(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestAdoptedFileOutlastsARestart(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 20<<20)
	if err := b.cache.Adopt(b.stage(data), ref("key"), obj); err != nil {
		t.Fatal(err)
	}
	for summed := false; !summed; { // in the background
		b.cache.disk.mu.Lock()
		v := b.cache.disk.versions[sourceOf(ref("key"), obj).id]
		summed = v.blocks[19].summed == 1<<blockGranules-1
		b.cache.disk.mu.Unlock()
	}
	b.reopen()
	b.fill("key", obj, data)
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("%d GETs for an adopted file after a restart, want none", n)
	}
}

func TestAdoptRefuses(t *testing.T) {
	b := newBench(t, Options{Capacity: 16 << 20})
	obj, data := b.put("key", 1<<20)
	path := b.stage(data[1:])
	if err := b.cache.Adopt(path, ref("key"), obj); err == nil {
		t.Error("Adopt of a file of another size: no error")
	}
	obj, data = b.put("key", 17<<20)
	large := b.stage(data)
	if err := b.cache.Adopt(large, ref("key"), obj); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Adopt of a file larger than the cache: %v, want ENOSPC", err)
	}
	for _, p := range []string{path, large} {
		if _, err := os.Stat(p); err != nil {
			t.Errorf("file after a failed Adopt: %v", err)
		}
	}
}

// TestTakenFileIsNotReadAgain has readers at work while the file is taken and written to.
func TestTakenFileIsNotReadAgain(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 3<<20)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := b.reader("key", obj)
			defer r.Close()
			p := make([]byte, 300_000)
			for j := i; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				off := j * 77_777 % (len(data) - len(p))
				if n, err := r.ReadAt(b.ctx, p, int64(off)); err != nil || !bytes.Equal(p[:n], data[off:off+n]) {
					t.Errorf("ReadAt(%d) beside Take = %d, %v; same: %t", off, n, err, bytes.Equal(p[:n], data[off:off+n]))
					return
				}
			}
		})
	}
	other := bytes.Repeat([]byte("x"), len(data))
	for i := range 30 {
		f, err := b.cache.Fill(b.ctx, b.store, ref("key"), obj)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		to := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if !b.cache.Take(ref("key"), obj, to) {
			t.Fatal("Take of a filled file: false")
		}
		b.cache.memory.forget(refHash(ref("key")))
		if err := os.WriteFile(to, other, 0o600); err != nil { // the same inode
			t.Fatal(err)
		}
		got, err := os.ReadFile(to)
		if err != nil || !bytes.Equal(got, other) {
			t.Fatal("somebody wrote to a file that was taken")
		}
	}
	close(stop)
	wg.Wait()
}

func TestForgetDropsAllVersions(t *testing.T) {
	b := newBench(t, Options{})
	for i := range 3 {
		obj, data := b.put("key", 1<<20+i)
		b.fill("key", obj, data)
	}
	obj, data := b.put("other", 1<<20)
	b.fill("other", obj, data)
	b.cache.Forget(ref("key"))
	if n := len(dataFiles(t, b.opts.Dir)); n != 1 {
		t.Errorf("%d files after Forget, want that of the other object", n)
	}
	b.cache.disk.sweep(true)
	if err := b.cache.disk.invariants(); err != nil {
		t.Error(err)
	}
}
