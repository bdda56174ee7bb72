package backendtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func writeOnceChecks() []check {
	is, fetches, tells := hasPower[backend.WriteOnce], hasPower[backend.Fetcher], hasPower[backend.Describer]
	return []check{
		{"what a WriteOnce store gets is archived from its Put on", is, bornArchived},
		{"CheckKey of a WriteOnce store says what Put does", is, checkKeyAgrees},
		{"Fetch brings a restored object as a whole, or says why not", fetches, fetchWhole},
		{"Fetch goes on where it ended", fetches, fetchAgain},
		{"SetFact refuses what is not known or can only be read", tells, factsRefused},
	}
}

// sameState reports whether two answers agree on the state of an object. In a store where
// all is archived, checks restore what they read, so that the state moves on.
func (b *bucket) sameState(x, y backend.Object) bool {
	return x.State == y.State || hasPower[backend.WriteOnce](b.store) && x.State != backend.Online && y.State != backend.Online
}

// thaw restores key and waits for it.
func (b *bucket) thaw(key string) error {
	if err := b.restorer().Restore(b.ctx, key, backend.RestoreOptions{}); err != nil {
		return err
	}
	for deadline := time.Now().Add(restorePatience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		obj, err := b.store.Head(b.ctx, key)
		if err != nil || obj.State != backend.Restoring { // readable, or replaced
			return err
		}
	}
	return fmt.Errorf("%q is not restored within %v", key, restorePatience)
}

func bornArchived(b *bucket) {
	obj, err := b.store.Put(b.ctx, "dir/k", body([]byte("cold")), backend.PutOptions{})
	if err != nil || obj.State != backend.Archived {
		b.Fatalf("Put = %v, %v, want it archived", obj.State, err)
	}
	b.isFrozen(obj)
	for _, e := range b.list("dir/", "", backend.ListOptions{}) {
		if e.State != backend.Archived {
			b.Errorf("List shows %q as %v, want archived", e.Key, e.State)
		}
	}
}

func checkKeyAgrees(b *bucket) {
	w := b.store.(backend.WriteOnce)
	keys := []string{"", "a\x00b", "plain", strings.Repeat("k", 20_000)}
	for _, ks := range shapes {
		keys = append(keys, ks...)
	}
	for _, key := range keys {
		check := w.CheckKey(key)
		_, err := b.store.Put(b.ctx, key, body(nil), backend.PutOptions{})
		if (check == nil) != (err == nil) || check != nil && !errors.Is(check, backend.ErrInvalid) {
			b.Errorf("CheckKey(%q) = %v, Put = %v", key, check, err)
		}
	}
}

// localFile makes a file to fetch into.
func (b *bucket) localFile() *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "fetched"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() }) // only read by then
	return f
}

func (b *bucket) fetched(f *os.File, content string) {
	b.Helper()
	got, err := os.ReadFile(f.Name())
	if err != nil || string(got) != content {
		b.Fatalf("Fetch brought %s, %v, want %s", brief(string(got)), err, brief(content))
	}
}

func fetchWhole(b *bucket) {
	fetcher, f := b.store.(backend.Fetcher), b.localFile()
	content := string(pattern(11, 3<<20+17))
	obj, ok := b.freeze("k", content)
	if !ok {
		return
	}
	b.fails(fetcher.Fetch(b.ctx, obj, f, nil), "k", "Fetch of an archived object", backend.ErrArchived)
	if err := b.thaw("k"); err != nil {
		b.Fatal(err)
	}
	other := obj
	other.ETag += "x"
	b.fails(fetcher.Fetch(b.ctx, other, f, nil), "k", "Fetch of another version", backend.ErrChanged)
	other.Key = "absent"
	b.fails(fetcher.Fetch(b.ctx, other, f, nil), "absent", "Fetch of an absent key", backend.ErrNotExist)
	var told int64
	if err := fetcher.Fetch(b.ctx, obj, f, func(n int64) { told += n }); err != nil {
		b.Fatalf("Fetch = %v, want success", err)
	}
	b.fetched(f, content)
	if told != obj.Size {
		b.Errorf("Fetch told of %d bytes, want %d", told, obj.Size)
	}
}

// fetchAgain has a file that holds other bytes than an earlier Fetch left in it.
func fetchAgain(b *bucket) {
	fetcher, f := b.store.(backend.Fetcher), b.localFile()
	content := string(pattern(12, 2<<20+5))
	obj, ok := b.freeze("k", content)
	if !ok {
		return
	}
	if err := b.thaw("k"); err != nil {
		b.Fatal(err)
	}
	for _, spoil := range []string{"", "other bytes at the begin", content + "a tail"} {
		if _, err := f.WriteAt([]byte(spoil), 0); err != nil {
			b.Fatal(err)
		}
		if err := fetcher.Fetch(b.ctx, obj, f, nil); err != nil {
			b.Fatalf("Fetch = %v, want success", err)
		}
		b.fetched(f, content)
	}
}

func factsRefused(b *bucket) {
	d := b.store.(backend.Describer)
	facts, err := d.Facts(b.ctx)
	if err != nil || len(facts) == 0 {
		b.Fatalf("Facts = %q, %v, want some", facts, err)
	}
	b.fails(d.SetFact(b.ctx, "no such fact", "x"), "", "SetFact of what is not known", backend.ErrNotExist)
}
