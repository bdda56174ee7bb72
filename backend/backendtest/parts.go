package backendtest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func partChecks() []check {
	is := hasPower[backend.PartUploader]
	return []check{
		{"PartLimits make sense", is, partLimits},
		{"parts may arrive in any order", is, partOrder},
		{"a part may be sent again", is, partAgain},
		{"part numbers may have gaps, or Complete is ErrInvalid", is, partGaps},
		{"parts may be sent at once", is, partsAtOnce},
		{"a single small part is an object", is, partSingle},
		{"the object has the attributes of NewUpload", is, partAttrs},
		{"until Complete the key keeps its old object", is, partInvisible},
		{"an upload can be finished from plain data by another process", is, partHandOver},
		{"Uploads yields what is unfinished", is, uploadsListed},
		{"Get of an assembled object yields ranges across parts", is, partRanges},
		{"Get of an assembled object beside a replacement is whole", is, partsBesidePut},
	}
}

func (b *bucket) uploader() backend.PartUploader { return b.store.(backend.PartUploader) }

// piece returns the content of part number, of the smallest size that a part before the
// last may have, and 1000 bytes.
func (b *bucket) piece(number int) string {
	return string(pattern(uint64(100+number), b.uploader().PartLimits().MinSize+1000))
}

func (b *bucket) begin(key string, a backend.Attrs) backend.Upload {
	b.Helper()
	up, err := b.uploader().NewUpload(b.ctx, key, backend.PutOptions{Attrs: a})
	if err != nil || up.Key != key || up.ID == "" {
		b.Fatalf("NewUpload(%q) = %+v, %v, want an upload of it", key, up, err)
	}
	return up
}

func (b *bucket) send(up backend.Upload, number int, content string) backend.Part {
	b.Helper()
	r, sum := part(content)
	p, err := b.uploader().UploadPart(b.ctx, up, number, r, sum)
	if err != nil {
		b.Fatalf("UploadPart(%d, %d bytes) = %v, want success", number, len(content), err)
	}
	if p.Number != number || p.Size != int64(len(content)) || p.ETag == "" || p.CRC != sum {
		b.Fatalf("UploadPart(%d, %d bytes, %016x) = %+v", number, len(content), sum, p)
	}
	return p
}

// finish completes an upload and holds the object against content.
func (b *bucket) finish(up backend.Upload, parts []backend.Part, content string, a backend.Attrs) backend.Object {
	b.Helper()
	obj, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{CRC64NVME: crc(content)})
	if err != nil {
		b.Fatalf("Complete(%q) = %v, want success", up.Key, err)
	}
	b.isStored(obj, up.Key, content, a)
	return obj
}

func partLimits(b *bucket) {
	l := b.uploader().PartLimits()
	if l.MinSize < 0 || l.MaxSize < 1 || l.MinSize > l.MaxSize || l.MaxParts < 1 || l.MaxObject < l.MaxPut || l.MaxPut < 1 {
		b.Errorf("PartLimits = %+v", l)
	}
}

func partOrder(b *bucket) {
	up := b.begin("dir/k", backend.Attrs{})
	last := "the last one"
	three := b.send(up, 3, last)
	one := b.send(up, 1, b.piece(1))
	two := b.send(up, 2, b.piece(2))
	b.finish(up, []backend.Part{one, two, three}, b.piece(1)+b.piece(2)+last, backend.Attrs{})
}

func partAgain(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	b.send(up, 1, b.piece(8))
	b.send(up, 2, "tail")
	one, two := b.send(up, 1, b.piece(1)), b.send(up, 2, "tail")
	b.finish(up, []backend.Part{one, two}, b.piece(1)+"tail", backend.Attrs{})
}

func partGaps(b *bucket) {
	old := b.put("k", "old")
	up := b.begin("k", backend.Attrs{})
	parts := []backend.Part{b.send(up, 2, b.piece(2)), b.send(up, 5, b.piece(5)), b.send(up, 900, "end")}
	content := b.piece(2) + b.piece(5) + "end"
	obj, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{CRC64NVME: crc(content)})
	if err != nil {
		b.fails(err, "k", "Complete with gaps", backend.ErrInvalid)
		b.unchanged(old, "old")
		return
	}
	b.isStored(obj, "k", content, backend.Attrs{})
}

func partsAtOnce(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	parts, want := make([]backend.Part, 4), ""
	for i := range parts {
		want += b.piece(i)
	}
	parallel(len(parts), func(i int) {
		r, sum := part(b.piece(i))
		p, err := b.uploader().UploadPart(b.ctx, up, i+1, r, sum)
		if err != nil {
			b.Errorf("UploadPart(%d) = %v, want success", i+1, err)
		}
		parts[i] = p
	})
	if !b.Failed() {
		b.finish(up, parts, want, backend.Attrs{})
	}
}

func partSingle(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	b.finish(up, []backend.Part{b.send(up, 1, "small")}, "small", backend.Attrs{})
}

func partAttrs(b *bucket) {
	up := b.begin("k", someAttrs)
	parts := []backend.Part{b.send(up, 1, "content")}
	other := backend.Attrs{Meta: map[string]string{"not": "looked at"}}
	obj, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{Attrs: other})
	if err != nil {
		b.Fatalf("Complete = %v, want success", err)
	}
	b.isStored(obj, "k", "content", someAttrs)
}

func partInvisible(b *bucket) {
	old := b.put("k", "old")
	for _, key := range []string{"k", "dir/new"} {
		up := b.begin(key, backend.Attrs{})
		p := b.send(up, 1, "new")
		b.unchanged(old, "old")
		b.listsAs([]string{"k"}, "", "", backend.ListOptions{})
		b.listsAs([]string{"k"}, "", "", backend.ListOptions{Delimited: true})
		if key != "k" {
			b.absent(key)
		}
		if err := b.uploader().Abort(b.ctx, up); err != nil {
			b.Fatalf("Abort = %v, want success", err)
		}
		_ = p
	}
	b.unchanged(old, "old")
}

func partHandOver(b *bucket) {
	up := b.begin("a key/with é+%", backend.Attrs{})
	journal := struct {
		Up    backend.Upload
		Parts []backend.Part
	}{up, []backend.Part{b.send(up, 1, b.piece(1))}}
	raw, err := json.Marshal(journal)
	if err == nil {
		journal.Up, journal.Parts = backend.Upload{}, nil
		err = json.Unmarshal(raw, &journal)
	}
	if err != nil {
		b.Fatal(err)
	}
	second, err := b.svc.Open(b.ctx, b.name)
	if err != nil {
		b.Fatalf("second Open = %v, want success", err)
	}
	heir := *b
	heir.store = second
	parts := append(journal.Parts, heir.send(journal.Up, 2, "tail"))
	heir.finish(journal.Up, parts, b.piece(1)+"tail", backend.Attrs{})
}

func uploadsListed(b *bucket) {
	one, two := b.begin("dir/one", backend.Attrs{}), b.begin("dir/two", backend.Attrs{})
	b.send(one, 1, "x")
	p := b.send(two, 1, "y")
	other := b.begin("other", backend.Attrs{})
	// Some servers find uploads by their whole key only (MinIO); by a shorter prefix a
	// store may find less, but nothing else.
	for _, up := range []backend.Upload{one, two, other} {
		if got := b.uploads(up.Key); !slices.Equal(got, []backend.Upload{up}) {
			b.Errorf("Uploads(%q) = %+v, want %+v", up.Key, got, up)
		}
	}
	for _, up := range b.uploads("dir/") {
		if up != one && up != two {
			b.Errorf("Uploads(dir/) yields %+v", up)
		}
	}
	b.finish(two, []backend.Part{p}, "y", backend.Attrs{})
	if err := b.uploader().Abort(b.ctx, one); err != nil {
		b.Fatalf("Abort = %v, want success", err)
	}
	for _, key := range []string{"dir/one", "dir/two"} {
		if got := b.uploads(key); len(got) != 0 {
			b.Errorf("Uploads(%q) = %+v after the end of it, want none", key, got)
		}
	}
}

func (b *bucket) uploads(prefix string) []backend.Upload {
	b.Helper()
	var ups []backend.Upload
	for up, err := range b.uploader().Uploads(b.ctx, prefix) {
		if err != nil {
			b.Fatalf("Uploads(%q) = %v, want success", prefix, err)
		}
		if !strings.HasPrefix(up.Key, prefix) {
			b.Errorf("Uploads(%q) yields %+v", prefix, up)
		}
		ups = append(ups, up)
	}
	return ups
}

func partRanges(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	content := b.piece(1) + b.piece(2) + "tail"
	obj := b.finish(up, []backend.Part{b.send(up, 1, b.piece(1)), b.send(up, 2, b.piece(2)), b.send(up, 3, "tail")}, content, backend.Attrs{})
	edge := int64(len(b.piece(1)))
	for _, r := range [][2]int64{{edge - 3, 6}, {edge, 10}, {edge - 1, 1}, {2*edge - 2, 6}, {2 * edge, -1}, {edge - 5, -1}, {2*edge + 4, 1}, {1, 2}} {
		end := int64(len(content))
		if r[1] >= 0 {
			end = min(end, r[0]+r[1])
		}
		got, err := b.get("k", obj.ETag, r[0], r[1])
		if want := content[r[0]:end]; err != nil || got != want {
			b.Errorf("Get(%d, %d) of %d bytes = %s, %v, want %s", r[0], r[1], len(content), brief(got), err, brief(want))
		}
	}
}

// partsBesidePut reads an object of two parts while it is replaced by another one.
func partsBesidePut(b *bucket) {
	contents := []string{b.piece(1) + "one", b.piece(2) + "two"}
	parallel(6, func(i int) {
		for round := range 3 {
			if i == 0 {
				up := b.begin("k", backend.Attrs{})
				head, tail := contents[round%2][:len(b.piece(1))], contents[round%2][len(b.piece(1)):]
				parts := []backend.Part{b.send(up, 1, head), b.send(up, 2, tail)}
				if _, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{}); err != nil {
					b.Errorf("Complete = %v, want success", err)
				}
				continue
			}
			got, err := b.get("k", "", 0, -1)
			if errors.Is(err, backend.ErrNotExist) {
				continue // the first one is not complete
			}
			if err != nil || got != contents[0] && got != contents[1] {
				b.Errorf("Get beside Complete = %s, %v, want one version", brief(got), err)
			}
		}
	})
}
