package fs

import (
	"errors"
	"slices"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

func TestLocate(t *testing.T) {
	m := mount(t, func(o *Options) { o.Bucket = "" })
	m.put("dir/sub/file", "x", backend.Attrs{})
	m.put("dir//odd", "y", backend.Attrs{})
	for _, tt := range []struct {
		path string
		ref  backend.Ref
		dir  bool
	}{
		{"", backend.Ref{}, true},
		{"buk", backend.Ref{Bucket: "buk"}, true},
		{"/buk/dir/../dir/", backend.Ref{Bucket: "buk", Key: "dir/"}, true},
		{"buk/dir/sub/file", backend.Ref{Bucket: "buk", Key: "dir/sub/file"}, false},
		{"buk/dir/%thaw-empty/odd", backend.Ref{Bucket: "buk", Key: "dir//odd"}, false},
	} {
		p, err := m.Locate(t.Context(), tt.path)
		if err != nil || p.Ref != tt.ref || p.Dir != tt.dir {
			t.Errorf("Locate(%q) = %+v, %v", tt.path, p, err)
		}
	}
	if _, err := m.Locate(t.Context(), "buk/dir/nothing"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Locate of nothing: %v", err)
	}
	p, err := m.Locate(t.Context(), "buk/dir")
	must(t, err)
	var names []string
	for c, err := range m.Places(t.Context(), p) {
		must(t, err)
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"%thaw-empty", "sub"}) {
		t.Errorf("Places: %q", names)
	}
}
