package backendtest

import (
	"errors"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func serviceChecks() []check {
	return []check{
		{name: "Buckets yields in byte order what was created", run: bucketsInOrder},
		{name: "CreateBucket fails with ErrExist if the name is taken", run: createTaken},
		{name: "CreateBucket fails with ErrInvalid for what the service does not allow", run: createForbidden},
		{name: "DeleteBucket deletes an empty bucket", run: deleteEmpty},
		{name: "DeleteBucket of a bucket with objects is ErrNotEmpty", run: deleteFull},
		{name: "DeleteBucket and Open of an absent bucket are ErrNotExist", run: absentBucket},
		{name: "Open gives stores of one bucket", run: openTwice},
	}
}

func bucketsInOrder(b *bucket) {
	other := newBucket(b.ctx, b, b.svc)
	var names []string
	for bk, err := range b.svc.Buckets(b.ctx) {
		if err != nil {
			b.Fatalf("Buckets = %v, want success", err)
		}
		names = append(names, bk.Name)
	}
	if !slices.IsSorted(names) {
		b.Errorf("Buckets = %q, want byte order", names)
	}
	for _, name := range []string{b.name, other.name} {
		if !slices.Contains(names, name) {
			b.Errorf("Buckets = %q, want %q among them", names, name)
		}
	}
	for range b.svc.Buckets(b.ctx) {
		break // must not go on
	}
}

func createTaken(b *bucket) {
	obj := b.put("kept", "kept")
	b.fails(b.svc.CreateBucket(b.ctx, b.name), b.name, "CreateBucket of a taken name", backend.ErrExist)
	b.unchanged(obj, "kept")
}

func createForbidden(b *bucket) {
	for _, name := range []string{"", ".", "..", "a/b", strings.Repeat("x", 300)} {
		err := b.svc.CreateBucket(b.ctx, name)
		b.fails(err, name, "CreateBucket of a forbidden name", backend.ErrInvalid)
	}
}

func deleteEmpty(b *bucket) {
	b.put("gone", "gone")
	if err := b.store.Delete(b.ctx, "gone"); err != nil {
		b.Fatalf("Delete = %v, want success", err)
	}
	err := b.svc.DeleteBucket(b.ctx, b.name)
	if errors.Is(err, backend.ErrNotYet) { // the service has to find out first that it is empty
		b.fails(err, b.name, "DeleteBucket of a bucket that was just emptied", backend.ErrNotYet)
		b.put("still", "here")
		return
	}
	if err != nil {
		b.Fatalf("DeleteBucket(%q) = %v, want success", b.name, err)
	}
	_, err = b.svc.Open(b.ctx, b.name)
	b.fails(err, b.name, "Open of a deleted bucket", backend.ErrNotExist)
	if _, err = b.store.Put(b.ctx, "k", body(nil), backend.PutOptions{}); err == nil {
		b.Errorf("Put into a deleted bucket succeeded")
	}
	for e, err := range b.store.List(b.ctx, "", "", backend.ListOptions{}) {
		if err == nil {
			b.Errorf("List of a deleted bucket yields %q", e.Key)
		}
		return
	}
	b.Errorf("List of a deleted bucket is empty, want an error")
}

func deleteFull(b *bucket) {
	obj := b.put("deep/down/below", "kept")
	b.fails(b.svc.DeleteBucket(b.ctx, b.name), b.name, "DeleteBucket of a full bucket", backend.ErrNotEmpty)
	b.unchanged(obj, "kept")
}

func absentBucket(b *bucket) {
	name := bucketName()
	b.fails(b.svc.DeleteBucket(b.ctx, name), name, "DeleteBucket of an absent bucket", backend.ErrNotExist)
	_, err := b.svc.Open(b.ctx, name)
	b.fails(err, name, "Open of an absent bucket", backend.ErrNotExist)
}

func openTwice(b *bucket) {
	obj := b.put("k", "seen by all")
	second, err := b.svc.Open(b.ctx, b.name)
	if err != nil {
		b.Fatalf("second Open = %v, want success", err)
	}
	got, err := second.Head(b.ctx, "k")
	if err != nil || got.ETag != obj.ETag {
		b.Errorf("Head through a second Open = %q, %v, want %q", got.ETag, err, obj.ETag)
	}
	other := newBucket(b.ctx, b, b.svc)
	if _, err := other.store.Head(b.ctx, "k"); !errors.Is(err, backend.ErrNotExist) {
		b.Errorf("Head in another bucket = %v, want ErrNotExist", err)
	}
}
