package glacier_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/backend/glacier/glaciertest"
)

// A world is the double on a clock of the test's, and the driver before it.
type world struct {
	t     *testing.T
	srv   *glaciertest.Server
	url   string
	ahead atomic.Int64
	dir   string // of catalogues
	wrap  func(http.RoundTripper) http.RoundTripper
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.srv = glaciertest.New(glaciertest.Options{Now: w.now})
	s := httptest.NewServer(w.srv)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// pass lets time pass, for the service and for what the driver believes of its jobs.
func (w *world) pass(d time.Duration) {
	w.ahead.Add(int64(d))
	time.Sleep(2 * look)
}

const look = time.Millisecond

func (w *world) service() *glacier.Service {
	return open(w.t, glacier.Options{
		Dir: w.dir, Endpoint: w.url, Now: w.now, Look: look, Single: 1 << 20, PartSize: 1 << 20, Wrap: w.wrap,
	})
}

// again is a new process with the same catalogues.
func (w *world) again(old *glacier.Service, vault string) (*glacier.Service, *glacier.Store) {
	w.t.Helper()
	if err := old.Close(); err != nil {
		w.t.Fatal(err)
	}
	s := w.service()
	return s, w.open(s, vault)
}

func (w *world) open(s *glacier.Service, vault string) *glacier.Store {
	w.t.Helper()
	store, err := s.Open(w.t.Context(), vault)
	if err != nil {
		w.t.Fatal(err)
	}
	return store.(*glacier.Store)
}

// vault is a new vault.
func (w *world) vault() (*glacier.Service, *glacier.Store) {
	w.t.Helper()
	s := w.service()
	if err := s.CreateBucket(w.t.Context(), "v"); err != nil {
		w.t.Fatal(err)
	}
	return s, w.open(s, "v")
}

func (w *world) put(s *glacier.Store, key string, data []byte) backend.Object {
	w.t.Helper()
	obj, err := s.Put(w.t.Context(), key, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), backend.PutOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return obj
}

func (w *world) state(s *glacier.Store, key string) backend.State {
	w.t.Helper()
	obj, err := s.Head(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return obj.State
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // never fails
	return b
}

// TestAJobIsBegunOnce counts jobs over repeated requests, restarts and answers that are lost.
func TestAJobIsBegunOnce(t *testing.T) {
	w := newWorld(t)
	s, v := w.vault()
	w.put(v, "k", []byte("cold"))
	w.srv.Lose("InitiateJob", 1)
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{}); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("Restore whose answer is lost = %v, want ErrUnavailable", err)
	}
	if st := w.state(v, "k"); st != backend.Restoring {
		t.Errorf("then the archive is %v, want restoring: the request arrived", st)
	}
	for range 3 {
		if err := v.Restore(t.Context(), "k", backend.RestoreOptions{Tier: "Bulk"}); err != nil {
			t.Errorf("Restore again = %v", err)
		}
	}
	s, v = w.again(s, "v")
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{}); err != nil {
		t.Errorf("Restore by another process = %v", err)
	}
	w.pass(5 * time.Hour)
	if st := w.state(v, "k"); st != backend.Restored {
		t.Errorf("five hours later the archive is %v", st)
	}
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{}); err != nil {
		t.Errorf("Restore of what is ready = %v", err)
	}
	if n := w.srv.Calls("InitiateJob"); n != 1 {
		t.Errorf("%d jobs were begun, want one", n)
	}
	w.pass(24 * time.Hour)
	if st := w.state(v, "k"); st != backend.Archived {
		t.Errorf("a day later the archive is %v", st)
	}
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{}); err != nil || w.srv.Calls("InitiateJob") != 2 {
		t.Errorf("Restore when the output is gone = %v, %d jobs", err, w.srv.Calls("InitiateJob"))
	}
	_ = s
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	s, v := w.vault()
	w.put(v, "k", noise(100))
	w.srv.LimitRetrievals(1)
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{}); !errors.Is(err, backend.ErrQuota) {
		t.Errorf("Restore beyond the policy = %v, want ErrQuota", err)
	}
	w.srv.SetExpedited(false)
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{Tier: "Expedited"}); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("Restore without capacity = %v, want ErrUnavailable", err)
	}
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{Tier: "Fast"}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("Restore with another tier = %v, want ErrInvalid", err)
	}
	if n := w.srv.Calls("InitiateJob"); n != 2 {
		t.Errorf("refusals were asked for %d times, want 2", n)
	}
	w.srv.Fail("DeleteArchive", 1, http.StatusForbidden, "AccessDeniedException")
	if err := v.Delete(t.Context(), "k"); !errors.Is(err, backend.ErrPermission) {
		t.Errorf("Delete that a vault lock forbids = %v, want ErrPermission", err)
	}
	if _, err := v.Head(t.Context(), "k"); err != nil {
		t.Errorf("after a Delete that failed Head = %v", err)
	}
	w.srv.SetClosed(true)
	for _, err := range s.Buckets(t.Context()) {
		if !errors.Is(err, backend.ErrRetired) {
			t.Errorf("Buckets of an account without vaults = %v, want ErrRetired", err)
		}
	}
}

// cutter lets only so many requests that match through.
type cutter struct {
	http.RoundTripper
	match string
	left  atomic.Int64
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.Method+" "+r.URL.Path, c.match) && c.left.Add(-1) < 0 {
		return nil, errors.New("the wire is cut")
	}
	return c.RoundTripper.RoundTrip(r)
}

// TestUploadGoesOnWhereItEnded cuts an upload in parts and lets another process finish it.
func TestUploadGoesOnWhereItEnded(t *testing.T) {
	w := newWorld(t)
	s, _ := w.vault()
	data := noise(6<<20 + 100)
	ctx, cancel := context.WithCancel(t.Context())
	body := io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
	cut := &cutter{match: "PUT /-/vaults/v/multipart-uploads/"}
	cut.left.Store(3)
	w.wrap = func(rt http.RoundTripper) http.RoundTripper { cut.RoundTripper = rt; return cut }
	s, v := w.again(s, "v")
	time.AfterFunc(2*time.Second, cancel) // the SDK tries on
	if _, err := v.Put(ctx, "large", body, backend.PutOptions{}); err == nil {
		t.Fatal("a Put whose wire is cut succeeded")
	}
	sent := w.srv.Calls("UploadMultipartPart")
	w.wrap = nil
	_, v = w.again(s, "v")
	obj := w.put(v, "large", data)
	if n := w.srv.Calls("UploadMultipartPart") - sent; n != 7-sent {
		t.Errorf("%d parts were sent, and then %d; want seven in all", sent, n)
	}
	if n := w.srv.Calls("InitiateMultipartUpload"); n != 1 {
		t.Errorf("the upload was begun %d times", n)
	}
	if err := v.Restore(t.Context(), "large", backend.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Hour)
	r, err := v.Get(t.Context(), "large", obj.ETag, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what was uploaded in two goes reads as %d bytes, %v", len(got), err)
	}
}

// TestFetchGoesOnInAnotherProcess cuts a download and lets another process finish it.
func TestFetchGoesOnInAnotherProcess(t *testing.T) {
	w := newWorld(t)
	s, v := w.vault()
	data := noise(80<<20 + 5) // six ranges
	obj := w.put(v, "large", data)
	if err := v.Restore(t.Context(), "large", backend.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Hour)
	cut := &cutter{match: "/output"}
	cut.left.Store(2)
	w.wrap = func(rt http.RoundTripper) http.RoundTripper { cut.RoundTripper = rt; return cut }
	s, v = w.again(s, "v")
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only read by then
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := v.Fetch(ctx, obj, file, nil); err == nil {
		t.Fatal("a Fetch whose wire is cut succeeded")
	}
	had := w.srv.Calls("GetJobOutput")
	w.wrap = nil
	_, v = w.again(s, "v")
	if err := v.Fetch(t.Context(), obj, file, nil); err != nil {
		t.Fatal(err)
	}
	if n := w.srv.Calls("GetJobOutput"); had == 0 || n != 6 {
		t.Errorf("%d ranges were fetched, and %d in all; want some and six", had, n)
	}
	if got, err := os.ReadFile(file.Name()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file holds %d bytes, %v", len(got), err)
	}
}

// TestSpoiltBytesAreNotHandedOut has the service send other bytes than were stored.
func TestSpoiltBytesAreNotHandedOut(t *testing.T) {
	w := newWorld(t)
	_, v := w.vault()
	obj := w.put(v, "k", noise(3<<20))
	w.srv.Spoil("v", obj.ETag, 2<<20+5)
	if err := v.Restore(t.Context(), "k", backend.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Hour)
	r, err := v.Get(t.Context(), "k", "", 0, 1<<20)
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err != nil {
		t.Errorf("Get of a range that is right = %v", err)
	}
	r, err = v.Get(t.Context(), "k", "", 2<<20, 10)
	if err == nil {
		var got []byte
		got, err = io.ReadAll(r)
		if len(got) > 0 {
			t.Errorf("%d spoilt bytes were handed out", len(got))
		}
	}
	if !errors.Is(err, backend.ErrCorrupt) {
		t.Errorf("Get of spoilt bytes = %v, want ErrCorrupt", err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // not read
	if err := v.Fetch(t.Context(), obj, file, nil); !errors.Is(err, backend.ErrCorrupt) {
		t.Errorf("Fetch of spoilt bytes = %v, want ErrCorrupt", err)
	}
}

// TestDeletesThatFailAreSentAgain replaces an archive while the service deletes nothing.
func TestDeletesThatFailAreSentAgain(t *testing.T) {
	w := newWorld(t)
	s, v := w.vault()
	w.put(v, "k", []byte("old"))
	w.srv.Fail("DeleteArchive", 1, http.StatusForbidden, "AccessDeniedException")
	w.put(v, "k", []byte("new"))
	if n := len(w.srv.Archives("v")); n != 2 {
		t.Fatalf("the vault holds %d archives, want 2", n)
	}
	w.again(s, "v")
	for deadline := time.Now().Add(time.Minute); len(w.srv.Archives("v")) > 1 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := len(w.srv.Archives("v")); n != 1 {
		t.Errorf("after a restart the vault holds %d archives, want 1", n)
	}
}

// TestInventoryOfAnotherIsAdopted finds one that another program has asked for, and asks for none.
func TestInventoryOfAnotherIsAdopted(t *testing.T) {
	w := newWorld(t)
	w.srv.Make("v")
	w.srv.Add("v", "a name", []byte("x"))
	w.pass(25 * time.Hour)
	s := w.service()
	w.open(s, "v") // asks
	for deadline := time.Now().Add(time.Minute); w.srv.Calls("InitiateJob") == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	w.dir = t.TempDir() // another machine
	_, v := w.again(s, "v")
	w.pass(5 * time.Hour)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := v.Head(t.Context(), "a name"); err == nil {
			break
		}
	}
	if _, err := v.Head(t.Context(), "a name"); err != nil || w.srv.Calls("InitiateJob") != 1 {
		t.Errorf("Head = %v after %d requests for an inventory, want one", err, w.srv.Calls("InitiateJob"))
	}
	var saved bytes.Buffer
	if err := v.Export(&saved); err != nil {
		t.Fatal(err)
	}
	w.dir = t.TempDir()
	third := w.service()
	other, err := third.OpenCatalogue("v")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := other.Import(bytes.NewReader(saved.Bytes())); err != nil || i.Archives != 1 {
		t.Errorf("Import of an export = %+v, %v", i, err)
	}
	if obj, err := other.Head(t.Context(), "a name"); err != nil || obj.Size != 1 {
		t.Errorf("after an import Head = %+v, %v", obj, err)
	}
}
