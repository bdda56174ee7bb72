package writeback

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// kernel is the descriptor that the kernel writes by itself (FUSE passthrough).
func (w *queueTest) kernel(f *File) int {
	w.t.Helper()
	fd, ok := f.Fd()
	if !ok {
		w.t.Fatal("no descriptor for the kernel")
	}
	return fd
}

func pwrite(t *testing.T, fd int, data string, off int64) {
	t.Helper()
	if n, err := unix.Pwrite(fd, []byte(data), off); err != nil || n != len(data) {
		t.Fatalf("pwrite = %d, %v", n, err)
	}
}

func TestWritesOfTheKernelAreNoticed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		f, err := w.OpenFile(ref("k"), OpenOptions{})
		w.ok(err)
		fd := w.kernel(f)
		w.ok(f.Commit(attrsOf("0")))
		for i, data := range []string{"one", "two", "six"} { // of one size, in no time
			pwrite(t, fd, data, 0)
			if size, _, changed := f.Stat(); size != 3 || !changed {
				t.Errorf("write %d: Stat = %d, changed %v", i, size, changed)
			}
			if p, ok := w.Find(ref("k")); !ok || p.Object.Size != 3 || p.Object.ETag != "" {
				t.Errorf("write %d: Find = %+v, %v", i, p, ok)
			}
			w.ok(f.Commit(attrsOf(data)))
			if _, _, changed := f.Stat(); changed {
				t.Errorf("changed right after Commit")
			}
			w.ok(f.Sync(t.Context()))
			w.holds(map[string]string{"k": data})
		}
		w.ok(f.Close())
		w.close()
	})
}

// TestAMappingThatOutlivesItsDescriptor writes through a mapping after the content was sent:
// no mtime tells of that.
func TestAMappingThatOutlivesItsDescriptor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		f, err := w.OpenFile(ref("k"), OpenOptions{})
		w.ok(err)
		fd := w.kernel(f)
		pwrite(t, fd, "before", 0)
		mem, err := unix.Mmap(fd, 0, 6, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		w.ok(err)
		mem[0] = 'B' // the page is writable from here on
		w.ok(f.Commit(attrsOf("1")))
		w.ok(f.Sync(t.Context()))
		copy(mem, "AFTER!")
		w.ok(unix.Munmap(mem))
		w.ok(f.Close())
		time.Sleep(time.Minute)
		w.drain()
		w.holds(map[string]string{"k": "AFTER!"})
		w.close()
	})
}

// TestNoTornObject has the kernel rewrite a file all the time, in single writes, while it is
// sent again and again. Every version in the store is one that was in the file.
func TestNoTornObject(t *testing.T) {
	for i, size := range []int{3000, 3000, 300 << 10, 300 << 10} {
		s := newShelf()
		s.limits.MinSize = 1
		w := open(t, s, quiet, func(o *Options) { o.Delay = -1 })
		w.Queue.sharp = i%2 == 0 // as far as the file system can tell
		w.Queue.tune.buffered, w.Queue.tune.wholeMax = 8<<10, 64<<10
		w.Queue.tune.partSize = 64 << 10
		w.Start()
		f, err := w.OpenFile(ref("k"), OpenOptions{})
		w.ok(err)
		fd := w.kernel(f)
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				pwrite(t, fd, strings.Repeat(string(rune('a'+i%26)), size), 0)
				time.Sleep(time.Duration(i%5) * time.Millisecond)
			}
		})
		checked := 0
		for checked < 10 {
			w.ok(f.Commit(attrsOf("1")))
			if err := f.Sync(t.Context()); err != nil && !errors.Is(err, errUnsteady) {
				t.Fatal(err)
			}
			data, ok := s.content("k")
			if !ok || len(data) == 0 {
				continue
			}
			checked++
			if data != strings.Repeat(data[:1], size) {
				t.Errorf("torn: %d bytes, %q ... %q", len(data), data[0], data[len(data)-1])
			}
		}
		stop.Store(true)
		wg.Wait()
		w.ok(f.Commit(attrsOf("2")))
		w.ok(f.Close())
		w.drain()
		if data, _ := s.content("k"); data != strings.Repeat(data[:1], size) {
			t.Errorf("torn in the end")
		}
		w.close()
	}
}

// TestAFileIsSentWhole rewrites a file that waits for its upload, and takes longer for that than
// it waits. Others see the old object until the new one is complete.
func TestAFileIsSentWhole(t *testing.T) {
	for _, size := range []int{50, 100, 1000} { // in memory, in one Put, in parts
		bubble(t, func(t *testing.T) {
			s := newShelf()
			w := open(t, s, quiet)
			w.Start()
			old, half, whole := strings.Repeat("o", size), strings.Repeat("h", size/2), strings.Repeat("w", size)
			w.save("k", "first")
			w.drain()
			w.over(withKey(s.all()["k"].Object, "k"), old) // waits
			f, err := w.OpenFile(ref("k"), OpenOptions{Truncate: true})
			w.ok(err)
			fd := w.kernel(f)
			pwrite(t, fd, half, 0)
			time.Sleep(time.Minute)
			if data, _ := s.content("k"); data != "first" && data != old {
				t.Errorf("the store has %d bytes of %d, %.3q", len(data), size, data)
			}
			w.ok(f.Commit(attrsOf("half"))) // it is what it is to be, for now
			time.Sleep(time.Minute)
			w.holds(map[string]string{"k": half})
			pwrite(t, fd, whole, 0)
			w.ok(f.Commit(attrsOf("whole")))
			w.ok(f.Close())
			w.drain()
			w.holds(map[string]string{"k": whole})
			w.close()
		})
	}
}

func TestTakenFileIsGivenBackUnchanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		base := w.shelf.plant("k", "cached", nil)
		path := w.dir + "/cached"
		w.ok(os.WriteFile(path, []byte("cached"), 0o600))
		f, err := w.OpenFile(ref("k"), OpenOptions{Base: base, Path: path})
		w.ok(err)
		if obj, ok := f.Stored(); !ok || obj.ETag != base.ETag {
			t.Errorf("Stored = %v, %v", obj, ok)
		}
		if err := f.Commit(base.Attrs); err != nil {
			t.Error(err)
		}
		w.ok(f.Close())
		synctest.Wait()
		if w.handed[ref("k")] != "cached" || w.shelf.total() != 0 {
			t.Errorf("handed over %q after %d requests", w.handed[ref("k")], w.shelf.total())
		}
		w.close()
	})
}

func TestUnlinkedOpenFileKeepsItsContent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		data := text(7, 500)
		base := w.shelf.plant("k", data, nil)
		f := w.edit(base)
		w.ok(w.Delete(ref("k"), base))
		w.ok(w.Wait(t.Context(), ref("k")))
		w.holds(nil)
		if _, ok := f.Ref(); ok {
			t.Errorf("an unlinked file has a name")
		}
		buf := make([]byte, 500)
		if n, err := f.ReadAt(t.Context(), buf, 0); err != nil || string(buf[:n]) != data {
			t.Errorf("ReadAt = %d, %v", n, err)
		}
		w.ok(f.Commit(attrsOf("1")))
		w.ok(f.Close())
		w.drain()
		w.holds(nil)
		time.Sleep(3 * time.Second)
		if left, err := os.ReadDir(w.stagingDir()); err != nil || len(left) > 0 {
			t.Errorf("left in staging: %v, %v", left, err)
		}
		w.close()
	})
}

func TestTruncatedAndClosedWithoutACommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		base := w.shelf.plant("k", "full", nil)
		f, err := w.OpenFile(ref("k"), OpenOptions{Base: base, Truncate: true})
		w.ok(err)
		w.ok(f.Close())
		n, err := w.OpenFile(ref("new"), OpenOptions{})
		w.ok(err)
		w.ok(n.Close())
		w.drain()
		w.holds(map[string]string{"k": ""})
		w.close()
	})
}

func TestRotInStagedDataIsNotSent(t *testing.T) {
	for _, data := range []string{"precious", strings.Repeat("precious", 1000)} { // in one Put, in parts
		testRot(t, data)
	}
}

func testRot(t *testing.T, data string) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf(), quiet, func(o *Options) { o.Delay = time.Hour })
		w.Start()
		w.save("k", data)
		time.Sleep(2 * time.Second) // large content has its checksum from the group commit
		path := w.stagedPath(1)
		info, err := os.Stat(path)
		w.ok(err)
		w.ok(os.WriteFile(path, []byte("prexious"+data[8:]), 0o600))
		w.ok(os.Chtimes(path, info.ModTime(), info.ModTime()))
		if err := w.Wait(t.Context(), ref("k")); !errors.Is(err, backend.ErrCorrupt) {
			t.Errorf("Wait = %v, want ErrCorrupt", err)
		}
		w.holds(nil)
		if p, ok := w.Find(ref("k")); !ok || p.Err == nil {
			t.Errorf("not kept: %+v, %v", p, ok)
		}
		w.close()
	})
}
