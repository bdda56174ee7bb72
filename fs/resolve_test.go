package fs

import (
	"context"
	"fmt"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A slowLister lists as a distant store does: what it says is some time old when it arrives.
type slowLister struct{ backend.Service }

type slowListed struct {
	backend.Store
	backend.BatchDeleter
}

func (s slowLister) Open(ctx context.Context, name string) (backend.Store, error) {
	store, err := s.Service.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return slowListed{store, store.(backend.BatchDeleter)}, nil
}

func (s slowListed) List(ctx context.Context, prefix, after string, o backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		type item struct {
			e   backend.Entry
			err error
		}
		var items []item
		for e, err := range s.Store.List(ctx, prefix, after, o) {
			items = append(items, item{e, err})
		}
		time.Sleep(100 * time.Millisecond) // meanwhile deletes are confirmed
		for _, i := range items {
			if !yield(i.e, i.err) {
				return
			}
		}
	}
}

// rm -rf unlinks and removes the directory at once, while the deletes are on their way.
func TestRmdirWhileDeletesAreConfirmed(t *testing.T) {
	m := mountOn(t, slowLister{newStore(t)})
	for round := range 3 {
		dir := m.path(fmt.Sprint("d", round))
		must(t, os.Mkdir(dir, 0o755))
		for i := range 20 {
			must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o644))
		}
		m.drain()
		must(t, os.RemoveAll(dir))
	}
}

// Whether a directory has a marker is one question, whether it is there another.
func TestNoMarkerIsNoAbsence(t *testing.T) {
	m := mount(t)
	m.put("d/a", "x", backend.Attrs{})
	dir := backend.Ref{Bucket: "buk", Key: "d/"}
	if _, err := m.FS.object(t.Context(), m.store, dir); !isNotExist(err) {
		t.Fatalf("the marker of a directory that has none: %v", err)
	}
	if _, err := m.directory(t.Context(), m.store, dir); err != nil {
		t.Errorf("a directory with a file, after its marker was asked for: %v", err)
	}
	if got := m.read("d/a"); got != "x" {
		t.Errorf("d/a holds %q", got)
	}
}

// A goneMarker is a store of which somebody deletes the marker d/ whenever it has been listed.
type goneMarker struct{ backend.Store }

func (s goneMarker) Head(ctx context.Context, key string) (backend.Object, error) {
	if key == "d/" {
		if err := s.Delete(ctx, key); err != nil {
			return backend.Object{}, err
		}
	}
	return s.Store.Head(ctx, key)
}

func TestMarkerDeletedWhileLookedAt(t *testing.T) {
	m := mount(t)
	dir := backend.Ref{Bucket: "buk", Key: "d/"}
	m.put("d/", "", backend.Attrs{})
	if _, err := m.directory(t.Context(), goneMarker{m.store}, dir); !isNotExist(err) {
		t.Errorf("a directory that is gone with its marker: %v", err)
	}
	m.put("d/", "", backend.Attrs{})
	m.put("d/a", "x", backend.Attrs{})
	m.entries.Drop(dir)
	if _, err := m.directory(t.Context(), goneMarker{m.store}, dir); err != nil {
		t.Errorf("a directory with a file, of which the marker is deleted: %v", err)
	}
}

// What was set of a directory stays, whether its level is remembered or too large for that.
func TestAttributesOfDirectoryWait(t *testing.T) {
	m := mount(t, func(o *Options) { o.Delay, o.TTL, o.NegativeTTL = time.Hour, time.Nanosecond, time.Nanosecond })
	must(t, os.Mkdir(m.path("d"), 0o700))
	must(t, os.Chmod(m.path("d"), 0o755))
	dir := backend.Ref{Bucket: "buk", Key: "d/"}
	obj, err := m.directory(t.Context(), m.store, dir)
	must(t, err)
	if mode := m.decode(obj).Mode & permBits; mode != 0o755 {
		t.Errorf("mode %04o, want 0755", mode)
	}
	obj, known, err := m.look(t.Context(), m.store, backend.Ref{Bucket: "buk"}, dir)
	must(t, err)
	if mode := m.decode(obj).Mode & permBits; !known || mode != 0o755 {
		t.Errorf("at first sight: mode %04o, want 0755", mode)
	}
}
