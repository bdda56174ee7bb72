package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/integration/s3archive"
	"github.com/thawfs/thawfs/integration/servers"
)

// An archive is a bucket of MinIO behind our double of S3's archive, and a count of what is
// asked of it.
type archive struct {
	double *s3archive.Server
	url    string
	bucket string
	store  backend.Store // past the count

	mu    sync.Mutex
	asked map[string]int // guarded by mu; requests by kind
}

func newArchive(t *testing.T, takes time.Duration) (*world, *archive) {
	t.Helper()
	at := servers.MinIO(t)
	a := &archive{
		asked: map[string]int{}, bucket: fmt.Sprintf("tree-%d", time.Now().UnixNano()),
		double: s3archive.New(s3archive.Options{
			Endpoint: at.Endpoint, AccessKey: at.AccessKey, SecretKey: at.SecretKey, Region: at.Region, Takes: s3archive.Always(takes),
		}),
	}
	behind := httptest.NewServer(a.double)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.count(r)
		a.double.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { front.Close(); behind.Close(); a.double.Close() })
	service, err := s3.New(t.Context(), s3.Options{Endpoint: behind.URL, Region: at.Region, AccessKey: at.AccessKey, SecretKey: at.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.CreateBucket(t.Context(), a.bucket); err != nil {
		t.Fatal(err)
	}
	if a.store, err = service.Open(t.Context(), a.bucket); err != nil {
		t.Fatal(err)
	}
	a.url = front.URL
	return newWorld(t, keys(at)...), a
}

func (a *archive) count(r *http.Request) {
	kind := r.Method
	switch q := r.URL.Query(); {
	case q.Has("list-type"):
		kind = "LIST"
	case q.Has("restore"):
		kind = "RESTORE"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[kind]++
}

// since returns what was asked since the last time.
func (a *archive) since() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = map[string]int{}
	return asked
}

// freeze puts objects of a class, with their keys as content.
func (a *archive) freeze(t *testing.T, class string, keys []string) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for _, key := range keys {
		g.Go(func() error {
			body := strings.NewReader(key)
			o := backend.PutOptions{Attrs: backend.Attrs{Class: class}}
			_, err := a.store.Put(t.Context(), key, io.NewSectionReader(body, 0, body.Size()), o)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreTreeOnS3 restores a tree of more than a page: one look at each page, one
// request an object, whatever else happens to the mount meanwhile.
func TestRestoreTreeOnS3(t *testing.T) {
	w, a := newArchive(t, 5*time.Second)
	const n = 1050
	glacier, deep := numbered("tree/glacier", n-100), numbered("tree/deep", 100)
	a.freeze(t, "GLACIER", glacier)
	a.freeze(t, "DEEP_ARCHIVE", deep)
	a.freeze(t, "GLACIER", []string{"beside"})
	a.freeze(t, "STANDARD", []string{"tree/hot"})
	flags := []string{"--endpoint", a.url, "--recall-budget-objects", "10000", "--ttl", "1h"}
	source := "s3://" + a.bucket
	mnt := w.mount(source, "mnt", flags...)

	a.since()
	o := w.run("restore", "-r", "--dry-run", mnt+"/tree")
	o.check(t, exitPending, fmt.Sprintf("%s files (", "1,050"), "")
	if got := a.since(); got["LIST"] > 3 || got["HEAD"] > 3 || got["RESTORE"] > 0 {
		t.Errorf("the dry run asked %v, want a request a page, and a few to find the tree", got)
	}

	w.run("restore", "-r", mnt+"/tree").check(t, exitPending, "on the way, due by", "")
	if got := a.since(); got["RESTORE"] != n {
		t.Errorf("the restore asked %v, want %d restores", got, n)
	}
	crash(t, w, mnt)
	w.must(append(append([]string{"mount"}, flags...), source, mnt)...)
	w.run("restore", "-r", "--wait", mnt+"/tree").check(t, 0, "1,051 files (", "")
	if got := a.since(); got["RESTORE"] != 0 {
		t.Errorf("after the crash it asked %v, want no more restores", got)
	} else if got["HEAD"] > n/10 {
		t.Errorf("to see that all are back it asked %v, want listings", got)
	}
	tiers := map[string]int{}
	for _, r := range a.double.Requests() {
		tiers[r.Tier]++
		if r.Status != http.StatusAccepted || strings.HasSuffix(r.Key, "hot") || r.Key == "beside" || r.Days != 3 {
			t.Errorf("sent: %+v", r)
		}
	}
	if tiers["Bulk"] != n || len(tiers) != 1 {
		t.Errorf("tiers %v, want Bulk for all %d", tiers, n)
	}
	for _, key := range append(glacier[:20:20], deep[:20]...) {
		if got, err := os.ReadFile(mnt + "/" + key); err != nil || string(got) != key {
			t.Errorf("read %s: %q, %v", key, got, err)
		}
	}
	if _, err := os.ReadFile(mnt + "/beside"); err == nil {
		t.Error("what stands beside the tree was restored, too")
	}
}
