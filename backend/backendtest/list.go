package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

func listChecks() []check {
	return []check{
		{name: "List is in byte order across pages", run: listPages},
		{name: "List rolls up with a delimiter and begins after a key", run: listMatrix},
		{name: "List tells size, ETag and time of objects", run: listFacts},
		{name: "List of nothing yields nothing", run: listNothing},
		{name: "List can be stopped and ranged over again", run: listStop},
		{name: "List yields one error and then nothing more", run: listCancelled},
		{name: "List does not miss a key that nobody touches", run: listStable},
	}
}

func listPages(b *bucket) {
	var keys []string
	for i := range 120 {
		keys = append(keys, fmt.Sprintf("k%d", i))
	}
	// Order of bytes is not that of words, of UTF-16 or of a tree. No key is a prefix of
	// another with a slash between: a store may refuse those.
	keys = append(keys, "K", "k", "k!", "k-a", "k_/x", "k_/y", "k_-", "k_.", "k_0", "ka", "kB", "é", "z", "\ue000", "😀", "ké", "~")
	b.putAll(keys)
	slices.Sort(keys)
	for _, size := range []int{0, 7, 1000} {
		b.listsAs(keys, "", "", backend.ListOptions{PageSize: size})
		b.listsAs(keys, "", "", backend.ListOptions{PageSize: size, Delimited: true})
	}
	b.listsAs(keys, "", "", backend.ListOptions{PageSize: 1})
}

func listMatrix(b *bucket) {
	keys := []string{"a-", "a.txt", "a0", "b/1", "b/2/x", "b/2/y", "b/2-", "b/3", "b0", "bb/1", "c/d/e/f", "c/d/e/g", "c/dd", "c0/x"}
	b.putAll(keys)
	slices.Sort(keys)
	prefixes := []string{"", "a", "b", "b/", "b/2", "b/2/", "bb", "c/", "c/d", "c/d/", "c/d/e/f", "x", "b/2/x/"}
	afters := []string{"", "a", "a.txt", "b", "b/", "b/1", "b/2", "b/2/", "b/2/x", "b/2/zzz", "b/2-", "b0", "c/d/e/f", "c/zz", "~"}
	parallel(len(prefixes)*len(afters), func(i int) {
		prefix, after := prefixes[i/len(afters)], afters[i%len(afters)]
		for _, delimited := range []bool{false, true} {
			opts := backend.ListOptions{Delimited: delimited, PageSize: 2}
			var got []string
			for e, err := range b.store.List(b.ctx, prefix, after, opts) {
				if err != nil {
					b.Errorf("List(%q, %q, %+v) = %v, want success", prefix, after, opts, err)
				}
				got = append(got, names([]backend.Entry{e})...)
			}
			if want := listing(keys, prefix, after, delimited); !slices.Equal(got, want) {
				b.Errorf("List(%q, %q, %+v) = %q, want %q", prefix, after, opts, got, want)
			}
		}
	})
}

func listFacts(b *bucket) {
	want := map[string]backend.Object{}
	for i, key := range []string{"x", "y/1", "y/2"} {
		want[key] = b.put(key, strings.Repeat("z", i))
	}
	for _, delimited := range []bool{false, true} {
		for _, e := range b.list("y/", "", backend.ListOptions{Delimited: delimited}) {
			obj := want[e.Key]
			if e.Prefix || e.Size != obj.Size || e.ETag != obj.ETag || !b.sameState(e.Object, obj) {
				b.Errorf("List yields %+v, Put said %+v", e, obj)
			}
			b.isSameTime("List", e.Object, obj)
		}
	}
	e := b.list("", "", backend.ListOptions{Delimited: true})
	if len(e) != 2 || !e[1].Prefix || e[1].Key != "y/" {
		b.Errorf("List = %q, want x and the prefix y/", names(e))
	}
}

func listNothing(b *bucket) {
	b.listsAs(nil, "", "", backend.ListOptions{})
	b.put("a/b", "")
	for _, prefix := range []string{"b", "a/b/", "a/c", "a/bb", "A", "/"} {
		b.listsAs(nil, prefix, "", backend.ListOptions{})
		b.listsAs(nil, prefix, "", backend.ListOptions{Delimited: true})
	}
	if err := b.store.Delete(b.ctx, "a/b"); err != nil {
		b.Fatalf("Delete = %v, want success", err)
	}
	b.listsAs(nil, "", "", backend.ListOptions{Delimited: true})
}

func listStop(b *bucket) {
	b.putAll([]string{"1", "2", "3", "4", "5"})
	seq := b.store.List(b.ctx, "", "", backend.ListOptions{PageSize: 2})
	for range 2 {
		n := 0
		for e, err := range seq {
			n++
			if want := fmt.Sprint(n); err != nil || e.Key != want {
				b.Fatalf("entry %d of the listing = %q, %v, want %q", n, e.Key, err, want)
			}
			if n == 3 {
				break
			}
		}
		if n != 3 {
			b.Fatalf("List ranged over again yields %d entries, want 3 and more", n)
		}
	}
}

func listCancelled(b *bucket) {
	b.putAll([]string{"1", "2", "3"})
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	var errs []error
	for e, err := range b.store.List(ctx, "", "", backend.ListOptions{PageSize: 1}) {
		if err == nil {
			b.Errorf("List with a cancelled context yields %q", e.Key)
		}
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		b.Errorf("List with a cancelled context yields %v, want context.Canceled once", errs)
	}
}

func listStable(b *bucket) {
	var stay, come []string
	for i := range 40 {
		stay = append(stay, fmt.Sprintf("d%d/stay%02d", i%3, i))
		come = append(come, fmt.Sprintf("d%d/come%02d", i%3, i), fmt.Sprintf("d%d/stay%02d-x", i%3, i))
	}
	b.putAll(stay)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { b.churn(come, stop) })
	defer wg.Wait()
	defer close(stop)
	for range 5 {
		seen := names(b.list("", "", backend.ListOptions{PageSize: 10}))
		for _, key := range stay {
			if !slices.Contains(seen, key) {
				b.Fatalf("List beside changes of other keys lacks %q", key)
			}
		}
	}
}

// churn makes and deletes keys until stop is closed.
func (b *bucket) churn(keys []string, stop <-chan struct{}) {
	for {
		parallel(len(keys), func(i int) {
			if _, err := b.store.Put(b.ctx, keys[i], body(nil), backend.PutOptions{}); err != nil {
				b.Errorf("Put(%q) = %v, want success", keys[i], err)
			}
		})
		parallel(len(keys), func(i int) {
			if err := b.store.Delete(b.ctx, keys[i]); err != nil {
				b.Errorf("Delete(%q) = %v, want success", keys[i], err)
			}
		})
		select {
		case <-stop:
			return
		default:
		}
	}
}
