package entries

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Whether a listed name is a file or a directory is believed as long as the listing is, also
// when what is not listed has to be asked for again.
func TestWhatAListedNameIsNotIsBelievedAsLongAsTheListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{TTL: 30 * time.Second, NegativeTTL: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		at := func(key string) backend.Ref { return backend.Ref{Bucket: "b", Key: key} }
		c.LearnDir(at("d/"), []backend.Entry{
			{Object: backend.Object{Key: "d/dir/"}, Prefix: true},
			{Object: backend.Object{Key: "d/file", ETag: "e"}},
		}, c.Stamp())
		time.Sleep(10 * time.Second)
		for key, want := range map[string]bool{"d/file/": true, "d/dir": true, "d/absent": false, "d/absent/": false} {
			if _, found, known := c.Get(at(key)); found || known != want {
				t.Errorf("Get(%s) = found %v, known %v, want it known to be absent: %v", key, found, known, want)
			}
		}
		time.Sleep(25 * time.Second)
		if _, _, known := c.Get(at("d/file/")); known {
			t.Error("it is believed longer than the listing")
		}
	})
}
