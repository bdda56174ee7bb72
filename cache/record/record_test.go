package record

import (
	"maps"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func FuzzRecord(f *testing.F) {
	f.Add(Append(nil, backend.Object{
		Key: "a", Size: 5, ModTime: time.Unix(1_700_000_000, 0), ETag: "v1",
		Attrs: backend.Attrs{Meta: map[string]string{"mode": "33188"}, Header: map[string]string{"content-type": "text/plain"}},
	}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		r := NewReader(text)
		obj := backend.Object{ETag: r.Text(), Size: r.Number()}
		obj.ModTime = time.Unix(r.Number(), 0)
		attrs, ok := Attrs(text, obj)
		whole := NewReader(text)
		if whole.Skip(); whole.Failed() == ok {
			t.Errorf("Attrs of %q: %v, Skip of it: %v", text, ok, !whole.Failed())
		}
		if !ok {
			return
		}
		obj.Attrs = attrs
		again, ok := Attrs(Append(nil, obj), obj)
		if !ok || !maps.Equal(again.Meta, attrs.Meta) || !maps.Equal(again.Header, attrs.Header) || again.Class != attrs.Class {
			t.Errorf("decoded %+v, and again %+v, %v", attrs, again, ok)
		}
	})
}

func TestARecordIsOfOneVersion(t *testing.T) {
	obj := backend.Object{ETag: "v1", Size: 5, ModTime: time.Unix(1_700_000_000, 5), Attrs: backend.Attrs{Meta: map[string]string{"mode": "1"}}}
	text := Append(nil, obj)
	for what, change := range map[string]func(*backend.Object){
		"another ETag":   func(o *backend.Object) { o.ETag = "v2" },
		"another size":   func(o *backend.Object) { o.Size = 6 },
		"another second": func(o *backend.Object) { o.ModTime = o.ModTime.Add(time.Second) },
	} {
		listed := obj
		change(&listed)
		if got, ok := Attrs(text, listed); ok {
			t.Errorf("%s: got %v", what, got)
		}
	}
	listed := obj
	listed.ModTime = obj.ModTime.Add(-time.Second)
	if _, ok := Attrs(text, listed); !ok {
		t.Error("a time in the second before the answer: not found")
	}
	obj.ModTime = obj.ModTime.Truncate(time.Second)
	if _, ok := Attrs(text, obj); !ok {
		t.Error("times of other precision: not found")
	}
}
