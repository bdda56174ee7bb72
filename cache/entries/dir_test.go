package entries

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// tree teaches c the listings of a/b/c, a/d and e.
func tree(c *Cache) {
	c.LearnDir(ref(""), entries("a/", "e"), c.Stamp())
	c.LearnDir(ref("a/"), entries("a/b/", "a/d"), c.Stamp())
	c.LearnDir(ref("a/b/"), entries("a/b/c"), c.Stamp())
}

func TestSetShowsInAllListingsAbove(t *testing.T) {
	c := newCache(t, Options{})
	c.LearnDir(ref(""), entries("e"), c.Stamp())
	c.LearnDir(ref("a/"), nil, c.Stamp())
	c.Set(ref("a/b/c.txt"), object("a/b/c.txt", "v1"))
	wantDir(t, c, "", "a/", "e")
	wantDir(t, c, "a/", "a/b/")
	wantDir(t, c, "a/b/", "?")
	c.Set(ref("a/b/"), object("a/b/", "v1"))
	c.Set(ref("e"), object("e", "v2"))
	wantDir(t, c, "", "a/", "e")
	if list, _ := c.Dir(ref("")); list[1].ETag != "v2" {
		t.Errorf("Dir shows %+v, want the new version", list[1])
	}
	c.Set(backend.Ref{Bucket: "other", Key: "x"}, object("x", "v1"))
	wantDir(t, c, "", "a/", "e")
}

func TestRemoveTakesEmptyPrefixesAlong(t *testing.T) {
	for _, tt := range []struct {
		name       string
		teach      func(*Cache)
		remove     string
		root, a, b []string
	}{
		{"something is left", tree, "a/d", []string{"a/", "e"}, []string{"a/b/"}, []string{"a/b/c"}},
		{"nothing is left", tree, "a/b/c", []string{"a/", "e"}, []string{"a/d"}, nil},
		{"levels above go too", func(c *Cache) {
			tree(c)
			c.Remove(ref("a/d"))
		}, "a/b/c", []string{"e"}, nil, nil},
		{"a marker is left", func(c *Cache) {
			tree(c)
			c.Set(ref("a/b/"), object("a/b/", "v1"))
		}, "a/b/c", []string{"a/", "e"}, []string{"a/b/", "a/d"}, []string{"a/b/"}},
		{"the marker itself", func(c *Cache) {
			tree(c)
			c.Set(ref("a/b/"), object("a/b/", "v1"))
			c.Remove(ref("a/b/c"))
		}, "a/b/", []string{"a/", "e"}, []string{"a/d"}, nil},
		{"the level is not known", func(c *Cache) {
			tree(c)
			c.LearnDir(ref("a/"), entries("a/b/", "a/d"), c.Stamp())
			c.lru.Remove(slot{ref("a/b/"), true})
		}, "a/b/c", []string{"a/", "e"}, []string{"?"}, []string{"?"}},
		{"the level is not known but its marker", func(c *Cache) {
			tree(c)
			c.lru.Remove(slot{ref("a/b/"), true})
			c.Learn(ref("a/b/"), object("a/b/", "v1"), c.Stamp())
		}, "a/b/c", []string{"a/", "e"}, []string{"a/b/", "a/d"}, []string{"?"}},
		{"the levels may both be empty", func(c *Cache) {
			c.LearnDir(ref(""), entries("a/", "e"), c.Stamp())
			c.LearnDir(ref("a/"), entries("a/b/"), c.Stamp())
		}, "a/b/c", []string{"?"}, []string{"?"}, []string{"?"}},
		{"of an unknown name", tree, "q", []string{"a/", "e"}, []string{"a/b/", "a/d"}, []string{"a/b/c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t, Options{})
			tt.teach(c)
			c.Remove(ref(tt.remove))
			wantGet(t, c, tt.remove, "")
			wantDir(t, c, "", tt.root...)
			wantDir(t, c, "a/", tt.a...)
			wantDir(t, c, "a/b/", tt.b...)
		})
	}
}

func TestListingsCarryChangesMadeMeanwhile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Cache)
		want   []string
	}{
		{"none", func(*Cache) {}, []string{"d/", "d/s/", "d/x"}},
		{"a new object", func(c *Cache) { c.Set(ref("d/n"), object("d/n", "v1")) }, []string{"d/", "d/n", "d/s/", "d/x"}},
		{"a new prefix", func(c *Cache) { c.Set(ref("d/p/n"), object("d/p/n", "v1")) }, []string{"d/", "d/p/", "d/s/", "d/x"}},
		{"a removed object", func(c *Cache) { c.Remove(ref("d/x")) }, []string{"d/", "d/s/"}},
		{"the removed marker", func(c *Cache) { c.Remove(ref("d/")) }, []string{"d/s/", "d/x"}},
		{"removed from a prefix", func(c *Cache) { c.Remove(ref("d/s/n")) }, []string{"?"}},
		{"come and gone in a prefix", func(c *Cache) {
			c.Set(ref("d/p/n"), object("d/p/n", "v1"))
			c.Remove(ref("d/p/n"))
		}, []string{"?"}},
		{"removed from an absent prefix", func(c *Cache) { c.Remove(ref("d/p/n")) }, []string{"d/", "d/s/", "d/x"}},
		{"dropped object", func(c *Cache) { c.Drop(ref("d/x")) }, []string{"?"}},
		{"dropped below", func(c *Cache) { c.Drop(ref("d/s/x")) }, []string{"?"}},
		{"dropped above", func(c *Cache) { c.DropDir(ref("")) }, []string{"?"}},
		{"dropped dir below", func(c *Cache) { c.DropDir(ref("d/p/")) }, []string{"?"}},
		{"elsewhere", func(c *Cache) { c.Remove(ref("e/s/n")); c.DropDir(ref("e/")); c.Drop(ref("f")) }, []string{"d/", "d/s/", "d/x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t, Options{})
			s := c.Stamp()
			tt.change(c)
			list := append([]backend.Entry{{Object: listed("d/", "v1")}}, entries("d/s/", "d/x")...)
			c.LearnDir(ref("d/"), list, s)
			wantDir(t, c, "d/", tt.want...)
		})
	}
}

func TestListingsAnswerGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{TTL: 10 * time.Second})
		c.Learn(ref("d/known"), object("d/known", "v1"), c.Stamp())
		time.Sleep(20 * time.Second)
		list := entries("d/full", "d/known", "d/s/", "d/x")
		list[0].Meta = map[string]string{}
		c.LearnDir(ref("d/"), list, c.Stamp())
		wantGet(t, c, "d/full", "v1")
		wantGet(t, c, "d/known", "v1") // too old, but listed unchanged
		wantGet(t, c, "d/x", "?")
		wantGet(t, c, "d/a", "")
		if obj, found, known := c.Get(ref("d/")); !found || !known || obj.ETag != "" || obj.Key != "d/" {
			t.Errorf("Get(d/) = %+v, %v, %v; want a directory without a marker", obj, found, known)
		}
		wantGet(t, c, "d/p/q/r", "")
		wantGet(t, c, "d/p/", "")
		wantGet(t, c, "d/s/", "?")
		wantGet(t, c, "d/s/t", "?")
		wantGet(t, c, "d", "?")
	})
}

func TestListingsForgetWhatContradictsThem(t *testing.T) {
	c := newCache(t, Options{})
	c.Learn(ref("d/a"), object("d/a", "v0"), c.Stamp())
	c.LearnAbsent(ref("d/b"), c.Stamp())
	c.Learn(ref("d/c"), object("d/c", "v1"), c.Stamp())
	c.LearnDir(ref("d/"), entries("d/a", "d/b", "d/c"), c.Stamp())
	wantGet(t, c, "d/a", "?")
	wantGet(t, c, "d/b", "?")
	wantGet(t, c, "d/c", "v1")
}

func TestDirectoriesComeAndGoWithWhatIsBelow(t *testing.T) {
	c := newCache(t, Options{})
	s := c.Stamp()
	c.LearnAbsent(ref("a/"), s)
	c.Set(ref("a/b/c"), object("a/b/c", "v1"))
	wantGet(t, c, "a/", "?")
	c.LearnAbsent(ref("a/"), s)
	wantGet(t, c, "a/", "?")

	c.Learn(ref("a/b/"), backend.Object{Key: "a/b/"}, s)
	if obj, found, known := c.Get(ref("a/b/")); !found || !known || obj.ETag != "" {
		t.Errorf("Get(a/b/) = %+v, %v, %v; want a bare directory", obj, found, known)
	}
	c.Learn(ref("a/"), object("a/", "v1"), s)
	s = c.Stamp()
	c.Remove(ref("a/b/c"))
	wantGet(t, c, "a/b/", "?")
	wantGet(t, c, "a/", "v1")
	c.Learn(ref("a/b/"), backend.Object{Key: "a/b/"}, s)
	wantGet(t, c, "a/b/", "?")
	c.Remove(ref("a/"))
	wantGet(t, c, "a/", "?") // there may be more below

	c.Learn(ref("d/"), backend.Object{Key: "d/"}, c.Stamp())
	c.Drop(ref("d/x"))
	wantGet(t, c, "d/", "?")
	c.Learn(ref("d/"), backend.Object{Key: "d/"}, c.Stamp())
	c.LearnDir(ref("d/"), nil, c.Stamp())
	wantGet(t, c, "d/", "")
}

func TestDropForgetsWhatHoldsIt(t *testing.T) {
	c := newCache(t, Options{})
	tree(c)
	c.Learn(ref("a/d"), object("a/d", "v1"), c.Stamp())
	c.Learn(ref("e"), object("e", "v1"), c.Stamp())
	c.Drop(ref("a/d"))
	wantGet(t, c, "a/d", "?")
	wantGet(t, c, "e", "v1")
	wantDir(t, c, "", "?")
	wantDir(t, c, "a/", "?")
	wantDir(t, c, "a/b/", "a/b/c")

	tree(c)
	c.Learn(ref("a/b/c"), object("a/b/c", "v1"), c.Stamp())
	c.Learn(backend.Ref{Bucket: "other", Key: "a/b/c"}, object("a/b/c", "v1"), c.Stamp())
	c.DropDir(ref("a/"))
	wantGet(t, c, "a/b/c", "?")
	wantGet(t, c, "e", "v1")
	wantDir(t, c, "", "?")
	wantDir(t, c, "a/b/", "?")
	if _, _, known := c.Get(backend.Ref{Bucket: "other", Key: "a/b/c"}); !known {
		t.Error("DropDir reached into another bucket")
	}
}

func TestUnsortedListingsAreRefused(t *testing.T) {
	c := newCache(t, Options{})
	c.LearnDir(ref(""), entries("b", "a"), c.Stamp())
	wantDir(t, c, "", "?")
}

// What Dir returned stays as it was, whatever happens later.
func TestDirReturnsASnapshot(t *testing.T) {
	c := newCache(t, Options{})
	c.LearnDir(ref(""), entries("a", "c"), c.Stamp())
	before, _ := c.Dir(ref(""))
	c.Set(ref("b"), object("b", "v1"))
	c.Remove(ref("a"))
	wantDir(t, c, "", "b", "c")
	if len(before) != 2 || before[0].Key != "a" || before[1].Key != "c" {
		t.Errorf("the listing handed out became %v", before)
	}
}

func TestManyChangesOfOneLevel(t *testing.T) {
	c := newCache(t, Options{})
	c.LearnDir(ref(""), nil, c.Stamp())
	var want []string
	for i := range 5000 {
		key := fmt.Sprintf("%04d", i*7919%5000)
		c.Set(ref(key), object(key, "v1"))
		if i%3 == 0 {
			c.Remove(ref(key))
			continue
		}
		want = append(want, key)
	}
	slices.Sort(want)
	c.invariants(t)
	wantDir(t, c, "", want...)
}
