package backendtest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/thawfs/thawfs/backend"
)

func condChecks() []check {
	return []check{
		{name: "Put honours IfAbsent or is ErrUnsupported", run: func(b *bucket) { ifAbsent(b, putCond) }},
		{name: "Put honours IfMatch or is ErrUnsupported", run: func(b *bucket) { ifMatch(b, putCond) }},
		{name: "Put with IfAbsent: of many one wins", run: func(b *bucket) { raceAbsent(b, putCond) }},
		{name: "Put with IfMatch: of many one wins", run: func(b *bucket) { raceMatch(b, putCond) }},
	}
}

// A change replaces key by content under a condition, in one of the ways a store has.
type change func(b *bucket, key, content string, c backend.Cond) (backend.Object, error)

func putCond(b *bucket, key, content string, c backend.Cond) (backend.Object, error) {
	return b.store.Put(b.ctx, key, body([]byte(content)), backend.PutOptions{Cond: c})
}

func ifAbsent(b *bucket, do change) {
	cond := backend.Cond{IfAbsent: true}
	obj, err := do(b, "k", "first", cond)
	if errors.Is(err, backend.ErrUnsupported) {
		b.fails(err, "k", "change with IfAbsent", backend.ErrUnsupported)
		b.absent("k")
		return
	}
	if err != nil {
		b.Fatalf("change of an absent key with IfAbsent = %v, want success", err)
	}
	b.isStored(obj, "k", "first", backend.Attrs{})
	_, err = do(b, "k", "second", cond)
	b.fails(err, "k", "change of a present key with IfAbsent", backend.ErrChanged)
	b.unchanged(obj, "first")
	if err := b.store.Delete(b.ctx, "k"); err != nil {
		b.Fatalf("Delete = %v, want success", err)
	}
	if obj, err = do(b, "k", "third", cond); err != nil {
		b.Fatalf("change of a deleted key with IfAbsent = %v, want success", err)
	}
	b.isStored(obj, "k", "third", backend.Attrs{})
}

func ifMatch(b *bucket, do change) {
	old := b.put("k", "old")
	obj, err := do(b, "k", "new", backend.Cond{IfMatch: old.ETag})
	if errors.Is(err, backend.ErrUnsupported) {
		b.fails(err, "k", "change with IfMatch", backend.ErrUnsupported)
		b.unchanged(old, "old")
		return
	}
	if err != nil {
		b.Fatalf("change with IfMatch of the newest version = %v, want success", err)
	}
	b.isStored(obj, "k", "new", backend.Attrs{})
	_, err = do(b, "k", "newer", backend.Cond{IfMatch: old.ETag})
	b.fails(err, "k", "change with IfMatch of an old version", backend.ErrChanged)
	b.unchanged(obj, "new")
	_, err = do(b, "absent", "x", backend.Cond{IfMatch: obj.ETag})
	b.fails(err, "absent", "change with IfMatch of an absent key", backend.ErrChanged)
	b.absent("absent")
}

// contenders is how many changes race for one version.
const contenders = 16

func raceAbsent(b *bucket, do change) {
	for round := range 3 {
		b.race(do, fmt.Sprintf("k%d", round), backend.Cond{IfAbsent: true})
	}
}

func raceMatch(b *bucket, do change) {
	for round := range 3 {
		key := fmt.Sprintf("k%d", round)
		b.race(do, key, backend.Cond{IfMatch: b.put(key, "base").ETag})
	}
}

// race lets many changes of key begin under the same condition: one must win, and what it
// was told must be what is there.
func (b *bucket) race(do change, key string, c backend.Cond) {
	b.Helper()
	var winners, refused atomic.Int32
	objs, contents := make([]backend.Object, contenders), make([]string, contenders)
	parallel(contenders, func(i int) {
		contents[i] = fmt.Sprintf("by contender %d", i)
		obj, err := do(b, key, contents[i], c)
		switch {
		case err == nil:
			winners.Add(1)
			objs[i] = obj
		case errors.Is(err, backend.ErrUnsupported):
			refused.Add(1)
		case !errors.Is(err, backend.ErrChanged):
			b.Errorf("change number %d with %+v = %v, want success or ErrChanged", i, c, err)
		}
	})
	if refused.Load() == contenders {
		return
	}
	if winners.Load() != 1 {
		b.Fatalf("%d of %d changes with %+v succeeded, want one", winners.Load(), contenders, c)
	}
	for i, obj := range objs {
		if obj.ETag != "" {
			b.unchanged(obj, contents[i])
		}
	}
}
