package backendtest

import (
	"errors"

	"github.com/thawfs/thawfs/backend"
)

func partErrorChecks() []check {
	is := hasPower[backend.PartUploader]
	return []check{
		{"UploadPart verifies the CRC64NVME: a mismatch is ErrCorrupt", is, partCorrupt},
		{"Complete verifies the CRC64NVME: a mismatch is ErrCorrupt and stores nothing", is, completeCorrupt},
		{"Complete honours IfAbsent or is ErrUnsupported", is, func(b *bucket) { ifAbsent(b, completeCond) }},
		{"Complete honours IfMatch or is ErrUnsupported", is, func(b *bucket) { ifMatch(b, completeCond) }},
		{"Complete with IfMatch: of many one wins", is, func(b *bucket) { raceMatch(b, completeCond) }},
		{"Complete of parts that were not sent stores nothing", is, completeWrong},
		{"a finished upload is ErrNotExist", is, uploadFinished},
		{"Abort discards an upload, which then is ErrNotExist", is, uploadAborted},
		{"an unknown upload is ErrNotExist, and no error in Abort", is, uploadUnknown},
	}
}

func completeCond(b *bucket, key, content string, c backend.Cond) (backend.Object, error) {
	p := b.uploader()
	up, err := p.NewUpload(b.ctx, key, backend.PutOptions{})
	if err != nil {
		return backend.Object{}, err
	}
	r, sum := part(content)
	sent, err := p.UploadPart(b.ctx, up, 1, r, sum)
	if err != nil {
		return backend.Object{}, err
	}
	obj, err := p.Complete(b.ctx, up, []backend.Part{sent}, backend.PutOptions{Cond: c})
	if err != nil {
		return obj, errors.Join(err, p.Abort(b.ctx, up))
	}
	return obj, nil
}

func partCorrupt(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	r, _ := part("content")
	_, err := b.uploader().UploadPart(b.ctx, up, 1, r, *crc("other content"))
	b.fails(err, "k", "UploadPart with a wrong checksum", backend.ErrCorrupt)
	b.finish(up, []backend.Part{b.send(up, 1, "content")}, "content", backend.Attrs{})
}

func completeCorrupt(b *bucket) {
	old := b.put("k", "old")
	up := b.begin("k", backend.Attrs{})
	parts := []backend.Part{b.send(up, 1, b.piece(1)), b.send(up, 2, "tail")}
	_, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{CRC64NVME: crc("other content")})
	b.fails(err, "k", "Complete with a wrong checksum", backend.ErrCorrupt)
	b.unchanged(old, "old")
}

func completeWrong(b *bucket) {
	old := b.put("k", "old")
	up := b.begin("k", backend.Attrs{})
	one, two := b.send(up, 1, b.piece(1)), b.send(up, 2, "tail")
	ghost := one
	ghost.Number = 7
	alien := two
	alien.ETag = one.ETag
	for name, parts := range map[string][]backend.Part{
		"none":         nil,
		"one not sent": {one, ghost},
		"another ETag": {one, alien},
		"descending":   {two, one},
		"one twice":    {one, one},
	} {
		_, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{})
		b.fails(err, "k", "Complete with wrong parts: "+name, backend.ErrInvalid, backend.ErrNotExist, backend.ErrCorrupt)
		b.unchanged(old, "old")
	}
}

func uploadFinished(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	parts := []backend.Part{b.send(up, 1, "content")}
	obj := b.finish(up, parts, "content", backend.Attrs{})
	b.isOver(up, parts)
	b.unchanged(obj, "content")
}

// isOver fails unless up can no longer be used, in any way.
func (b *bucket) isOver(up backend.Upload, parts []backend.Part) {
	b.Helper()
	p := b.uploader()
	_, err := p.Complete(b.ctx, up, parts, backend.PutOptions{})
	b.fails(err, up.Key, "Complete of an upload that is over", backend.ErrNotExist)
	r, sum := part("late")
	_, err = p.UploadPart(b.ctx, up, 2, r, sum)
	b.fails(err, up.Key, "UploadPart to an upload that is over", backend.ErrNotExist)
	if err := p.Abort(b.ctx, up); err != nil {
		b.Errorf("Abort of an upload that is over = %v, want success", err)
	}
}

func uploadAborted(b *bucket) {
	old := b.put("k", "old")
	up := b.begin("k", backend.Attrs{})
	parts := []backend.Part{b.send(up, 1, "new")}
	if err := b.uploader().Abort(b.ctx, up); err != nil {
		b.Fatalf("Abort = %v, want success", err)
	}
	b.isOver(up, parts)
	b.unchanged(old, "old")
}

func uploadUnknown(b *bucket) {
	up := b.begin("k", backend.Attrs{})
	parts := []backend.Part{b.send(up, 1, "x")}
	if err := b.uploader().Abort(b.ctx, up); err != nil {
		b.Fatalf("Abort = %v, want success", err)
	}
	// An id of the right form, of which servers with other forms know nothing either.
	for _, id := range []string{up.ID, "../../" + up.ID, "unknown"} {
		b.isOver(backend.Upload{Key: "k", ID: id}, parts)
	}
	b.absent("k")
}
