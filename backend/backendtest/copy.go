package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/thawfs/thawfs/backend"
)

func copyChecks() []check {
	is := hasPower[backend.Copier]
	return []check{
		{"Copy makes an object of the same bytes", is, copyBytes},
		{"Copy keeps the attributes of the source or takes others", is, copyAttrs},
		{"Copy onto itself changes attributes and keeps the bytes", is, copyOntoItself},
		{"Copy of another version is ErrChanged, of an absent key ErrNotExist", is, copyChanged},
		{"Copy honours IfAbsent or is ErrUnsupported", is, func(b *bucket) { ifAbsent(b, copyCond) }},
		{"Copy honours IfMatch or is ErrUnsupported", is, func(b *bucket) { ifMatch(b, copyCond) }},
		{"Copy with IfAbsent: of many one wins", is, func(b *bucket) { raceAbsent(b, copyCond) }},
		{"Copy cancelled before leaves the old object", is, copyCancelled},
		{"Copy beside a replacement is of one whole version or ErrChanged", is, copyBesidePut},
	}
}

func (b *bucket) copier() backend.Copier { return b.store.(backend.Copier) }

func copyCond(b *bucket, key, content string, c backend.Cond) (backend.Object, error) {
	src, err := b.store.Put(b.ctx, "source of "+content, body([]byte(content)), backend.PutOptions{})
	if err != nil {
		return src, err
	}
	obj, err := b.copier().Copy(b.ctx, src, key, backend.CopyOptions{Cond: c})
	if delErr := b.store.Delete(b.ctx, src.Key); delErr != nil { // the copy must not need it
		b.Errorf("Delete of the source = %v, want success", delErr)
	}
	return obj, err
}

var someAttrs = backend.Attrs{
	Meta:   map[string]string{"one": "a b", "two": "é"},
	Header: map[string]string{"content-type": "text/x-one", "content-language": "de"},
}

func copyBytes(b *bucket) {
	for _, size := range []int64{0, 10, 100_000, 6 << 20} {
		content := string(pattern(9, size))
		src := b.put("dir/source key+é", content)
		obj, err := b.copier().Copy(b.ctx, src, "copies/target key%2F", backend.CopyOptions{})
		if err != nil {
			b.Fatalf("Copy of %d bytes = %v, want success", size, err)
		}
		b.isStored(obj, "copies/target key%2F", content, backend.Attrs{})
		b.unchanged(src, content)
		b.put("dir/source key+é", "other content")
		b.isStored(obj, "copies/target key%2F", content, backend.Attrs{})
	}
}

func copyAttrs(b *bucket) {
	src := b.putOpts("source", "content", backend.PutOptions{Attrs: someAttrs})
	obj, err := b.copier().Copy(b.ctx, src, "kept", backend.CopyOptions{})
	if err != nil {
		b.Fatalf("Copy = %v, want success", err)
	}
	b.isStored(obj, "kept", "content", someAttrs)

	other := backend.Attrs{Meta: map[string]string{"three": "3"}, Header: map[string]string{"cache-control": "no-cache"}}
	for _, attrs := range []backend.Attrs{other, {}} {
		obj, err = b.copier().Copy(b.ctx, src, "replaced", backend.CopyOptions{Attrs: &attrs})
		if err != nil {
			b.Fatalf("Copy with other attributes = %v, want success", err)
		}
		b.isStored(obj, "replaced", "content", attrs)
		if obj.Header["content-language"] != "" {
			b.Errorf("Copy with Attrs %q kept Header %q", attrs, obj.Header)
		}
	}
	b.unchanged(src, "content")
}

func copyOntoItself(b *bucket) {
	for _, content := range []string{"", "small", string(pattern(5, 100_000))} {
		src := b.putOpts("k", content, backend.PutOptions{Attrs: someAttrs})
		attrs := backend.Attrs{Meta: maps.Clone(src.Meta), Header: map[string]string{"content-type": "text/x-two"}}
		attrs.Meta["mode"] = "33188"
		obj, err := b.copier().Copy(b.ctx, src, "k", backend.CopyOptions{Attrs: &attrs})
		if err != nil {
			b.Fatalf("Copy onto itself = %v, want success", err)
		}
		b.isStored(obj, "k", content, attrs)
	}
	b.listsAs([]string{"k"}, "", "", backend.ListOptions{})
}

func copyChanged(b *bucket) {
	old := b.put("k", "old")
	now := b.put("k", "new!")
	target := b.put("target", "kept")
	for _, to := range []string{"target", "new target", "k"} {
		_, err := b.copier().Copy(b.ctx, old, to, backend.CopyOptions{Attrs: &someAttrs})
		b.fails(err, to, "Copy of a replaced version", backend.ErrChanged)
	}
	b.absent("new target")
	b.unchanged(target, "kept")
	b.unchanged(now, "new!")
	if err := b.store.Delete(b.ctx, "k"); err != nil {
		b.Fatalf("Delete = %v, want success", err)
	}
	_, err := b.copier().Copy(b.ctx, now, "target", backend.CopyOptions{})
	b.fails(err, "target", "Copy of an absent key", backend.ErrNotExist, backend.ErrChanged)
	b.unchanged(target, "kept")
}

func copyCancelled(b *bucket) {
	src, target := b.put("source", "new"), b.put("target", "old")
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.copier().Copy(ctx, src, "target", backend.CopyOptions{})
	b.fails(err, "target", "Copy with a cancelled context", context.Canceled)
	b.unchanged(target, "old")
}

func copyBesidePut(b *bucket) {
	contents := []string{string(pattern(1, 40_000)), string(pattern(2, 50_000))}
	parallel(8, func(i int) {
		for round := range 6 {
			if i == 0 {
				if _, err := b.store.Put(b.ctx, "k", body([]byte(contents[round%2])), backend.PutOptions{}); err != nil {
					b.Errorf("Put = %v, want success", err)
				}
				continue
			}
			src, err := b.store.Head(b.ctx, "k")
			if errors.Is(err, backend.ErrNotExist) {
				continue // the first Put is not done
			}
			to := fmt.Sprintf("copy%d", i)
			obj, err := b.copier().Copy(b.ctx, src, to, backend.CopyOptions{})
			if errors.Is(err, backend.ErrChanged) {
				continue
			}
			if err != nil || obj.ETag != src.ETag {
				b.Errorf("Copy beside Put = %q, %v, want %q", obj.ETag, err, src.ETag)
				continue
			}
			if got, err := b.get(to, "", 0, -1); err != nil || got != contents[0] && got != contents[1] {
				b.Errorf("Copy beside Put made %s, %v", brief(got), err)
			}
		}
	})
}

// part returns the body of a part and its checksum.
func part(content string) (*io.SectionReader, uint64) {
	return body([]byte(content)), *crc(content)
}
