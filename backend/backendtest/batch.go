package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thawfs/thawfs/backend"
)

func batchChecks() []check {
	is := hasPower[backend.BatchDeleter]
	return []check{
		{"DeleteBatch deletes any number of keys, absent ones too", is, deleteMany},
		{"DeleteBatch deletes keys of any shape", is, deleteShapes},
		{"DeleteBatch returns an error for each key that may still exist", is, deleteFails},
	}
}

func (b *bucket) batch() backend.BatchDeleter { return b.store.(backend.BatchDeleter) }

func deleteMany(b *bucket) {
	var keys, kept []string
	for i := range 2500 { // more than two requests of S3
		keys = append(keys, fmt.Sprintf("d%d/k%04d", i%7, i))
	}
	for i := range 5 {
		kept = append(kept, fmt.Sprintf("d%d/kept", i))
	}
	var present []string
	for i, key := range keys {
		if i%5 == 0 || i > 2450 {
			present = append(present, key)
		}
	}
	b.putAll(append(slices.Clone(present), kept...))
	if failed := b.batch().DeleteBatch(b.ctx, keys); len(failed) != 0 {
		b.Fatalf("DeleteBatch of %d keys = %d errors (%v), want none", len(keys), len(failed), failed)
	}
	b.holdsExactly(kept)
	if failed := b.batch().DeleteBatch(b.ctx, nil); len(failed) != 0 {
		b.Errorf("DeleteBatch of nothing = %v, want none", failed)
	}
}

func deleteShapes(b *bucket) {
	var keys []string
	for _, key := range []string{" a", "a ", "a&b", "a<b", "a\"b", "é", "😀", "a+b", "a%2Fb", "dir/", "x//y", "a\nb", "a\rb", "\x01"} {
		if _, err := b.store.Put(b.ctx, key, body(nil), backend.PutOptions{}); err == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	b.listsAs(keys, "", "", backend.ListOptions{})
	for key, err := range b.batch().DeleteBatch(b.ctx, keys) {
		b.Errorf("DeleteBatch: %q: %v, want success", key, err)
	}
	b.listsAs(nil, "", "", backend.ListOptions{})
}

func deleteFails(b *bucket) {
	keys := []string{"1", "2", "3"}
	b.putAll(keys)
	failed := b.batch().DeleteBatch(b.ctx, []string{"1", "bad\x00key"})
	if err := failed["bad\x00key"]; len(failed) != 1 || !errors.Is(err, backend.ErrInvalid) {
		b.Errorf("DeleteBatch with an invalid key = %v, want ErrInvalid for it alone", failed)
	}
	b.listsAs(keys[1:], "", "", backend.ListOptions{})

	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	failed = b.batch().DeleteBatch(ctx, keys)
	for _, key := range keys[1:] {
		b.fails(failed[key], key, "DeleteBatch with a cancelled context", context.Canceled)
	}
	b.listsAs(keys[1:], "", "", backend.ListOptions{})
}
