package entries

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/thawfs/thawfs/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bucket = "b"

func ref(key string) backend.Ref { return backend.Ref{Bucket: bucket, Key: key} }

// object returns a version of key that has settled.
func object(key, etag string) backend.Object {
	obj := listed(key, etag)
	obj.Meta = map[string]string{"mode": "33188", "v": etag}
	return obj
}

// listed returns object as a listing shows it.
func listed(key, etag string) backend.Object {
	return backend.Object{Key: key, ETag: etag, Size: int64(len(etag)), ModTime: time.Unix(900_000_000, 5e8)}
}

// entries makes a listing of keys; those that end in "/" are prefixes.
func entries(keys ...string) []backend.Entry {
	var list []backend.Entry
	for _, key := range keys {
		e := backend.Entry{Object: listed(key, "v1")}
		if strings.HasSuffix(key, "/") {
			e = backend.Entry{Object: backend.Object{Key: key}, Prefix: true}
		}
		list = append(list, e)
	}
	return list
}

func newCache(t *testing.T, o Options) *Cache {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		c.invariants(t)
	})
	return c
}

// invariants checks what the comments claim of guarded fields.
func (c *Cache) invariants(t interface{ Errorf(string, ...any) }) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := 0
	for _, k := range c.lru.Keys() {
		it, _ := c.lru.Peek(k)
		sum += it.charged
		if !k.dir {
			if it.charged != 1 || it.found && (it.obj.Key != k.Key || it.obj.Meta == nil) || !it.found && it.obj.Key != "" {
				t.Errorf("item %v: charged %d, obj %+v", k, it.charged, it.obj)
			}
			continue
		}
		if it.charged != it.list.weight() {
			t.Errorf("listing %v: charged %d, weight %d", k, it.charged, it.list.weight())
		}
		it.list.invariants(t)
	}
	if sum != c.used || c.used > c.capacity {
		t.Errorf("used = %d, sum %d, capacity %d", c.used, sum, c.capacity)
	}
}

func (l *listing) invariants(t interface{ Errorf(string, ...any) }) {
	copied := listing{l.base, l.changed, l.n}
	all := copied.entries()
	if len(all) != l.n {
		t.Errorf("listing counts %d, has %d entries", l.n, len(all))
	}
	for i, e := range all {
		if i > 0 && all[i-1].Key >= e.Key {
			t.Errorf("listing has %q after %q", e.Key, all[i-1].Key)
		}
	}
}

// wantGet checks Get; the ETag "" is absence, "?" is ignorance.
func wantGet(t *testing.T, c *Cache, key, etag string) {
	t.Helper()
	obj, found, known := c.Get(ref(key))
	got := obj.ETag
	if !known {
		got = "?"
	} else if !found {
		got = ""
	}
	if got != etag {
		t.Errorf("Get(%q) = %q, want %q", key, got, etag)
	}
}

// wantDir checks Dir; "?" is ignorance.
func wantDir(t *testing.T, c *Cache, dir string, keys ...string) {
	t.Helper()
	list, ok := c.Dir(ref(dir))
	got := []string{"?"}
	if ok {
		got = nil
	}
	for _, e := range list {
		got = append(got, e.Key)
		if e.Prefix && !strings.HasSuffix(e.Key, "/") {
			t.Errorf("Dir(%q) has the prefix %q", dir, e.Key)
		}
	}
	if !slices.Equal(got, keys) {
		t.Errorf("Dir(%q) = %q, want %q", dir, got, keys)
	}
}

func TestAnswersAreBelievedForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{TTL: 10 * time.Second, NegativeTTL: 2 * time.Second})
		wantGet(t, c, "a", "?")
		c.Learn(ref("a"), object("a", "v1"), c.Stamp())
		c.LearnAbsent(ref("z"), c.Stamp())
		c.LearnDir(ref("d/"), entries("d/x"), c.Stamp())
		c.Set(ref("s"), object("s", "v1"))
		c.Remove(ref("r"))

		time.Sleep(2*time.Second - 1)
		wantGet(t, c, "z", "")
		wantGet(t, c, "r", "")
		wantGet(t, c, "d/y", "")
		time.Sleep(time.Nanosecond)
		wantGet(t, c, "z", "?")
		wantGet(t, c, "r", "?")
		wantGet(t, c, "d/y", "?")

		time.Sleep(8*time.Second - 1)
		wantGet(t, c, "a", "v1")
		wantGet(t, c, "s", "v1")
		wantDir(t, c, "d/", "d/x")
		time.Sleep(time.Nanosecond)
		wantGet(t, c, "a", "?")
		wantGet(t, c, "s", "?")
		wantDir(t, c, "d/", "?")
	})
}

func TestNegativeTimesBelieveNothing(t *testing.T) {
	c := newCache(t, Options{TTL: -1, NegativeTTL: -1})
	c.Set(ref("a"), object("a", "v1"))
	c.Remove(ref("b"))
	c.LearnDir(ref(""), entries("a"), c.Stamp())
	wantGet(t, c, "a", "?")
	wantGet(t, c, "b", "?")
	wantDir(t, c, "", "?")
}

func TestOldAnswersDoNotOverwriteOurChanges(t *testing.T) {
	c := newCache(t, Options{})
	s := c.Stamp()
	c.Set(ref("a"), object("a", "new"))
	c.Learn(ref("a"), object("a", "old"), s)
	wantGet(t, c, "a", "new")
	c.LearnAbsent(ref("a"), s)
	wantGet(t, c, "a", "new")

	s = c.Stamp()
	c.Remove(ref("a"))
	c.Learn(ref("a"), object("a", "new"), s)
	wantGet(t, c, "a", "")

	s = c.Stamp()
	c.Drop(ref("a"))
	c.Learn(ref("a"), object("a", "old"), s)
	wantGet(t, c, "a", "?")

	s = c.Stamp()
	c.DropDir(ref("d/"))
	c.Learn(ref("d/x"), object("d/x", "old"), s)
	wantGet(t, c, "d/x", "?")
	c.Learn(ref("e"), object("e", "v1"), s)
	wantGet(t, c, "e", "v1")
}

func TestAnswersOlderThanTheLogAreRefused(t *testing.T) {
	c := newCache(t, Options{})
	s := c.Stamp()
	for i := range maxChanges {
		c.Drop(ref(fmt.Sprint("k", i)))
	}
	c.Learn(ref("a"), object("a", "v1"), s)
	wantGet(t, c, "a", "v1")
	c.Drop(ref("k"))
	c.Learn(ref("b"), object("b", "v1"), s)
	wantGet(t, c, "b", "?")
	c.LearnDir(ref("d/"), entries("d/x"), s)
	wantDir(t, c, "d/", "?")
}

func TestCapacityIsABound(t *testing.T) {
	c := newCache(t, Options{Capacity: 100})
	for i := range 300 {
		key := fmt.Sprintf("k%03d", i)
		c.Learn(ref(key), object(key, "v1"), c.Stamp())
	}
	c.invariants(t)
	wantGet(t, c, "k000", "?")
	wantGet(t, c, "k299", "v1")

	c.LearnDir(ref(""), entries("a", "b", "c"), c.Stamp())
	for i := range 60 {
		key := fmt.Sprintf("x%03d", i)
		c.Set(ref(key), object(key, "v1"))
		c.invariants(t)
	}
	wantDir(t, c, "", "?")
	var large []string
	for i := range 50 {
		large = append(large, fmt.Sprintf("d/%02d", i))
	}
	c.LearnDir(ref("d/"), entries(large...), c.Stamp())
	wantDir(t, c, "d/", "?")
}

func TestObjectsWithoutMetadataAreComplete(t *testing.T) {
	c := newCache(t, Options{})
	c.Learn(ref("a"), listed("a", "v1"), c.Stamp())
	obj, ok := c.Complete(ref("a"), listed("a", "v1"))
	if !ok || obj.Meta == nil {
		t.Errorf("Complete = %+v, %v; want metadata, if none", obj, ok)
	}
}

func TestCompleteTakesTheVeryVersionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{TTL: time.Second})
		want := object("a", "v1")
		want.Class, want.Header = "GLACIER", map[string]string{"content-type": "text/plain"}
		c.Learn(ref("a"), want, c.Stamp())
		time.Sleep(time.Hour) // the listing is what says that it is valid still
		same := listed("a", "v1")
		same.ModTime = same.ModTime.Truncate(time.Second)
		got, ok := c.Complete(ref("a"), same)
		if !ok || got.Meta["v"] != "v1" || got.Header["content-type"] != "text/plain" || got.Class != "GLACIER" {
			t.Errorf("Complete = %+v, %v", got, ok)
		}
		for name, change := range map[string]func(*backend.Object){
			"etag": func(o *backend.Object) { o.ETag = "v2" },
			"none": func(o *backend.Object) { o.ETag = "" },
			"size": func(o *backend.Object) { o.Size++ },
			"time": func(o *backend.Object) { o.ModTime = o.ModTime.Add(time.Second) },
		} {
			other := same
			change(&other)
			if _, ok := c.Complete(ref("a"), other); ok {
				t.Errorf("Complete of a version with another %s succeeded", name)
			}
		}
	})
}

// A change of metadata within the second of the last one cannot be told from it by a listing.
func TestFreshVersionsOfOthersAreNotCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{})
		obj := object("a", "v1")
		obj.ModTime = time.Now()
		c.Learn(ref("a"), obj, c.Stamp())
		seen := obj
		seen.Meta = nil
		if got, ok := c.Complete(ref("a"), seen); ok {
			t.Errorf("Complete = %+v of a version that another may look like", got)
		}
		wantGet(t, c, "a", "v1")
		c.Set(ref("a"), obj)
		if _, ok := c.Complete(ref("a"), seen); !ok {
			t.Error("Complete does not know our own version")
		}
	})
}

func TestWhatIsKeptNeedsAListing(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	obj := object("d/a", "v1")
	ref := backend.Ref{Bucket: "b", Key: "d/a"}
	c.Keep(ref, obj)
	if _, _, known := c.Get(ref); known {
		t.Error("believed without a listing")
	}
	listed := obj
	listed.Attrs = backend.Attrs{}
	if got, ok := c.Complete(ref, listed); !ok || got.Meta == nil {
		t.Errorf("Complete: %v, %v", got, ok)
	}
	c.LearnDir(backend.Ref{Bucket: "b", Key: "d/"}, []backend.Entry{{Object: listed}}, c.Stamp())
	if got, ok := c.Listed(ref); !ok || got.ETag != "v1" {
		t.Errorf("Listed: %v, %v", got, ok)
	}
	if got, found, known := c.Get(ref); !known || !found || got.Meta == nil {
		t.Errorf("Get: %v, %v, %v", got, found, known)
	}
	newer := object("d/a", "v2")
	c.Set(ref, newer)
	c.Keep(ref, obj)
	if got, _, _ := c.Get(ref); got.ETag != "v2" {
		t.Errorf("an older version that was kept stands before the newest: %v", got)
	}
}
