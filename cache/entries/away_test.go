package entries

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{TTL: 30 * time.Second, NegativeTTL: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		at := func(key string) backend.Ref { return backend.Ref{Bucket: "b", Key: key} }
		file := func(key string) backend.Entry {
			return backend.Entry{Object: backend.Object{Key: key, ETag: "e"}}
		}
		c.LearnDir(at("d/"), []backend.Entry{file("d/a"), file("d/b")}, c.Stamp())
		c.LearnAbsent(at("absent"), c.Stamp())
		time.Sleep(time.Minute)
		c.Remove(at("d/a")) // also from what is too old
		if _, known := c.Dir(at("d/")); known {
			t.Error("a listing is believed too long")
		}

		c.Away(30 * time.Second)
		if listed, known := c.Dir(at("d/")); !known || len(listed) != 1 || listed[0].Key != "d/b" {
			t.Errorf("while the store is away the listing is %v, %v, want d/b alone", listed, known)
		}
		if _, found, known := c.Get(at("absent")); found || !known {
			t.Errorf("while the store is away an absence is found %v, known %v", found, known)
		}

		c.Back()
		if _, known := c.Dir(at("d/")); known {
			t.Error("a listing is believed too long after the store is back")
		}
		if _, _, known := c.Get(at("absent")); known {
			t.Error("an absence is believed too long after the store is back")
		}
		c.Away(30 * time.Second)
		time.Sleep(31 * time.Second)
		if _, known := c.Dir(at("d/")); known {
			t.Error("the outage does not end")
		}
	})
}
