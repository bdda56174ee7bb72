package writeback

import (
	"testing"

	"github.com/thawfs/thawfs/backend"
)

// Attributes of an archived object stay here, over a restart too, and trouble nobody until
// the object is replaced.
func TestAttributesOfAnArchivedObjectArePutAside(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		dir := t.TempDir()
		w := openIn(t, dir, s)
		w.Start()
		s.plant("cold", "bytes", nil)
		cold := s.objects["cold"]
		cold.State = backend.Archived
		s.objects["cold"] = cold
		want := map[string]string{"mode": "33152"}
		if err := w.SetAttrs(ref("cold"), cold.Object, backend.Attrs{Meta: want}); err != nil {
			t.Fatal(err)
		}
		w.drain()
		if n := s.count("copy"); n != 0 {
			t.Errorf("%d copies of an archived object", n)
		}
		w.close()
		w = openIn(t, dir, s)
		w.Start()
		w.drain()
		p, ok := w.Find(ref("cold"))
		if !ok || p.Object.Meta["mode"] != "33152" || w.Stats().Pending != 0 {
			t.Errorf("after a restart: %+v, %v; %d pending", p, ok, w.Stats().Pending)
		}
		f, err := w.OpenFile(ref("cold"), OpenOptions{Base: cold.Object, Truncate: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(backend.Attrs{Meta: want}); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		w.drain()
		defer w.close()
		if got := s.objects["cold"]; got.Meta["mode"] != "33152" || got.Size != 0 {
			t.Errorf("replaced: %+v", got)
		}
	})
}

// While a restored copy is readable a store could change them, and would take the copy away.
func TestAttributesDoNotCostARestoredCopy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		dir := t.TempDir()
		w := openIn(t, dir, s)
		w.Start()
		s.plant("cold", "bytes", nil)
		cold := s.objects["cold"]
		cold.State, cold.Class = backend.Restored, "GLACIER"
		s.objects["cold"] = cold
		set := func(class string) {
			t.Helper()
			a := backend.Attrs{Meta: map[string]string{"mode": "33152"}, Class: class}
			if err := w.SetAttrs(ref("cold"), cold.Object, a); err != nil {
				t.Fatal(err)
			}
			w.drain()
		}
		set("GLACIER")
		w.close()
		w = openIn(t, dir, s)
		w.Start()
		defer w.close()
		w.drain()
		if n := s.count("copy"); n != 0 {
			t.Errorf("%d copies of a restored object", n)
		}
		if p, ok := w.Find(ref("cold")); !ok || p.Object.Meta["mode"] != "33152" || w.Stats().Pending != 0 {
			t.Errorf("after a restart: %+v, %v; %d pending", p, ok, w.Stats().Pending)
		}
		set("STANDARD")
		if got := s.objects["cold"]; got.Class != "STANDARD" || got.Meta["mode"] != "33152" {
			t.Errorf("moved to another class: %+v", got.Attrs)
		}
	})
}

// What was put aside for one version is not for the next.
func TestAttributesPutAsideEndWithTheirVersion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		dir := t.TempDir()
		w := openIn(t, dir, s)
		w.Start()
		s.plant("cold", "bytes", nil)
		cold := s.objects["cold"]
		cold.State = backend.Archived
		s.objects["cold"] = cold
		if err := w.SetAttrs(ref("cold"), cold.Object, backend.Attrs{Meta: map[string]string{"mode": "33152"}}); err != nil {
			t.Fatal(err)
		}
		w.Outdated(ref("cold"), cold.Object)
		if p, ok := w.Find(ref("cold")); !ok || !p.Parked {
			t.Errorf("of the same version: %+v, %v", p, ok)
		}
		s.plant("cold", "other", nil)
		w.Outdated(ref("cold"), s.objects["cold"].Object)
		if p, ok := w.Find(ref("cold")); ok {
			t.Errorf("of another: %+v", p)
		}
		w.close()
		w = openIn(t, dir, s)
		w.Start()
		defer w.close()
		if p, ok := w.Find(ref("cold")); ok {
			t.Errorf("after a restart: %+v", p)
		}
	})
}
