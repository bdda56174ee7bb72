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
