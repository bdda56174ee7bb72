package backendtest

import (
	"errors"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func archiveChecks() []check {
	is := hasPower[backend.Restorer]
	return []check{
		{"archived objects are ErrArchived until a Restore is done", is, archiveRestore},
		{"Restore of an absent key is ErrNotExist", is, restoreAbsent},
		{"Restore of a readable object changes nothing", is, restoreOnline},
		{"archived objects can be listed, deleted and replaced", is, archiveReplace},
		{"parts and copies can go to the archive", is, archivePowers},
	}
}

// restorePatience is how long a check waits for a Restore. Where it takes longer, hours on
// S3, what comes after it is not checked.
const restorePatience = 10 * time.Second

// freeze stores content in the archive. It returns false where that is not to be had: the
// class is refused, or nothing is archived by it.
func (b *bucket) freeze(key, content string) (backend.Object, bool) {
	b.Helper()
	attrs := backend.Attrs{Class: "GLACIER", Meta: map[string]string{"kept": "yes"}}
	if hasPower[backend.WriteOnce](b.store) {
		attrs.Class = "" // everything is archived
	}
	obj, err := b.store.Put(b.ctx, key, body([]byte(content)), backend.PutOptions{Attrs: attrs})
	if err != nil {
		b.fails(err, key, "Put into class GLACIER", backend.ErrInvalid, backend.ErrUnsupported)
		b.absent(key)
		return obj, false
	}
	b.isSame("Put", obj, b.head(key))
	if obj.State == backend.Online {
		b.holds(key, obj.ETag, content)
		return obj, false
	}
	if obj.State != backend.Archived || attrs.Class != "" && obj.Class != attrs.Class || obj.Size != int64(len(content)) || obj.Meta["kept"] != "yes" {
		b.Fatalf("Put into class GLACIER = %+v, want it archived", obj)
	}
	return obj, true
}

func (b *bucket) restorer() backend.Restorer { return b.store.(backend.Restorer) }

// isFrozen fails unless obj cannot be read.
func (b *bucket) isFrozen(obj backend.Object) {
	b.Helper()
	for _, r := range [][2]int64{{0, -1}, {1, 1}} {
		_, err := b.getNow(obj.Key, obj.ETag, r[0], r[1])
		b.fails(err, obj.Key, "Get of an archived object", backend.ErrArchived)
	}
	if c, ok := b.store.(backend.Copier); ok {
		_, err := c.Copy(b.ctx, obj, "copy of it", backend.CopyOptions{})
		b.fails(err, "copy of it", "Copy of an archived object", backend.ErrArchived)
		b.absent("copy of it")
	}
}

func archiveRestore(b *bucket) {
	content := string(pattern(6, 30_000))
	obj, ok := b.freeze("k", content)
	if !ok {
		return
	}
	b.isFrozen(obj)
	opts := backend.RestoreOptions{Keep: 24 * time.Hour}
	for range 2 { // again while it is on its way
		if err := b.restorer().Restore(b.ctx, "k", opts); err != nil {
			b.Fatalf("Restore = %v, want success", err)
		}
	}
	head, ok := b.awaitRestored("k")
	if !ok {
		return
	}
	if head.ETag != obj.ETag || head.Class != obj.Class || !head.ModTime.Equal(obj.ModTime) {
		b.Errorf("Restore changed %+v to %+v", obj, head)
	}
	if head.Until.Before(time.Now()) {
		b.Errorf("a restored object stays until %v", head.Until)
	}
	b.holds("k", obj.ETag, content)
	if err := b.restorer().Restore(b.ctx, "k", opts); err != nil {
		b.Errorf("Restore of a restored object = %v, want success", err)
	}
	b.holds("k", obj.ETag, content)
}

// awaitRestored waits until key is restored. It returns false if that takes too long.
func (b *bucket) awaitRestored(key string) (backend.Object, bool) {
	b.Helper()
	for deadline := time.Now().Add(restorePatience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		obj := b.head(key)
		switch obj.State {
		case backend.Restored:
			return obj, true
		case backend.Restoring:
			_, err := b.getNow(key, "", 0, -1)
			if err != nil && !errors.Is(err, backend.ErrArchived) {
				b.Fatalf("Get of a restoring object = %v, want ErrArchived", err)
			}
		default:
			b.Fatalf("after Restore the object is %v", obj.State)
		}
	}
	return backend.Object{}, false
}

func restoreAbsent(b *bucket) {
	err := b.restorer().Restore(b.ctx, "absent", backend.RestoreOptions{Keep: 24 * time.Hour})
	b.fails(err, "absent", "Restore of an absent key", backend.ErrNotExist)
}

func restoreOnline(b *bucket) {
	obj := b.put("k", "online")
	err := b.restorer().Restore(b.ctx, "k", backend.RestoreOptions{Keep: 24 * time.Hour})
	if err != nil {
		b.fails(err, "k", "Restore of an object that is not archived", backend.ErrInvalid, backend.ErrUnsupported)
	}
	b.unchanged(obj, "online")
}

func archiveReplace(b *bucket) {
	if _, ok := b.freeze("k", "cold"); !ok {
		return
	}
	b.listsAs([]string{"k"}, "", "", backend.ListOptions{})
	b.put("k", "warm")
	b.freeze("k", "cold again")
	if err := b.store.Delete(b.ctx, "k"); err != nil {
		b.Fatalf("Delete of an archived object = %v, want success", err)
	}
	b.absent("k")
}

func archivePowers(b *bucket) {
	if _, ok := b.freeze("probe", "cold"); !ok {
		return
	}
	cold := backend.Attrs{Class: "GLACIER"}
	if c, ok := b.store.(backend.Copier); ok {
		src := b.put("warm", "warm")
		obj, err := c.Copy(b.ctx, src, "copied", backend.CopyOptions{Attrs: &cold})
		if err != nil || obj.State != backend.Archived {
			b.Fatalf("Copy into the archive = %v, %v, want it archived", obj.State, err)
		}
		b.isFrozen(obj)
		b.unchanged(src, "warm")
	}
	if hasPower[backend.PartUploader](b.store) {
		up := b.begin("assembled", cold)
		p := b.send(up, 1, "content")
		obj, err := b.uploader().Complete(b.ctx, up, []backend.Part{p}, backend.PutOptions{})
		if err != nil || obj.State != backend.Archived {
			b.Fatalf("Complete into the archive = %v, %v, want it archived", obj.State, err)
		}
		b.isFrozen(obj)
	}
}
