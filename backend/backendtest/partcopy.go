package backendtest

import (
	"github.com/thawfs/thawfs/backend"
)

func partCopyChecks() []check {
	is := func(s backend.Store) bool {
		return hasPower[backend.PartCopier](s) && hasPower[backend.PartUploader](s)
	}
	return []check{
		{"CopyPart takes a range of an object", is, copyPart},
		{"CopyPart of another version is ErrChanged, of an absent key ErrNotExist", is, copyPartChanged},
	}
}

func (b *bucket) partCopier() backend.PartCopier { return b.store.(backend.PartCopier) }

// copyPart edits the middle of an object: the parts around it come from its old version.
func copyPart(b *bucket) {
	content := b.piece(1) + b.piece(2) + b.piece(3)
	size := int64(len(b.piece(1)))
	src := b.put("k", content)
	up := b.begin("k", someAttrs)
	last, err := b.partCopier().CopyPart(b.ctx, up, 3, src, 2*size, size)
	if err != nil || last.Number != 3 || last.Size != size || last.ETag == "" {
		b.Fatalf("CopyPart(3) = %+v, %v, want %d bytes", last, err, size)
	}
	first, err := b.partCopier().CopyPart(b.ctx, up, 1, src, 0, size)
	if err != nil {
		b.Fatalf("CopyPart(1) = %v, want success", err)
	}
	if sum := *crc(b.piece(1)); first.CRC != 0 && first.CRC != sum {
		b.Errorf("CopyPart tells CRC %016x, want %016x or 0", first.CRC, sum)
	}
	b.unchanged(src, content)
	parts := []backend.Part{first, b.send(up, 2, b.piece(7)), last}
	want := b.piece(1) + b.piece(7) + b.piece(3)
	obj, err := b.uploader().Complete(b.ctx, up, parts, backend.PutOptions{Cond: backend.Cond{}})
	if err != nil {
		b.Fatalf("Complete = %v, want success", err)
	}
	b.isStored(obj, "k", want, someAttrs)
}

func copyPartChanged(b *bucket) {
	old := b.put("k", "the old one")
	now := b.put("k", "the new one")
	up := b.begin("target", backend.Attrs{})
	_, err := b.partCopier().CopyPart(b.ctx, up, 1, old, 0, old.Size)
	b.fails(err, "target", "CopyPart of a replaced version", backend.ErrChanged)
	if err := b.store.Delete(b.ctx, "k"); err != nil {
		b.Fatalf("Delete = %v, want success", err)
	}
	_, err = b.partCopier().CopyPart(b.ctx, up, 1, now, 0, now.Size)
	b.fails(err, "target", "CopyPart of an absent key", backend.ErrNotExist, backend.ErrChanged)
	b.absent("target")
}
