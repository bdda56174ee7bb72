package writeback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// open opens a queue in a directory of its own.
func open(t *testing.T, s *shelf, opts ...func(*Options)) *queueTest {
	t.Helper()
	return openIn(t, t.TempDir(), s, opts...)
}

func openIn(t *testing.T, dir string, s *shelf, opts ...func(*Options)) *queueTest {
	t.Helper()
	w := &queueTest{t: t, shelf: s, dir: dir, stored: map[backend.Ref]backend.Object{}, handed: map[backend.Ref]string{}, removed: map[backend.Ref]int{}}
	o := Options{
		Dir:    filepath.Join(dir, "wb"),
		Log:    slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Open:   func(context.Context, string) (backend.Store, error) { return s, nil },
		Stored: w.onStored,
		Removed: func(ref backend.Ref) {
			w.cb.Lock()
			defer w.cb.Unlock()
			w.removed[ref]++
		},
		Unused: func(ref backend.Ref, obj backend.Object, path string) { w.onStored(ref, obj, path) },
	}
	for _, f := range opts {
		f(&o)
	}
	q, err := newQueue(o, testTuning())
	if err != nil {
		t.Fatal(err)
	}
	w.Queue = q
	return w
}

func (w *queueTest) onStored(ref backend.Ref, obj backend.Object, path string) {
	w.cb.Lock()
	defer w.cb.Unlock()
	w.stored[ref] = obj
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			w.t.Errorf("handed over %s: %v", ref, err)
		}
		w.handed[ref] = string(data)
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func (w *queueTest) close() {
	w.t.Helper()
	if err := w.Close(w.t.Context()); err != nil {
		w.t.Errorf("Close: %v", err)
	}
}

func (w *queueTest) drain() {
	w.t.Helper()
	if err := w.Drain(w.t.Context()); err != nil {
		w.t.Fatalf("Drain: %v", err)
	}
}

// write makes ref hold data, as a program that creates or truncates the file would.
func (w *queueTest) write(key, data string) *File {
	w.t.Helper()
	base, _ := w.Queue.Find(ref(key))
	f, err := w.OpenFile(ref(key), OpenOptions{Truncate: true, Base: base.Object})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(data), 0); err != nil {
		w.t.Fatal(err)
	}
	if err := f.Commit(attrsOf(data)); err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *queueTest) save(key, data string) {
	w.t.Helper()
	if err := w.write(key, data).Close(); err != nil {
		w.t.Fatal(err)
	}
}

// over is like save for an object that is in the store.
func (w *queueTest) over(base backend.Object, data string) {
	w.t.Helper()
	f, err := w.OpenFile(ref(base.Key), OpenOptions{Truncate: true, Base: base})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(data), 0); err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(f.Commit(attrsOf(data)), f.Close()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *queueTest) holds(want map[string]string) {
	w.t.Helper()
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	for key, data := range want {
		if got, ok := w.shelf.objects[key]; !ok || string(got.data) != data {
			w.t.Errorf("store holds %q = %q (%v), want %q", key, got.data, ok, data)
		}
	}
	for key, h := range w.shelf.objects {
		if _, ok := want[key]; !ok {
			w.t.Errorf("store holds %q = %q, want nothing", key, h.data)
		}
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestCommitIsSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		w.save("a/file", "hello")
		if p, ok := w.Find(ref("a/file")); !ok || p.Object.Size != 5 || p.Object.ETag != "" {
			t.Errorf("Find = %+v, %v", p, ok)
		}
		time.Sleep(time.Second)
		w.holds(map[string]string{"a/file": "hello"})
		if _, ok := w.Find(ref("a/file")); ok {
			t.Errorf("still pending")
		}
		if got := w.handed[ref("a/file")]; got != "hello" {
			t.Errorf("handed over %q", got)
		}
		if n := w.shelf.total(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		w.close()
	})
}

func TestSyncWaitsForTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		s.delay = time.Second
		w := open(t, s)
		w.Start()
		f := w.write("k", "one")
		begin := time.Now()
		if err := f.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("Sync took %v, want the second of the store, not the delay", d)
		}
		w.holds(map[string]string{"k": "one"})
		if _, ok := f.Stored(); !ok {
			t.Errorf("not Stored after Sync")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.handed[ref("k")]; got != "one" {
			t.Errorf("handed over %q", got)
		}
		w.close()
	})
}

func TestChangesMergeBeforeTheUpload(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(w *queueTest)
		requests int
		want     map[string]string
	}{
		{"two writes", func(w *queueTest) { w.save("k", "1"); w.save("k", "22") }, 1, map[string]string{"k": "22"}},
		{"create and delete", func(w *queueTest) {
			w.save("k", "1")
			w.ok(w.Delete(ref("k"), backend.Object{}))
		}, 0, nil},
		{"chmod", func(w *queueTest) {
			w.save("k", "1")
			w.ok(w.SetAttrs(ref("k"), backend.Object{}, attrsOf("new")))
		}, 1, map[string]string{"k": "1"}},
		{"rename", func(w *queueTest) {
			w.save("k", "1")
			w.ok(w.Rename(w.t.Context(), ref("k"), ref("l"), backend.Object{}))
		}, 1, map[string]string{"l": "1"}},
		{"rename twice", func(w *queueTest) { // the first may have replaced something in the store
			w.save("k", "1")
			w.ok(w.Rename(w.t.Context(), ref("k"), ref("l"), backend.Object{}))
			w.ok(w.Rename(w.t.Context(), ref("l"), ref("m"), backend.Object{}))
		}, 2, map[string]string{"m": "1"}},
		{"rename over pending", func(w *queueTest) {
			w.save("k", "1")
			w.save("l", "2")
			w.ok(w.Rename(w.t.Context(), ref("k"), ref("l"), backend.Object{}))
		}, 1, map[string]string{"l": "1"}},
		{"symlink and delete and file", func(w *queueTest) {
			w.ok(w.Put(ref("k"), []byte("target"), attrsOf("link"), backend.Object{}))
			w.ok(w.Delete(ref("k"), backend.Object{}))
			w.save("k", "x")
		}, 1, map[string]string{"k": "x"}},
		{"append to a symlink", func(w *queueTest) {
			w.ok(w.Put(ref("k"), []byte("target"), attrsOf("link"), backend.Object{}))
			f, err := w.OpenFile(ref("k"), OpenOptions{})
			w.ok(err)
			_, err = f.WriteAt([]byte("+"), 6)
			w.ok(err)
			w.ok(f.Commit(attrsOf("2")))
			w.ok(f.Close())
		}, 1, map[string]string{"k": "target+"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := open(t, newShelf())
				w.Start()
				tt.do(w)
				w.drain()
				w.holds(tt.want)
				if n := w.shelf.total(); n != tt.requests {
					t.Errorf("%d requests, want %d: %v", n, tt.requests, w.shelf.counts)
				}
				w.close()
			})
		})
	}
}

func (w *queueTest) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestDeletesGoInBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		for _, key := range []string{"a", "b", "c"} {
			obj := w.shelf.plant(key, key, nil)
			w.ok(w.Delete(ref(key), obj))
			if p, ok := w.Find(ref(key)); !ok || !p.Gone {
				t.Errorf("Find(%q) = %+v, %v", key, p, ok)
			}
		}
		w.ok(w.WaitBelow(t.Context(), "b", ""))
		w.holds(nil)
		if n := w.shelf.total(); n != 1 {
			t.Errorf("%d requests, want one batch", n)
		}
		if _, ok := w.Find(ref("a")); ok || w.removed[ref("a")] != 1 {
			t.Errorf("not confirmed")
		}
		w.close()
	})
}

func TestJournalSurvivesWithoutClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		dir := t.TempDir()
		w := openIn(t, dir, s)
		w.save("k", "pending")
		w.ok(w.Put(ref("l"), []byte("inline"), attrsOf("1"), backend.Object{}))
		w.ok(w.Put(ref("empty"), nil, attrsOf("1"), backend.Object{}))
		obj := s.plant("gone", "x", nil)
		w.ok(w.Delete(ref("gone"), obj))
		w.crash()
		w = openIn(t, dir, s)
		w.Start()
		w.drain()
		w.holds(map[string]string{"k": "pending", "l": "inline", "empty": ""})
		w.close()
		w = openIn(t, dir, s)
		if n := len(w.Pending()); n != 0 {
			t.Errorf("%d pending after drain", n)
		}
		w.close()
	})
}

// crash is what kill -9 does: nothing more is written, sent or closed properly.
func (w *queueTest) crash() {
	w.t.Helper()
	w.Queue.mu.Lock()
	w.Queue.closed = true
	w.Queue.mu.Unlock()
	w.Queue.cancel()
	w.Queue.wg.Wait()
	_ = w.Queue.j.file.Close() // as the kernel does
	_ = w.Queue.lock.Close()
}

func TestForeignChangeIsAConflict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		base := w.shelf.plant("dir/report.txt", "base", nil)
		f, err := w.OpenFile(ref("dir/report.txt"), OpenOptions{Truncate: true, Base: base})
		w.ok(err)
		_, err = f.WriteAt([]byte("mine"), 0)
		w.ok(err)
		w.shelf.plant("dir/report.txt", "theirs", nil)
		w.ok(f.Commit(attrsOf("m")))
		if err := f.Sync(t.Context()); !errors.Is(err, backend.ErrChanged) {
			t.Errorf("Sync = %v, want ErrChanged", err)
		}
		w.drain()
		kept, ok := f.Ref()
		if !ok || kept.Key == "dir/report.txt" {
			t.Fatalf("Ref = %v, %v", kept, ok)
		}
		w.holds(map[string]string{"dir/report.txt": "theirs", kept.Key: "mine"})
		w.ok(f.Close())
		w.close()
	})
}

func TestLostAnswerIsNoConflict(t *testing.T) {
	for _, second := range []string{"", "newer"} {
		bubble(t, func(t *testing.T) {
			s := newShelf()
			w := open(t, s)
			w.Start()
			lose := true
			s.setFail(func(op, key string, done bool) error {
				if op == "put" && done && lose {
					lose = false
					return backend.ErrUnavailable
				}
				return nil
			})
			w.save("k", "first")
			want := "first"
			time.Sleep(700 * time.Millisecond)
			if second != "" {
				w.save("k", second)
				want = second
			}
			w.drain()
			w.holds(map[string]string{"k": want})
			w.close()
		})
	}
}

func stringReader(s string) readBase {
	return func(_ context.Context, p []byte, off int64) (int, error) {
		return copy(p, s[min(off, int64(len(s))):]), nil
	}
}

// dump describes what has not gone.
func (w *queueTest) dump() (all string) {
	w.Queue.mu.Lock()
	defer w.Queue.mu.Unlock()
	for _, e := range w.entries {
		all += fmt.Sprintf("\n%s %s base %+v, job %v, due in %v, index %d, fails %d, err %v", e.ref, e.want, e.base, e.job != nil, time.Until(e.due), e.index, e.fails, e.err)
		if f := e.file; f != nil {
			all += fmt.Sprintf(", file with %d refs, %d pins, begin %v, stored %+v, mark %+v", f.refs, f.pins, f.begin, f.stored, f.mark)
		}
	}
	return all + fmt.Sprintf("\n%d moves, %d held, %d uploads, %d running, %d batches, health %+v",
		len(w.moves), len(w.held), len(w.Queue.uploads), w.running, len(w.batches), w.health)
}
