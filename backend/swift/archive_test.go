package swift

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
	"github.com/thawfs/thawfs/integration/swiftarchive"
)

func TestSealedObjectsComeBack(t *testing.T) {
	at := servers.Swift(t)
	archive := swiftarchive.Start(t, at.Endpoint, 300*time.Millisecond)
	svc, err := New(t.Context(), Options{Auth: Auth{URL: archive.URL + "/auth/v1.0", User: at.User, Password: at.Key}, Policy: "PCA"})
	if err != nil {
		t.Fatal(err)
	}
	s := testBucket(t, svc)
	small := put(t, s, "small", "cold bytes")
	large := putLarge(t, s, "large", "one ", "two ", "three")
	for _, obj := range []backend.Object{small, large} {
		if obj.State != backend.Archived || obj.Class != "PCA" {
			t.Fatalf("stored %s as %s, %s", obj.Key, obj.State, obj.Class)
		}
		for _, n := range []int64{-1, 1} {
			if _, err := s.Get(t.Context(), obj.Key, obj.ETag, 0, n); !errors.Is(err, backend.ErrArchived) {
				t.Errorf("Get(%s) = %v, want ErrArchived", obj.Key, err)
			}
		}
		if _, err := s.Copy(t.Context(), obj, "copy", backend.CopyOptions{}); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("Copy(%s) = %v, want ErrArchived", obj.Key, err)
		}
	}
	for e, err := range s.List(t.Context(), "", "", backend.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]backend.State{"small": backend.Archived, "large": backend.Unknown}[e.Key]; e.State != want {
			t.Errorf("listed %s as %s, want %s", e.Key, e.State, want)
		}
	}
	if n := archive.Opened(s.name+"/small") + archive.Opened(s.name+"/large"); n > 0 {
		t.Fatalf("%d reads of what is sealed, which start retrievals", n)
	}

	for key, want := range map[string]string{"small": "cold bytes", "large": "one two three"} {
		for range 2 { // again while it is on its way
			if err := s.Restore(t.Context(), key, backend.RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := archive.Opened(s.name + "/" + key); n != 1 {
			t.Errorf("%s was asked for %d times", key, n)
		}
		for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			obj, err := s.Head(t.Context(), key)
			if err != nil || time.Since(begin) > time.Minute {
				t.Fatalf("%s is %s after %v, %v", key, obj.State, time.Since(begin), err)
			}
			if obj.State == backend.Restored {
				break
			}
			r, err := s.Get(t.Context(), key, "", 0, -1)
			if err == nil {
				err = r.Close()
			}
			if err != nil && !errors.Is(err, backend.ErrArchived) {
				t.Fatalf("Get of %s on its way = %v", key, err)
			}
		}
		if got := get(t, s, key); got != want {
			t.Errorf("%s came back as %q", key, got)
		}
	}
	if got := keysOf(t, s, backend.ListOptions{}); !strings.Contains(got, "large:13") {
		t.Errorf("List = %s", got)
	}
	if err := s.Restore(t.Context(), "absent", backend.RestoreOptions{}); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Restore of nothing = %v", err)
	}
}
