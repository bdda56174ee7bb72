package attrindex

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func someObject(i int) backend.Object {
	return backend.Object{
		Key: fmt.Sprintf("d/f%05d", i), Size: int64(i), ModTime: time.Unix(1_700_000_000+int64(i), 123_000_000), ETag: fmt.Sprintf("%032x", i*7919),
		Attrs: backend.Attrs{
			Meta:   map[string]string{"mode": "33188", "uid": "1000", "gid": "1000", "mtime": fmt.Sprintf("17000%05d.%09d", i, i*31)},
			Header: map[string]string{"content-type": "text/plain"},
		},
	}
}

func someIndex(n int) *Index {
	changes := map[string][]byte{}
	for i := range n {
		obj := someObject(i)
		_, name := place(obj.Key)
		changes[name] = appendEntry(nil, name, obj)
	}
	return (*Index)(nil).merge(changes, nil)
}

func TestAnIndexTellsWhatItWasTold(t *testing.T) {
	body, err := someIndex(1000).encode()
	if err != nil {
		t.Fatal(err)
	}
	x, err := parse(body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		obj := someObject(i)
		got, ok := x.Find(obj.Key[2:], obj, true)
		if !ok || !maps.Equal(got.Meta, obj.Meta) || !maps.Equal(got.Header, obj.Header) {
			t.Fatalf("%s: %v, %v", obj.Key, got, ok)
		}
	}
	if got, ok := x.Find("f", someObject(0), true); ok {
		t.Errorf("a file that it does not know: %v", got)
	}
	if got := float64(len(body)) / 1000; got > 80 {
		t.Errorf("%.0f bytes a file, want at most 80", got)
	}
}

func TestAnEntryCountsOnlyForItsVersion(t *testing.T) {
	x := someIndex(3)
	for what, change := range map[string]func(*backend.Object){
		"another ETag":   func(o *backend.Object) { o.ETag = "other" },
		"another size":   func(o *backend.Object) { o.Size++ },
		"another second": func(o *backend.Object) { o.ModTime = o.ModTime.Add(time.Second) },
	} {
		listed := someObject(1)
		change(&listed)
		if got, ok := x.Find("f00001", listed, false); ok {
			t.Errorf("%s: %v", what, got)
		}
	}
	listed := someObject(1)
	listed.ModTime = listed.ModTime.Truncate(time.Second)
	if _, ok := x.Find("f00001", listed, false); !ok {
		t.Error("a time in full seconds: not found")
	}
	if _, ok := x.Find("f00001", listed, true); ok {
		t.Error("found though it is another nanosecond")
	}
}

func TestMerging(t *testing.T) {
	x := someIndex(5)
	changed := someObject(3)
	changed.ETag = "new"
	added := someObject(9)
	listed := map[string]bool{"f00000": true, "f00002": true, "f00003": true, "f00009": true}
	y := x.merge(map[string][]byte{
		"f00001": nil, "f00003": appendEntry(nil, "f00003", changed), "f00009": appendEntry(nil, "f00009", added),
	}, listed)
	var names []string
	for i := range y.Len() {
		names = append(names, y.name(i))
	}
	if want := "[f00000 f00002 f00003 f00009]"; fmt.Sprint(names) != want {
		t.Errorf("names %v, want %v", names, want)
	}
	if _, ok := y.Find("f00003", changed, true); !ok {
		t.Error("the changed entry is not found")
	}
	if y.listed != 4 || x.Len() != 5 {
		t.Errorf("listed %d, want 4; the old index has %d entries, want 5", y.listed, x.Len())
	}
}

func TestBounds(t *testing.T) {
	changes := map[string][]byte{}
	for i := range maxEntries + 10 {
		changes[strconv.Itoa(i)] = []byte{0}
	}
	if got := (*Index)(nil).merge(changes, nil).Len(); got != maxEntries {
		t.Errorf("%d entries, want %d", got, maxEntries)
	}
}

func TestDamageIsNoticed(t *testing.T) {
	body, err := someIndex(50).encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(body) {
		if _, err := parse(body[:n]); !errors.Is(err, errDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		spoilt := append([]byte(nil), body...)
		spoilt[n] ^= 0x10
		if _, err := parse(spoilt); !errors.Is(err, errDamaged) {
			t.Fatalf("byte %d spoilt: %v", n, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(append([]byte{8}, someIndex(3).raw...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := scan(raw)
		if err != nil {
			return
		}
		for i := range x.Len() {
			x.Find(x.name(i), backend.Object{}, false)
		}
	})
}
