package backendtest

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func getChecks() []check {
	return []check{
		{name: "Get returns exactly the range", run: getRanges},
		{name: "Get and Head of an absent key are ErrNotExist", run: getAbsent},
		{name: "Get fails with ErrChanged for another version", run: getOldVersion},
		{name: "Get beside a replacement yields one whole version", run: getBesidePut},
		{name: "Get serves many readers, also ones that stop early", run: getConcurrently},
	}
}

func getRanges(b *bucket) {
	obj := b.put("k", "thawed")
	empty := b.put("empty", "")
	for _, tt := range []struct {
		name   string
		obj    backend.Object
		off, n int64
		want   string
	}{
		{"all", obj, 0, -1, "thawed"},
		{"all by length", obj, 0, 6, "thawed"},
		{"more than all", obj, 0, 100, "thawed"},
		{"the first byte", obj, 0, 1, "t"},
		{"the last byte", obj, 5, 1, "d"},
		{"the middle", obj, 2, 3, "awe"},
		{"the tail", obj, 4, -1, "ed"},
		{"the tail past the end", obj, 4, 99, "ed"},
		{"the tail to the largest number", obj, 4, 1<<63 - 1, "ed"},
		{"nothing at the end", obj, 6, 1, ""},
		{"nothing to the end", obj, 6, -1, ""},
		{"nothing past the end", obj, 7, 1, ""},
		{"nothing in the middle", obj, 3, 0, ""},
		{"nothing at the begin", obj, 0, 0, ""},
		{"an empty object", empty, 0, -1, ""},
		{"a range of an empty object", empty, 0, 5, ""},
		{"past the end of an empty object", empty, 1, 5, ""},
	} {
		for _, etag := range []string{"", tt.obj.ETag} {
			got, err := b.get(tt.obj.Key, etag, tt.off, tt.n)
			if err != nil || got != tt.want {
				b.Errorf("%s: Get(%q, %q, %d, %d) = %q, %v, want %q", tt.name, tt.obj.Key, etag, tt.off, tt.n, got, err, tt.want)
			}
		}
	}
}

func getAbsent(b *bucket) {
	b.put("there/below", "x")
	for _, key := range []string{"absent", "there", "there/", "there/below/", "there/below/x", "ther", "There/below"} {
		b.absent(key)
		_, err := b.store.Get(b.ctx, key, "", 0, -1)
		b.fails(err, key, "Get of an absent key", backend.ErrNotExist)
		_, err = b.store.Get(b.ctx, key, "", 0, 0)
		b.fails(err, key, "Get of nothing of an absent key", backend.ErrNotExist)
		_, err = b.store.Get(b.ctx, key, b.head("there/below").ETag, 0, -1)
		b.fails(err, key, "Get of a version of an absent key", backend.ErrNotExist, backend.ErrChanged)
	}
}

func getOldVersion(b *bucket) {
	old := b.put("k", "the old content")
	now := b.put("k", "the new content")
	if old.ETag == now.ETag {
		b.Fatalf("ETag %q names two contents", old.ETag)
	}
	for _, r := range [][2]int64{{0, -1}, {4, 3}, {15, 1}, {99, 1}, {3, 0}} {
		_, err := b.get("k", old.ETag, r[0], r[1])
		b.fails(err, "k", "Get of a replaced version", backend.ErrChanged)
	}
	b.holds("k", now.ETag, "the new content")
}

// getBesidePut lets one writer replace an object by ones of other letters and lengths while
// readers look for a mix of two.
func getBesidePut(b *bucket) {
	version := func(i int) string { return strings.Repeat(string(rune('a'+i)), 50_000+7_000*i) }
	b.put("k", version(0))
	parallel(8, func(i int) {
		if i == 0 {
			for v := range 6 {
				if _, err := b.store.Put(b.ctx, "k", body([]byte(version(v))), backend.PutOptions{}); err != nil {
					b.Errorf("Put = %v, want success", err)
				}
			}
			return
		}
		for range 10 {
			got, err := b.get("k", "", 0, -1)
			if err != nil || got == "" || got != version(int(got[0]-'a')) {
				b.Errorf("Get beside Put = %s, %v, want one version", brief(got), err)
			}
		}
	})
}

func getConcurrently(b *bucket) {
	content := pattern(7, 300_000)
	obj := b.put("k", string(content))
	parallel(32, func(i int) {
		off := int64(i * 9000)
		r, err := b.store.Get(b.ctx, "k", obj.ETag, off, -1)
		if err != nil {
			b.Errorf("Get = %v, want success", err)
			return
		}
		buf := make([]byte, 5000)
		_, err = io.ReadFull(r, buf)
		if err != nil || !bytes.Equal(buf, content[off:off+5000]) {
			b.Errorf("Get at %d: wrong bytes, %v", off, err)
		}
		if i%2 == 0 {
			rest, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(rest, content[off+5000:]) {
				b.Errorf("Get at %d: wrong rest, %v", off, err)
			}
		}
		if err := r.Close(); err != nil && !errors.Is(err, io.EOF) {
			b.Errorf("Close = %v, want success", err)
		}
	})
}
