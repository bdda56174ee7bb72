package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/cache/attrindex"
)

// anIndex has directories of eight files get an index at once.
func anIndex(o *Options) {
	o.indexTuning = quickIndex
	o.indexTuning.Few = 8
}

// mountCounted is mount with a store that counts what it is asked.
func mountCounted(t *testing.T, change ...func(*Options)) (*mounted, *backendtest.FaultyService) {
	t.Helper()
	counting := backendtest.NewFaultyService(newStore(t))
	return mountOn(t, counting, change...), counting
}

// fill makes a directory with files of several modes, and a link.
func (m *mounted) fill(dir string, files int) {
	m.t.Helper()
	must(m.t, os.Mkdir(m.path(dir), 0o750))
	for i := range files {
		name := m.path(fmt.Sprintf("%s/f%03d", dir, i))
		must(m.t, os.WriteFile(name, nil, 0o600))
		must(m.t, os.Chmod(name, os.FileMode(0o600+i%64)))
	}
	must(m.t, os.Symlink("f000", m.path(dir+"/link")))
}

// ls is what ls -l says of a directory, and stat of each name in it must say the same.
func (m *mounted) ls(dir string) string {
	m.t.Helper()
	out, err := exec.Command("ls", "-lA", "--time-style=full-iso", m.path(dir)).CombinedOutput()
	if err != nil {
		m.t.Fatalf("ls -l: %v\n%s", err, out)
	}
	return string(out)
}

func testIndex(t *testing.T) {
	t.Run("costs one request", testIndexRequests)
	t.Run("is not seen", testIndexHidden)
	t.Run("goes with its directory", testIndexGoes)
	t.Run("counts only for what is listed", testIndexStale)
	t.Run("can be done without", testNoIndex)
}

func testIndexRequests(t *testing.T) {
	m, counting := mountCounted(t, anIndex)
	m.fill("d", 300)
	want := m.ls("d")
	m.remount()
	store := counting.Bucket("buk")
	store.ResetCounts()
	if got := m.ls("d"); got != want {
		t.Errorf("ls -l says\n%s\nwant\n%s", got, want)
	}
	if heads, gets := store.Count(backendtest.OpHead), store.Count(backendtest.OpGet); heads > 2 || gets != 2 {
		t.Errorf("%d HEADs and %d GETs for 301 files, want those of the directory and of the bytes of the link, and 1", heads, gets)
	}
	store.ResetCounts()
	for i := range 300 {
		fi, err := os.Lstat(m.path(fmt.Sprintf("d/f%03d", i)))
		must(t, err)
		if want := os.FileMode(0o600 + i%64); fi.Mode() != want {
			t.Errorf("stat of f%03d says %v, want %v", i, fi.Mode(), want)
		}
	}
	// Single names are found with it, too.
	m.remount()
	store = counting.Bucket("buk")
	store.ResetCounts()
	for i := range 300 {
		fi, err := os.Lstat(m.path(fmt.Sprintf("d/f%03d", i)))
		must(t, err)
		if want := os.FileMode(0o600 + i%64); fi.Mode() != want {
			t.Errorf("stat of f%03d alone says %v, want %v", i, fi.Mode(), want)
		}
	}
	if got := store.Count(""); got > 10 {
		t.Errorf("%d requests for stat of 300 files, want a few", got)
	}
}

func testIndexHidden(t *testing.T) {
	m := mount(t, anIndex)
	m.fill("d", 10)
	m.put("other/"+attrindex.Name+"/x", "a key is a path", backend.Attrs{})
	m.remount()
	key := attrindex.Key("d/")
	if !slices.Contains(m.allKeys(), key) {
		t.Fatalf("no %s among %q", key, m.allKeys())
	}
	names, err := os.ReadDir(m.path("d"))
	must(t, err)
	if len(names) != 11 {
		t.Errorf("%d names, want 11", len(names))
	}
	name := m.path("d/" + attrindex.Name)
	if _, err := os.Lstat(name); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("stat of it: %v, want ENOENT", err)
	}
	if err := os.WriteFile(name, nil, 0o600); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a file of its name: %v, want EINVAL", err)
	}
	if err := os.Rename(m.path("d/f000"), name); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("rename to its name: %v, want EINVAL", err)
	}
	if got := m.read("other/%thaw-" + attrindex.Name + "/x"); got != "a key is a path" {
		t.Errorf("below a directory of its name: %q", got)
	}
}

func testIndexGoes(t *testing.T) {
	m := mount(t, anIndex)
	m.fill("a", 10)
	m.fill("b", 10)
	must(t, os.Mkdir(m.path("empty"), 0o700))
	m.remount()
	if err := os.Remove(m.path("a")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir: %v, want ENOTEMPTY", err)
	}
	must(t, os.RemoveAll(m.path("a")))
	want := m.ls("b")
	must(t, syscall.Rename(m.path("b"), m.path("empty"))) // os.Rename replaces no directories
	m.drain()
	if got := m.ls("empty"); got != want {
		t.Errorf("after the rename\n%s\nwant\n%s", got, want)
	}
	m.remount()
	if got := m.ls("empty"); got != want {
		t.Errorf("after the rename and a remount\n%s\nwant\n%s", got, want)
	}
	for _, key := range m.allKeys() {
		if !strings.HasPrefix(key, "empty/") {
			t.Errorf("key %q is left", key)
		}
	}
	// A directory with nothing but an index is empty, and can be renamed over.
	m.put(attrindex.Key("left/"), "whatever", backend.Attrs{})
	must(t, syscall.Rename(m.path("empty"), m.path("left")))
	must(t, os.RemoveAll(m.path("left")))
	m.drain()
	if keys := m.allKeys(); len(keys) > 0 {
		t.Errorf("keys %q are left", keys)
	}
}

func testIndexStale(t *testing.T) {
	m := mount(t, anIndex)
	m.fill("d", 10)
	m.remount()
	meta := map[string]string{"mode": "33261", "uid": "7"}
	m.put("d/f001", "", backend.Attrs{Meta: meta}) // the same bytes
	m.put("d/f002", "foreign", backend.Attrs{Meta: map[string]string{"mode": "33216"}})
	m.put("d/g", "new", backend.Attrs{Meta: map[string]string{"mode": "33152"}})
	must(t, m.store.Delete(t.Context(), "d/f003"))
	look := func(when string) {
		t.Helper()
		out := m.ls("d")
		for name, want := range map[string]string{"f000": "-rw-------", "f001": "-rwxr-xr-x", "f002": "-rwx------", "g": "-rw-------", "link": "lrwxrwxrwx"} {
			if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
				return strings.HasPrefix(line, want) && strings.Contains(line+" ", " "+name+" ")
			}) {
				t.Errorf("%s: want %s %s in\n%s", when, want, name, out)
			}
		}
		if strings.Contains(out, "f003") {
			t.Errorf("%s: f003 is still there", when)
		}
	}
	m.remount()
	look("with an index that is older")
	for what, body := range map[string]string{"torn": "thawfs attributes 1\n12345678", "not ours": "hello", "empty": ""} {
		m.put(attrindex.Key("d/"), body, backend.Attrs{})
		m.remount()
		look("with one that is " + what)
	}
	m.remount()
	if _, body := m.object(attrindex.Key("d/")); len(body) < 100 {
		t.Errorf("it was not written anew: %d bytes", len(body))
	}
	look("with a new one")
}

func testNoIndex(t *testing.T) {
	m, counting := mountCounted(t, anIndex, func(o *Options) { o.NoIndex = true })
	m.fill("d", 20)
	want := m.ls("d")
	m.remount()
	if slices.Contains(m.allKeys(), attrindex.Key("d/")) {
		t.Error("it was written all the same")
	}
	counting.Bucket("buk").ResetCounts()
	if got := m.ls("d"); got != want {
		t.Errorf("ls -l says\n%s\nwant\n%s", got, want)
	}
	if got := counting.Bucket("buk").Count(backendtest.OpHead); got < 20 {
		t.Errorf("%d HEADs for 20 files", got)
	}
	m.o.NoIndex = false
	m.o.ReadOnly = true
	m.remount()
	m.ls("d")
	m.stop()
	if slices.Contains(m.allKeys(), attrindex.Key("d/")) {
		t.Error("a read-only mount has written one")
	}
}
