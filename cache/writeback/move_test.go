package writeback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func TestRenameOfAStoredObject(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *queueTest, obj backend.Object)
		want map[string]string
	}{
		{"clean", func(*queueTest, backend.Object) {}, map[string]string{"new": "data"}},
		{"new attributes pending", func(w *queueTest, obj backend.Object) {
			w.ok(w.SetAttrs(ref("old"), obj, attrsOf("set")))
		}, map[string]string{"new": "data"}},
		{"destination pending", func(w *queueTest, _ backend.Object) { w.save("new", "loses") }, map[string]string{"new": "data"}},
		{"destination being deleted", func(w *queueTest, _ backend.Object) {
			w.ok(w.Delete(ref("new"), w.shelf.plant("new", "loses", nil)))
		}, map[string]string{"new": "data"}},
	} {
		for _, powers := range []string{"copier", "bare"} {
			t.Run(tt.name+" "+powers, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newShelf()
					w := open(t, s, func(o *Options) {
						if powers == "bare" {
							o.Open = func(context.Context, string) (backend.Store, error) { return bare{s}, nil }
						}
					})
					obj := s.plant("old", "data", map[string]string{"mtime": "7"})
					tt.do(w, obj)
					w.Start()
					w.ok(w.Rename(t.Context(), ref("old"), ref("new"), obj))
					if p, ok := w.Find(ref("old")); ok && !p.Gone {
						t.Errorf("the old name is still there: %+v", p)
					}
					w.drain()
					w.holds(tt.want)
					got, err := s.Head(t.Context(), "new")
					w.ok(err)
					want := "7"
					if strings.HasPrefix(tt.name, "new attr") {
						want = "set"
					}
					if got.Meta["mtime"] != want {
						t.Errorf("attributes %v, want mtime %s", got.Meta, want)
					}
					if w.stored[ref("new")].ETag != got.ETag || w.removed[ref("old")] != 1 {
						t.Errorf("told: stored %v, removed %v", w.stored, w.removed)
					}
					w.close()
				})
			})
		}
	}
}

func TestRenameOfAnOpenStoredFileKeepsItsWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		base := w.shelf.plant("old", text(1, 200), nil)
		f := w.edit(base)
		w.ok(w.Rename(t.Context(), ref("old"), ref("new"), base))
		if r, ok := f.Ref(); !ok || r != ref("new") {
			t.Errorf("Ref = %v, %v", r, ok)
		}
		_, err := f.WriteAt([]byte("x"), 0)
		w.ok(err)
		w.ok(f.Commit(attrsOf("1")))
		w.ok(f.Close())
		w.drain()
		w.holds(map[string]string{"new": "x" + text(1, 200)[1:]})
		w.close()
	})
}

// Attributes that were committed with the bytes of before go along with the copy.
func TestRenameCarriesWhatSyncWaitsFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		f, err := w.OpenFile(ref("old"), OpenOptions{Truncate: true})
		w.ok(err)
		w.ok(f.Commit(attrsOf("first")))
		w.ok(f.Sync(t.Context()))
		obj, ok := f.Stored()
		if !ok {
			t.Fatal("the content is not stored")
		}
		w.ok(f.Commit(attrsOf("second")))
		w.ok(w.Rename(t.Context(), ref("old"), ref("new"), obj))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w.ok(f.Sync(ctx))
		w.ok(f.Close())
		w.close()
	})
}

func TestArchivedSourceIsRefusedBeforeAnything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		for i := range 5 {
			w.shelf.plant(fmt.Sprintf("d/%d", i), "x", nil)
		}
		cold := w.shelf.objects["d/4"]
		cold.State = backend.Archived
		w.shelf.objects["d/4"] = cold
		if err := w.RenameTree(t.Context(), "b", "d/", "e/"); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("RenameTree = %v, want ErrArchived", err)
		}
		if err := w.Rename(t.Context(), ref("d/4"), ref("f"), cold.Object); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("Rename = %v, want ErrArchived", err)
		}
		w.drain()
		if n := w.shelf.count("copy") + w.shelf.count("delete") + w.shelf.count("batch"); n != 0 {
			t.Errorf("%v", w.shelf.counts)
		}
		w.close()
	})
}

// A tree with objects in the store and every kind of pending change.
func (w *queueTest) tree() (want map[string]string) {
	want = map[string]string{}
	for i := range 20 {
		key := fmt.Sprintf("d/sub%d/f%d", i%3, i)
		w.shelf.plant(key, key, map[string]string{"mtime": key})
		want["e"+key[1:]] = key
	}
	w.over(w.shelf.plant("d/over", "old", nil), "newer")
	want["e/over"] = "newer"
	w.save("d/new", "new")
	want["e/new"] = "new"
	w.ok(w.Delete(ref("d/deleted"), w.shelf.plant("d/deleted", "x", nil)))
	w.ok(w.SetAttrs(ref("d/chmod"), w.shelf.plant("d/chmod", "c", nil), attrsOf("chmod")))
	want["e/chmod"] = "c"
	f := w.edit(w.shelf.plant("d/sparse", text(1, 300), nil))
	_, err := f.WriteAt([]byte("Z"), 5)
	w.ok(err)
	w.ok(f.Commit(attrsOf("1")))
	w.ok(f.Close())
	want["e/sparse"] = text(1, 300)[:5] + "Z" + text(1, 300)[6:]
	w.ok(w.Delete(ref("e/stale"), w.shelf.plant("e/stale", "x", nil)))
	w.ok(w.Delete(ref("e/sub0/f0"), w.shelf.plant("e/sub0/f0", "x", nil)))
	return want
}

func old(want map[string]string) map[string]string {
	before := map[string]string{}
	for key, data := range want {
		before["d"+key[1:]] = data
	}
	return before
}

func TestRenameTree(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf(), func(o *Options) { o.Delay = time.Hour })
		w.Start()
		want := w.tree()
		time.Sleep(time.Second) // deletes are done
		want2 := want
		w.ok(w.RenameTree(t.Context(), "b", "d/", "e/"))
		w.ok(w.SetAttrs(ref("e/new"), backend.Object{}, attrsOf("later")))
		w.drain()
		w.holds(want2)
		got, err := w.shelf.Head(t.Context(), "e/chmod")
		if err != nil || got.Meta["mtime"] != "chmod" {
			t.Errorf("attributes %v, %v", got.Meta, err)
		}
		w.close()
	})
}

// TestRenameTreeFailsAsAWhole fails the n-th copy for good.
func TestRenameTreeFailsAsAWhole(t *testing.T) {
	for _, failed := range []error{backend.ErrPermission, backend.ErrUnavailable} {
		for _, done := range []bool{false, true} {
			for n := 1; n < 23; n += 7 {
				bubble(t, func(t *testing.T) {
					w := open(t, newShelf(), func(o *Options) { o.Delay = time.Hour })
					w.Start()
					want := old(w.tree())
					time.Sleep(time.Second)
					key, left := "", n
					w.shelf.setFail(oneByOne(func(op, k string, d bool) error {
						if op != "copy" || d != done {
							return nil
						}
						if left--; left == 0 {
							key = k
						}
						if k == key {
							return failed
						}
						return nil
					}))
					err := w.RenameTree(t.Context(), "b", "d/", "e/")
					if done { // it was made, and is found to be ours
						if errors.Is(failed, backend.ErrPermission) && !errors.Is(err, failed) {
							t.Errorf("RenameTree = %v, want %v", err, failed)
						}
						w.shelf.setFail(nil)
						if err == nil {
							want = nil
						}
					} else if !errors.Is(err, failed) {
						t.Errorf("RenameTree = %v, want %v", err, failed)
					}
					w.shelf.setFail(nil)
					w.drain()
					if want != nil && !(done && errors.Is(failed, backend.ErrPermission)) {
						w.holds(want)
					}
					w.close()
				})
			}
		}
	}
}

// errCrash stands for a request that the process does not live to see answered.
var errCrash = errors.New("crash")

// TestRenameTreeGoesOnAfterACrashAtAnyRequest kills the process before and after each
// request of a rename.
func TestRenameTreeGoesOnAfterACrashAtAnyRequest(t *testing.T) {
	for n := 1; ; n++ {
		finished := false
		bubble(t, func(t *testing.T) {
			s := newShelf()
			dir := t.TempDir()
			w := openIn(t, dir, s, func(o *Options) { o.Delay = time.Hour; o.Workers = 1 })
			w.Queue.tune.fanout = 1
			w.Start()
			want := w.tree()
			time.Sleep(time.Second)
			left := n
			crash := make(chan struct{})
			s.setFail(func(op, k string, d bool) error {
				if left--; left == 0 {
					close(crash)
				}
				if left <= 0 {
					<-w.ctx.Done()
					return errCrash
				}
				return nil
			})
			result := make(chan error, 1)
			go func() { result <- w.RenameTree(t.Context(), "b", "d/", "e/") }()
			select {
			case <-crash:
				w.crash()
				<-result
			case err := <-result:
				w.ok(err)
				finished = left > 0
				w.crash()
			}
			s.setFail(nil)
			w = openIn(t, dir, s)
			w.Start()
			w.drain()
			keys := slices.Sorted(func(yield func(string) bool) {
				for key := range s.all() {
					if !yield(key) {
						return
					}
				}
			})
			if len(keys) > 0 && strings.HasPrefix(keys[0], "e/") {
				w.holds(want)
			} else {
				w.holds(old(want))
			}
			w.close()
		})
		if finished || t.Failed() {
			t.Logf("%d requests", n)
			return
		}
	}
}
