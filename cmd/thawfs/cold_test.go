package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

// coldStore makes a store in a directory that remembers how long its restores take.
func coldStore(t *testing.T, dir string, restoreTime time.Duration) *local.Service {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := local.New(dir, local.Options{RestoreTime: restoreTime})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// freeze puts archived objects into a bucket, with their keys as content.
func freeze(t *testing.T, s *local.Service, bucket string, keys ...string) backend.Store {
	t.Helper()
	if err := s.CreateBucket(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	store, err := s.Open(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		put(t, store, key, "GLACIER")
	}
	return store
}

func put(t *testing.T, store backend.Store, key, class string) {
	t.Helper()
	body := strings.NewReader(key)
	o := backend.PutOptions{Attrs: backend.Attrs{Class: class}}
	if _, err := store.Put(t.Context(), key, io.NewSectionReader(body, 0, body.Size()), o); err != nil {
		t.Fatal(err)
	}
}

// numbered are n keys below dir.
func numbered(dir string, n int) []string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s/%02d", dir, i))
	}
	return keys
}

// untils are the ends of all copies: a restore that is asked for again moves them.
func untils(t *testing.T, store backend.Store, keys []string) (all []time.Time) {
	t.Helper()
	for _, key := range keys {
		obj, err := store.Head(t.Context(), key)
		if err != nil || obj.State != backend.Restored {
			t.Errorf("%s: state %v, %v, want it restored", key, obj.State, err)
		}
		all = append(all, obj.Until)
	}
	return all
}

// onPath makes this program the thawfs that shells find.
func (w *world) onPath() {
	w.t.Helper()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, w.mkdir("bin")+"/thawfs")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "PATH="+w.path("bin")+":"+os.Getenv("PATH"))
}
