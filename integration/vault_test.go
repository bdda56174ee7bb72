package integration

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/backend/glacier/glaciertest"
	"github.com/thawfs/thawfs/fs"
)

// A vaultWorld is the double of the vault service with a clock of the test's: the wall clock,
// and as much more as the test lets pass.
type vaultWorld struct {
	t     *testing.T
	srv   *glaciertest.Server
	url   string
	ahead atomic.Int64 // nanoseconds
}

func newVaultWorld(t *testing.T) *vaultWorld {
	w := &vaultWorld{t: t}
	w.srv = glaciertest.New(glaciertest.Options{Now: w.now})
	s := httptest.NewServer(w.srv)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

func (w *vaultWorld) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *vaultWorld) pass(d time.Duration) { w.ahead.Add(int64(d)) }

// open is the driver with its catalogues in dir.
func (w *vaultWorld) open(dir string) *glacier.Service {
	w.t.Helper()
	s, err := glacier.New(w.t.Context(), glacier.Options{
		Dir: dir, Endpoint: w.url, Region: "us-east-1", AccessKey: "access", SecretKey: "secret",
		Now: w.now, Look: 20 * time.Millisecond, Single: 1 << 20, PartSize: 1 << 20, NoSync: true,
	})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, s.Close()) })
	return s
}

// quick has a mount believe answers for a moment only.
func quick(o *fs.Options) {
	o.TTL, o.NegativeTTL = 50*time.Millisecond, 50*time.Millisecond
}

// soon waits until ok says so.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s did not happen", what)
}

func (m *mounted) drain() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 2*time.Minute)
	defer cancel()
	must(m.t, m.Drain(ctx))
}

func xattr(path, name string) string {
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(path, name, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// TestVaultFromUploadToCmp goes the whole way: files are written, another machine that knows
// nothing mounts the vault, gets its inventory, opens a file, waits for hours and reads it.
func TestVaultFromUploadToCmp(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t)
	service := w.open(t.TempDir())
	m := mount(t, service, quick)
	src := t.TempDir()
	small, large := filepath.Join(src, "small"), filepath.Join(src, "large")
	must(t, os.WriteFile(small, noise(1, 5000), 0o600))
	must(t, os.WriteFile(large, noise(2, 3<<20+17), 0o600))
	must(t, os.MkdirAll(m.path("2012", "june"), 0o755))
	run(t, src, "cp", "-p", small, m.path("2012", "june", "first"))
	must(t, os.Rename(m.path("2012", "june", "first"), m.path("2012", "june", "small")))
	run(t, src, "cp", "-p", large, m.path("2012", "large"))
	must(t, os.WriteFile(m.path("empty"), nil, 0o600))
	m.drain()
	if names := w.srv.Archives(m.o.Bucket); len(names) != 3 {
		t.Errorf("the vault holds %q, want three archives: a rename before the upload is free", names)
	}
	if err := os.Rename(m.path("2012", "large"), m.path("2012", "other")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("rename after the upload = %v, want EPERM", err)
	}
	if err := os.Rename(m.path("2012"), m.path("2013")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("rename of a directory after the upload = %v, want EPERM", err)
	}
	run(t, src, "cmp", large, m.path("2012", "large")) // it is in the cache since it was written
	m.stop()

	w.pass(25 * time.Hour) // an inventory is made
	asked := w.srv.Calls("InitiateJob")
	m.o.Service, m.o.CacheDir = w.open(t.TempDir()), t.TempDir()
	m.start()
	if names, err := os.ReadDir(m.dir); err != nil || len(names) > 0 {
		t.Errorf("a vault of which nothing is known shows %v, %v", names, err)
	}
	soon(t, "the inventory is asked for", func() bool { return strings.Contains(xattr(m.dir, "user.thawfs.inventory"), "asked for") })
	w.pass(5 * time.Hour)
	soon(t, "names appear without a remount", func() bool {
		names, _ := os.ReadDir(m.dir)
		return len(names) == 2
	})
	if n := w.srv.Calls("InitiateJob") - asked; n != 1 {
		t.Errorf("the inventory was asked for %d times", n)
	}
	for name, local := range map[string]string{"2012/june/small": small, "2012/large": large} {
		fi, err := os.Stat(m.path(name))
		must(t, err)
		want, err := os.Stat(local)
		must(t, err)
		if fi.Size() != want.Size() || !fi.ModTime().Equal(want.ModTime().Truncate(time.Second)) {
			t.Errorf("%s has %d bytes of %v, want %d of %v", name, fi.Size(), fi.ModTime(), want.Size(), want.ModTime())
		}
	}
	if data, err := os.ReadFile(m.path("empty")); err != nil || len(data) > 0 {
		t.Errorf("the empty file holds %q, %v", data, err)
	}
	asked = w.srv.Calls("InitiateJob")
	for range 3 {
		if _, err := os.ReadFile(m.path("2012", "large")); !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("open of an archive = %v, want EAGAIN", err)
		}
	}
	if n := w.srv.Calls("InitiateJob") - asked; n != 1 {
		t.Errorf("three opens began %d jobs", n)
	}
	w.pass(5 * time.Hour)
	soon(t, "the archive is ready", func() bool {
		_, err := os.ReadFile(m.path("2012", "large"))
		return err == nil
	})
	run(t, src, "cp", m.path("2012", "large"), "copy")
	run(t, src, "cmp", "copy", "large")
	soon(t, "the output is fetched", func() bool { return m.Stats().Cache.Bytes > 3<<20 })
	w.pass(48 * time.Hour) // the output is gone
	soon(t, "the archive is archived again", func() bool { return xattr(m.path("2012", "large"), "user.thawfs.state") == "archived" })
	run(t, src, "cmp", "large", m.path("2012", "large"))
	if n := w.srv.Calls("InitiateJob") - asked; n != 1 {
		t.Errorf("%d jobs were begun for one archive", n)
	}
}
