package entries

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

const benchNames = 100_000

// benchCache knows one level of benchNames objects.
func benchCache(b *testing.B, path string) *Cache {
	c, err := New(Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	list := make([]backend.Entry, benchNames)
	for i := range list {
		list[i].Object = listed(fmt.Sprintf("d/%06d", i), "v1")
	}
	c.LearnDir(ref("d/"), list, c.Stamp())
	return c
}

func BenchmarkGet(b *testing.B) {
	c := benchCache(b, "")
	for i := range benchNames {
		key := fmt.Sprintf("d/%06d", i)
		c.Learn(ref(key), object(key, "v1"), c.Stamp())
	}
	r := ref("d/000777")
	for b.Loop() {
		c.Get(r)
	}
}

func BenchmarkGetAbsentFromListing(b *testing.B) {
	c := benchCache(b, "")
	r := ref("d/000777x")
	for b.Loop() {
		c.Get(r)
	}
}

// A new object in a large level that is looked at all the time.
func BenchmarkSetInLargeListing(b *testing.B) {
	c := benchCache(b, "")
	i := 0
	for b.Loop() {
		key := fmt.Sprintf("d/%06dx", i%benchNames)
		c.Set(ref(key), object(key, "v1"))
		c.Get(ref(key + "y"))
		i++
	}
}

func BenchmarkCompleteFromDisk(b *testing.B) {
	c := benchCache(b, filepath.Join(b.TempDir(), "attrs.db"))
	for i := range benchNames {
		key := fmt.Sprintf("d/%06d", i)
		c.memory.remember(ref(key), object(key, "v1"))
		if i%5000 == 0 {
			c.memory.flush()
		}
	}
	c.memory.flush()
	i := 0
	for b.Loop() {
		key := fmt.Sprintf("d/%06d", i%benchNames)
		if _, ok := c.Complete(ref(key), listed(key, "v1")); !ok {
			b.Fatalf("%s is not remembered", key)
		}
		i++
	}
}
