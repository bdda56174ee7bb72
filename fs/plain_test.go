package fs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

func testPlain(t *testing.T) {
	t.Run("without attributes", testPlainDir)
	t.Run("one with attributes among them", testPlainExcept)
	t.Run("ask for all", testAskAll)
	t.Run("with attributes of others", testForeignAttrs)
}

// foreign stores files behind the mount's back.
func (m *mounted) foreign(dir string, n int, attrs backend.Attrs) {
	m.t.Helper()
	for i := range n {
		m.put(fmt.Sprintf("%s/f%04d", dir, i), "content", attrs)
	}
}

func testPlainDir(t *testing.T) {
	m, counting := mountCounted(t)
	plain := backend.Attrs{Header: map[string]string{"content-type": "text/x-plain"}}
	m.foreign("d", 600, plain)
	listed := m.ls("d")
	store := counting.Bucket("buk")
	if got := store.Count(backendtest.OpHead); got < 10 || got > 30 {
		t.Errorf("%d HEADs for 600 files without attributes, want a sample", got)
	}
	for i := 0; i < 600; i += 50 {
		name := fmt.Sprintf("d/f%04d", i)
		fi, err := os.Lstat(m.path(name))
		must(t, err)
		if fi.Mode() != 0o644 || !strings.Contains(listed, fi.ModTime().Format("2006-01-02 15:04:05.000000000")) {
			t.Errorf("stat of %s: %v %v, not what ls says", name, fi.Mode(), fi.ModTime())
		}
	}
	// What is needed for a change is asked for.
	must(t, os.Chmod(m.path("d/f0333"), 0o600))
	must(t, os.WriteFile(m.path("d/f0334"), []byte("new"), 0))
	m.drain()
	for _, name := range []string{"d/f0333", "d/f0334"} {
		if obj, _ := m.object(name); obj.Header["content-type"] != "text/x-plain" {
			t.Errorf("%s has lost its type: %v", name, obj.Header)
		}
	}

	m2, counting := mountCounted(t)
	m2.foreign("d", 300, plain)
	time.Sleep(settleTime) // versions younger than that are asked for again
	m2.ls("d")
	m2.stop()
	m2.start()
	counting.Bucket("buk").ResetCounts()
	m2.ls("d")
	if got := counting.Bucket("buk").Count(backendtest.OpHead); got > 2 {
		t.Errorf("%d HEADs after a remount, want those of the directory", got)
	}
}

// settleTime is what cache/entries waits before it trusts a version.
const settleTime = 2100 * time.Millisecond

func testPlainExcept(t *testing.T) {
	m, counting := mountCounted(t, func(o *Options) { o.TTL, o.NegativeTTL = 20*time.Millisecond, 20*time.Millisecond })
	m.foreign("d", 300, backend.Attrs{})
	for i := range 3 {
		m.put(fmt.Sprintf("d/f%04dx", i*100+7), "content", backend.Attrs{Meta: map[string]string{"mode": "33152"}})
	}
	m.foreign("d", 10, backend.Attrs{}) // so that it is not the newest that is special
	m.ls("d")
	if m.read("d/f0107x") != "content" {
		t.Error("wrong content")
	}
	time.Sleep(100 * time.Millisecond)
	out := m.ls("d")
	for i := range 3 {
		want := fmt.Sprintf("f%04dx", i*100+7)
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			return strings.HasPrefix(line, "-rw-------") && strings.HasSuffix(line, want)
		}) {
			t.Errorf("the mode of %s is not shown:\n%s", want, out)
		}
	}
	if got := counting.Bucket("buk").Count(backendtest.OpHead); got < 300 {
		t.Errorf("%d HEADs, want all files asked for", got)
	}
}

func testAskAll(t *testing.T) {
	m, counting := mountCounted(t, func(o *Options) { o.AskAll = true })
	m.foreign("d", 300, backend.Attrs{})
	m.ls("d")
	if got := counting.Bucket("buk").Count(backendtest.OpHead); got < 300 {
		t.Errorf("%d HEADs for 300 files", got)
	}
}

func testForeignAttrs(t *testing.T) {
	m, counting := mountCounted(t)
	m.foreign("d", 300, backend.Attrs{Meta: map[string]string{"mode": "33152", "uid": "7", "mtime": "1600000000"}})
	time.Sleep(settleTime)
	store := counting.Bucket("buk")
	store.Inject(backendtest.Fault{Op: backendtest.OpHead, Times: -1, Delay: time.Millisecond})
	want := m.ls("d")
	if n := strings.Count(want, "-rw-------"); n != 300 {
		t.Errorf("%d files have the mode that is stored, want 300", n)
	}
	if got := store.Peak(backendtest.OpHead); got < 16 {
		t.Errorf("%d HEADs at once, want many", got)
	}
	m.stop()
	m.start()
	counting.Bucket("buk").ResetCounts()
	if got := m.ls("d"); got != want {
		t.Error("another listing after a remount")
	}
	if got := counting.Bucket("buk").Count(backendtest.OpHead); got > 2 {
		t.Errorf("%d HEADs after a remount, want those of the directory", got)
	}
}

func TestSampleAsksForFilesFromAllOver(t *testing.T) {
	var files []backend.Object
	for i := range 256 {
		files = append(files, backend.Object{Key: fmt.Sprintf("f%03d", i), Size: int64(1000 + i%7), ModTime: time.Unix(int64(i%101), 0)})
	}
	files[200].Size = 3
	files[77].ModTime = time.Unix(1000, 0)
	ask, rest := sample(files, 16)
	if len(ask) != 16 || len(rest) != 240 {
		t.Fatalf("%d and %d, want 16 and 240", len(ask), len(rest))
	}
	for _, key := range []string{"f000", "f200", "f077"} {
		if !slices.ContainsFunc(ask, func(o backend.Object) bool { return o.Key == key }) {
			t.Errorf("%s is not asked for", key)
		}
	}
	quarters := map[string]bool{}
	for _, o := range ask {
		quarters[fmt.Sprint(o.Key[1:2])] = true
	}
	if len(quarters) < 3 {
		t.Errorf("the sample comes from one place: %v", ask)
	}
	for n := range 20 {
		if ask, rest := sample(files[:10], n); len(ask)+len(rest) != 10 || len(ask) != min(n, 10) {
			t.Errorf("sample(10 files, %d): %d and %d", n, len(ask), len(rest))
		}
	}
}
