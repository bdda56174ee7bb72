package writeback

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"

	"github.com/thawfs/thawfs/backend"
)

// TestOpenWaitsForTheEndOfASmallPut opens a key while the store has just confirmed content that
// is in the journal, and somebody is being told. The file given for it must not be lost to that.
func TestOpenWaitsForTheEndOfASmallPut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		told, goOn := make(chan struct{}), make(chan struct{})
		stored := w.o.Stored
		w.o.Stored = func(r backend.Ref, obj backend.Object, path string) {
			stored(r, obj, path)
			close(told)
			<-goOn
		}
		w.Start()
		w.ok(w.Put(ref("k"), []byte("tiny"), attrsOf("1"), backend.Object{}))
		<-told
		base := w.shelf.all()["k"].Object
		path := w.dir + "/cached"
		w.ok(os.WriteFile(path, []byte("tiny"), 0o600))
		var f *File
		var err error
		opened := make(chan struct{})
		go func() {
			f, err = w.OpenFile(ref("k"), OpenOptions{Base: base, Path: path})
			close(opened)
		}()
		synctest.Wait()
		close(goOn)
		<-opened
		w.ok(err)
		buf := make([]byte, 10)
		if n, err := f.ReadAt(t.Context(), buf, 0); err != nil || string(buf[:n]) != "tiny" {
			t.Errorf("ReadAt = %q, %v, want the bytes that were there", buf[:n], err)
		}
		w.ok(f.Close())
		w.close()
	})
}

// TestTheSlowerOfTwoOpenersKeepsItsFile has one opener take a file over when another one has
// just been faster: the next attempt needs it if the faster one is gone by then.
func TestTheSlowerOfTwoOpenersKeepsItsFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf())
		w.Start()
		base := w.shelf.plant("k", "cached", nil)
		o := OpenOptions{Base: base, Path: w.dir + "/cached"}
		w.ok(os.WriteFile(o.Path, []byte("cached"), 0o600))
		slow, err := w.stage(ref("k"), o)
		w.ok(err)
		fast := w.edit(base)
		if w.attach(slow, o) {
			t.Error("a key has two files")
		}
		w.unstage(slow, o)
		if data, err := os.ReadFile(o.Path); string(data) != "cached" {
			t.Errorf("ReadFile = %q, %v, want what was taken over", data, err)
		}
		f, err := w.OpenFile(ref("k"), o)
		w.ok(err)
		if _, err := os.Lstat(o.Path); f != fast || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("OpenFile = %p, Lstat: %v, want %p and nothing left over", f, err, fast)
		}
		w.ok(f.Close())
		w.ok(fast.Close())
		w.close()
	})
}
