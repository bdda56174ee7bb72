package backendtest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func putChecks() []check {
	return []check{
		{name: "Put replaces an object as a whole", run: putReplaces},
		{name: "Put stores what the body holds, from its begin", run: putBody},
		{name: "Put stores objects of any size", run: putSizes},
		{name: "Put keeps Meta", run: putMeta},
		{name: "Put keeps Header", run: putHeader},
		{name: "Put refuses other headers as ErrInvalid", run: putOtherHeader},
		{name: "Put verifies CRC64NVME: a mismatch is ErrCorrupt and stores nothing", run: putChecksum},
		{name: "Put tells apart what differs: equal ETags mean equal bytes", run: putETags},
		{name: "Delete removes a key and no other", run: deleteOne},
		{name: "Delete of an absent key is no error", run: deleteAbsent},
		{name: "methods may be called concurrently", run: concurrently},
	}
}

func putReplaces(b *bucket) {
	first := backend.Attrs{Meta: map[string]string{"one": "1"}, Header: map[string]string{"content-language": "de"}}
	b.putOpts("k", strings.Repeat("long", 30_000), backend.PutOptions{Attrs: first})
	obj := b.putOpts("k", "short", backend.PutOptions{Attrs: backend.Attrs{Meta: map[string]string{"two": "2"}}})
	if lang := obj.Header["content-language"]; lang != "" {
		b.Errorf("after a Put without it, content-language is %q", lang)
	}
	b.put("k", "")
}

func putBody(b *bucket) {
	data := bytes.NewReader([]byte("xx-body-xx"))
	r := io.NewSectionReader(data, 3, 4)
	if _, err := r.Seek(2, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	for _, key := range []string{"first", "again"} {
		obj, err := b.store.Put(b.ctx, key, r, backend.PutOptions{})
		if err != nil {
			b.Fatalf("Put(%q) = %v, want success", key, err)
		}
		b.isStored(obj, key, "body", backend.Attrs{})
	}
}

func putSizes(b *bucket) {
	for _, size := range []int64{0, 1, 4095, 4096, 16 << 10, 16<<10 + 1, 1 << 20, 16<<20 + 3} {
		content := string(pattern(uint64(size), size))
		b.putOpts("k", content, backend.PutOptions{CRC64NVME: crc(content)})
		if size == 16<<20+3 {
			got, err := b.get("k", "", 16<<20-5, -1)
			if err != nil || got != content[16<<20-5:] {
				b.Errorf("Get of the tail of %d bytes = %s, %v, want %s", size, brief(got), err, brief(content[16<<20-5:]))
			}
		}
	}
}

func putMeta(b *bucket) {
	for _, meta := range []map[string]string{
		{"mtime": "1700000000.123456789", "mode": "33188"},
		{"with-dashes": "a value with spaces", "x": "a,b;c=d\"e\""},
		{"empty": ""},
		{"utf8": "größe 日本 😀"},
		{"long": strings.Repeat("v", 1500)},
		{"percent": "100%", "plus": "a+b", "coded": "=?utf-8?q?no?=", "slash": "/a/b"},
	} {
		b.putOpts("k", "x", backend.PutOptions{Attrs: backend.Attrs{Meta: meta}})
	}
}

func putHeader(b *bucket) {
	all := map[string]string{
		"content-type":        "text/x-thaw; charset=utf-8",
		"content-encoding":    "gzip",
		"content-language":    "de, en",
		"content-disposition": `attachment; filename="a b.txt"`,
		"cache-control":       "no-cache, max-age=0",
		"expires":             "Wed, 21 Oct 2037 07:28:00 GMT",
	}
	b.putOpts("all", "x", backend.PutOptions{Attrs: backend.Attrs{Header: all}})
	for name, value := range all {
		b.putOpts("one", "x", backend.PutOptions{Attrs: backend.Attrs{Header: map[string]string{name: value}}})
	}
	// What Head tells can be put again.
	attrs := b.head("all").Attrs
	again := b.putOpts("again", "x", backend.PutOptions{Attrs: attrs})
	if !maps.Equal(again.Header, attrs.Header) || again.Class != attrs.Class {
		b.Errorf("Put with the Attrs of Head %q gives %q", attrs, again.Attrs)
	}
}

func putOtherHeader(b *bucket) {
	for _, name := range []string{"x-own", "Content-Type", "etag", "x-amz-acl", ""} {
		attrs := backend.Attrs{Header: map[string]string{name: "v"}}
		_, err := b.store.Put(b.ctx, "k", body(nil), backend.PutOptions{Attrs: attrs})
		b.fails(err, "k", fmt.Sprintf("Put with header %q", name), backend.ErrInvalid)
		b.absent("k")
	}
}

func putChecksum(b *bucket) {
	obj := b.put("old", "the old one")
	wrong := *crc("something else")
	for _, content := range []string{"", "the new one", string(pattern(1, 100_000))} {
		for _, key := range []string{"old", "new"} {
			_, err := b.store.Put(b.ctx, key, body([]byte(content)), backend.PutOptions{CRC64NVME: &wrong})
			b.fails(err, key, "Put with a wrong checksum", backend.ErrCorrupt)
		}
		b.unchanged(obj, "the old one")
		b.absent("new")
	}
}

func putETags(b *bucket) {
	byTag := map[string]string{}
	for _, content := range []string{"", "a", "b", "ab", "ba", strings.Repeat("a", 20_000), strings.Repeat("b", 20_000)} {
		obj := b.put("k", content)
		if other, taken := byTag[obj.ETag]; taken {
			b.Errorf("ETag %q names both %s and %s", obj.ETag, brief(other), brief(content))
		}
		if strings.ContainsAny(obj.ETag, `"`) {
			b.Errorf("ETag %s has quotes", obj.ETag)
		}
		byTag[obj.ETag] = content
	}
}

func deleteOne(b *bucket) {
	keys := []string{"d", "d-", "d/a", "d/b", "d/b/c", "d0"}
	var held []string
	for _, key := range keys {
		if _, err := b.store.Put(b.ctx, key, body([]byte(key)), backend.PutOptions{}); err == nil {
			held = append(held, key) // a and a/b together are for the checks of keys
		}
	}
	slices.Sort(held)
	for _, key := range []string{"d/a", "d/b", "d"} {
		if err := b.store.Delete(b.ctx, key); err != nil {
			b.Fatalf("Delete(%q) = %v, want success", key, err)
		}
		held = slices.DeleteFunc(held, func(k string) bool { return k == key })
		b.absent(key)
		b.holdsExactly(held)
	}
}

func deleteAbsent(b *bucket) {
	obj := b.put("dir/kept", "kept")
	for _, key := range []string{"absent", "dir", "dir/", "dir/kept/", "dir/absent", "no/such/dir"} {
		if err := b.store.Delete(b.ctx, key); err != nil {
			b.Errorf("Delete(%q) = %v, want success", key, err)
		}
	}
	b.unchanged(obj, "kept")
}

func concurrently(b *bucket) {
	parallel(16, func(i int) {
		key, content := fmt.Sprintf("shared/%d", i), fmt.Sprintf("content %d", i)
		for round := range 3 {
			obj, err := b.store.Put(b.ctx, key, body([]byte(content)), backend.PutOptions{})
			if err != nil {
				b.Errorf("Put(%q) = %v, want success", key, err)
				return
			}
			got, err := b.get(key, obj.ETag, 0, -1)
			if err != nil || got != content {
				b.Errorf("Get(%q) = %q, %v, want %q", key, got, err, content)
			}
			for e, err := range b.store.List(b.ctx, key, "", backend.ListOptions{}) {
				if err != nil || e.ETag != obj.ETag && e.Key == key {
					b.Errorf("List(%q) = %q %q, %v, want %q", key, e.Key, e.ETag, err, obj.ETag)
				}
			}
			if round < 2 {
				if err := b.store.Delete(b.ctx, key); err != nil {
					b.Errorf("Delete(%q) = %v, want success", key, err)
				}
			}
		}
	})
	if n := len(b.list("shared/", "", backend.ListOptions{})); n != 16 {
		b.Errorf("List after concurrent changes yields %d keys, want 16", n)
	}
}
