package integration

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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

// TestVaultAsADirectory shows what a vault cannot do, in errnos, and what it says of itself.
func TestVaultAsADirectory(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t)
	m := mount(t, w.open(t.TempDir()), quick, func(o *fs.Options) { o.Bucket = "" })
	vault := m.path("tapes")
	must(t, os.Mkdir(vault, 0o755))
	must(t, os.WriteFile(filepath.Join(vault, "a"), []byte("one"), 0o644))
	m.drain()
	if err := os.Symlink("a", filepath.Join(vault, "link")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("symlink = %v, want EPERM", err)
	}
	long := strings.Repeat("d/", 240) + strings.Repeat("x", 253)
	must(t, os.MkdirAll(filepath.Join(vault, filepath.Dir(long)), 0o755))
	if _, err := os.Create(filepath.Join(vault, long)); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a path of 733 bytes = %v, want ENAMETOOLONG", err)
	}
	f, err := os.Create(filepath.Join(vault, long[:len(long)-1]))
	must(t, err)
	must(t, f.Close())
	must(t, os.Chmod(filepath.Join(vault, "a"), 0o600))
	if fi, err := os.Stat(filepath.Join(vault, "a")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("after chmod the mode is %v, %v", fi.Mode(), err)
	}

	must(t, unix.Setxattr(vault, "user.thawfs.tag.owner", []byte("ada"), 0))
	must(t, unix.Setxattr(vault, "user.thawfs.notify.topic", []byte("arn:aws:sns:us-east-1:1:done"), 0))
	for name, want := range map[string]string{
		"tag.owner": "ada", "notify.topic": "arn:aws:sns:us-east-1:1:done",
		"notify.events": "ArchiveRetrievalCompleted,InventoryRetrievalCompleted", "archives": "0",
	} {
		if got := xattr(vault, "user.thawfs."+name); got != want {
			t.Errorf("xattr %s = %q, want %q", name, got, want)
		}
	}
	must(t, unix.Removexattr(vault, "user.thawfs.tag.owner"))
	if got := xattr(vault, "user.thawfs.tag.owner"); got != syscall.ENODATA.Error() {
		t.Errorf("a removed tag is %q", got)
	}
	if err := unix.Setxattr(vault, "user.thawfs.archives", []byte("5"), 0); !errors.Is(err, syscall.EACCES) {
		t.Errorf("setting what can only be read = %v, want EACCES", err)
	}

	if err := os.Remove(vault); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir of a full vault = %v, want ENOTEMPTY", err)
	}
	must(t, os.RemoveAll(filepath.Join(vault, "a")))
	must(t, os.RemoveAll(filepath.Join(vault, "d")))
	m.drain()
	if left := w.srv.Archives("tapes"); len(left) > 0 {
		t.Errorf("after rm the vault holds %q", left)
	}
	if err := os.Remove(vault); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("rmdir of a vault that was just emptied = %v, want EAGAIN", err)
	}
	if why := xattr(vault, "user.thawfs.error"); !strings.Contains(why, "about a day after") {
		t.Errorf("the reason is %q", why)
	}
	w.pass(25 * time.Hour)
	must(t, os.Remove(vault))
}

// TestVaultOfOtherPrograms shows archives that nine programs named, and some that none did.
func TestVaultOfOtherPrograms(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t)
	service := w.open(t.TempDir())
	must(t, service.CreateBucket(t.Context(), "old"))
	for _, about := range []string{
		`<m><v>4</v><p>cGhvdG9zL2thdHplLmpwZw==</p><lm>20120102T030405Z</lm></m>`, // photos/katze.jpg
		`{"Path":"C:\\Docs\\+ZeVnLIqe-.txt","UTCDateModified":"20120102T030405Z","Flags":0}`,
		`mt2 eyJmaWxlbmFtZSI6InRhcGUvMDAxLnRhciIsIm10aW1lIjoiMjAxMjAxMDJUMDMwNDA1WiJ9`, // tape/001.tar
		"plain.tar", "plain.tar", "", "<m>broken",
	} {
		w.srv.Add("old", about, []byte("content of "+about))
		w.pass(time.Minute)
	}
	w.pass(25 * time.Hour)
	m := mount(t, w.open(t.TempDir()), quick, func(o *fs.Options) { o.Bucket = "old" })
	if names, err := os.ReadDir(m.dir); err != nil || len(names) > 0 {
		t.Errorf("a vault of which nothing is known shows %v, %v", names, err)
	}
	soon(t, "the inventory is asked for", func() bool { return w.srv.Calls("InitiateJob") > 0 })
	w.pass(5 * time.Hour)
	var found []string
	soon(t, "the names appear", func() bool {
		found = nil
		_ = filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, strings.TrimPrefix(path, m.dir+"/"))
			}
			return nil
		})
		return len(found) == 7
	})
	for _, want := range []string{"photos/katze.jpg", "C/Docs/日本語.txt", "tape/001.tar", "plain.tar"} {
		if !slices.Contains(found, want) {
			t.Errorf("%q is not among %q", want, found)
		}
	}
	if fi, err := os.Stat(m.path("tape/001.tar")); err != nil || fi.ModTime().UTC().Format(time.DateTime) != "2012-01-02 03:04:05" {
		t.Errorf("the time of tape/001.tar is %v, %v", fi.ModTime(), err)
	}
	old, err := filepath.Glob(m.path(".versions/plain.tar/*"))
	if err != nil || len(old) != 1 {
		t.Fatalf("older versions of plain.tar: %q, %v", old, err)
	}
	must(t, os.Remove(m.path("plain.tar")))
	m.drain()
	soon(t, "the older version takes the name", func() bool {
		_, err := os.Stat(m.path("plain.tar"))
		_, gone := os.Stat(old[0])
		return err == nil && os.IsNotExist(gone)
	})
	var unnamed bytes.Buffer
	for _, n := range found {
		if strings.HasPrefix(n, ".unnamed/") {
			unnamed.WriteString(n + "\n")
		}
	}
	if strings.Count(unnamed.String(), "\n") != 2 {
		t.Errorf("without a name: %q", unnamed.String())
	}
}
