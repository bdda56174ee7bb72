package fs

import (
	"errors"
	"io/fs"
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
)

// A vaultMount is a mount of all vaults of the double, whose clock is the test's.
type vaultMount struct {
	*mounted
	srv   *glaciertest.Server
	ahead atomic.Int64
}

func (v *vaultMount) pass(d time.Duration) { v.ahead.Add(int64(d)) }

// mountVaults mounts the vaults that fill has made. Vault "buk" is there.
func mountVaults(t *testing.T, fill func(v *vaultMount)) *vaultMount {
	t.Helper()
	v := &vaultMount{}
	now := func() time.Time { return time.Now().Add(time.Duration(v.ahead.Load())) }
	v.srv = glaciertest.New(glaciertest.Options{Now: now})
	s := httptest.NewServer(v.srv)
	t.Cleanup(s.Close)
	v.srv.Make("buk")
	fill(v)
	service, err := glacier.New(t.Context(), glacier.Options{
		Dir: t.TempDir(), Endpoint: s.URL, Region: "us-east-1", AccessKey: "access", SecretKey: "secret",
		Now: now, Look: 10 * time.Millisecond, NoSync: true,
	})
	must(t, err)
	t.Cleanup(func() { must(t, service.Close()) })
	v.mounted = mountOn(t, service, func(o *Options) {
		o.Bucket, o.TTL, o.NegativeTTL = "", 20*time.Millisecond, 20*time.Millisecond
	})
	return v
}

// soon waits until ok says so.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func (v *vaultMount) xattr(name, attr string) string {
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(v.path(name), "user.thawfs."+attr, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// files are the paths of all files that are shown below a directory.
func (v *vaultMount) files(dir string) []string {
	var found []string
	_ = filepath.WalkDir(v.path(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, v.path(dir)+"/"))
		}
		return nil
	})
	return found
}

func testVaultNames(t *testing.T) {
	v := mountVaults(t, func(v *vaultMount) {
		for _, about := range []string{
			`<m><v>4</v><p>cGhvdG9zL2thdHplLmpwZw==</p><lm>20120102T030405Z</lm></m>`, // photos/katze.jpg
			`{"Path":"C:\\Docs\\+ZeVnLIqe-.txt","UTCDateModified":"20120102T030405Z","Flags":0}`,
			`mt2 eyJmaWxlbmFtZSI6InRhcGUvMDAxLnRhciIsIm10aW1lIjoiMjAxMjAxMDJUMDMwNDA1WiJ9`, // tape/001.tar
			"plain.tar", "plain.tar", "", "<m>broken",
		} {
			v.srv.Add("buk", about, []byte("content of "+about))
			v.pass(time.Minute)
		}
		v.pass(25 * time.Hour)
	})
	if names := v.files("buk"); len(names) > 0 {
		t.Errorf("a vault of which nothing is known shows %q", names)
	}
	soon(t, "the inventory is asked for", func() bool { return strings.Contains(v.xattr("buk", "inventory"), "asked for") })
	v.pass(5 * time.Hour)
	var found []string
	soon(t, "names appear", func() bool { found = v.files("buk"); return len(found) == 7 })
	for _, want := range []string{"photos/katze.jpg", "C/Docs/日本語.txt", "tape/001.tar", "plain.tar"} {
		if !slices.Contains(found, want) {
			t.Errorf("%q is not among %q", want, found)
		}
	}
	if fi, err := os.Stat(v.path("buk/tape/001.tar")); err != nil || fi.ModTime().UTC().Format(time.DateTime) != "2012-01-02 03:04:05" {
		t.Errorf("tape/001.tar: %v, %v, want its own time", fi, err)
	}
	unnamed := slices.DeleteFunc(slices.Clone(found), func(n string) bool { return !strings.HasPrefix(n, ".unnamed/") })
	old, err := filepath.Glob(v.path("buk/.versions/plain.tar/*"))
	if err != nil || len(old) != 1 || len(unnamed) != 2 {
		t.Fatalf("older versions %q, %v, without a name %q; want one and two", old, err, unnamed)
	}
	must(t, os.Remove(v.path("buk/plain.tar")))
	v.drain()
	soon(t, "the older version takes the name", func() bool {
		_, err := os.Stat(v.path("buk/plain.tar"))
		_, gone := os.Stat(old[0])
		return err == nil && os.IsNotExist(gone)
	})
}

func testVaultFiles(t *testing.T) {
	v := mountVaults(t, func(*vaultMount) {})
	must(t, os.Mkdir(v.path("tapes"), 0o755))
	v.write("tapes/a", "one")
	must(t, os.Rename(v.path("tapes/a"), v.path("tapes/b"))) // not uploaded yet, or only just
	v.write("tapes/c", "two")
	v.drain()
	for op, err := range map[string]error{
		"rename":           os.Rename(v.path("tapes/c"), v.path("tapes/d")),
		"rename of a tree": os.Rename(v.path("tapes"), v.path("other")),
		"symlink":          os.Symlink("c", v.path("tapes/link")),
	} {
		if !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s = %v, want EPERM", op, err)
		}
	}
	must(t, os.Chmod(v.path("tapes/c"), 0o600))
	if fi, err := os.Stat(v.path("tapes/c")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("after chmod: %v, %v", fi, err)
	}
	dir := "tapes/" + strings.Repeat("d/", 240)
	must(t, os.MkdirAll(v.path(dir), 0o755))
	if _, err := os.Create(v.path(dir + strings.Repeat("x", 253))); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a path of 733 bytes = %v, want ENAMETOOLONG", err)
	}
	v.write(dir+strings.Repeat("x", 252), "")
	v.drain()
	if n := len(v.srv.Archives("tapes")); n != 3 {
		t.Errorf("the vault holds %d archives, want 3", n)
	}
}

func testVaultFacts(t *testing.T) {
	v := mountVaults(t, func(*vaultMount) {})
	vault := v.path("buk")
	must(t, unix.Setxattr(vault, "user.thawfs.tag.owner", []byte("ada"), 0))
	must(t, unix.Setxattr(vault, "user.thawfs.notify.topic", []byte("arn:aws:sns:us-east-1:1:done"), 0))
	for name, want := range map[string]string{
		"tag.owner": "ada", "notify.topic": "arn:aws:sns:us-east-1:1:done",
		"notify.events": "ArchiveRetrievalCompleted,InventoryRetrievalCompleted", "archives": "0",
	} {
		if got := v.xattr("buk", name); got != want {
			t.Errorf("xattr %s = %q, want %q", name, got, want)
		}
	}
	must(t, unix.Removexattr(vault, "user.thawfs.tag.owner"))
	if got := v.xattr("buk", "tag.owner"); got != syscall.ENODATA.Error() {
		t.Errorf("a removed tag is %q", got)
	}
	if err := unix.Setxattr(vault, "user.thawfs.archives", []byte("5"), 0); !errors.Is(err, syscall.EACCES) {
		t.Errorf("setting what can only be read = %v, want EACCES", err)
	}
	v.srv.LimitRetrievals(1)
	v.write("buk/large", strings.Repeat("x", 1000))
	v.drain()
	v.stop()
	v.o.CacheDir = t.TempDir()
	v.start()
	if _, err := os.ReadFile(v.path("buk/large")); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("open against the account's retrieval policy = %v, want EDQUOT", err)
	}
}

func testVaultRmdir(t *testing.T) {
	v := mountVaults(t, func(*vaultMount) {})
	must(t, os.Mkdir(v.path("tapes"), 0o755))
	v.write("tapes/a", "one")
	v.drain()
	if err := os.Remove(v.path("tapes")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir of a full vault = %v, want ENOTEMPTY", err)
	}
	must(t, os.Remove(v.path("tapes/a")))
	v.drain()
	if err := os.Remove(v.path("tapes")); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("rmdir of a vault that was just emptied = %v, want EAGAIN", err)
	}
	if why := v.xattr("tapes", "error"); !strings.Contains(why, "about a day after") {
		t.Errorf("the reason is %q", why)
	}
	v.pass(25 * time.Hour)
	must(t, os.Remove(v.path("tapes")))
}
