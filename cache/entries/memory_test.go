package entries

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func TestVersionsAreRememberedAcrossRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "attrs.db")
	c := newMemory(t, path)
	want := object("d/a", "v1")
	want.Meta["latin"] = "caf\xe9" // not UTF-8: to be kept as it is
	want.Header = map[string]string{"content-type": "text/plain"}
	want.Class = "STANDARD_IA"
	c.Learn(ref("d/a"), want, c.Stamp())
	c.Set(ref("d/b"), object("d/b", "v1"))
	fresh := object("f", "v1")
	fresh.ModTime = time.Now()
	c.Learn(ref("f"), fresh, c.Stamp())
	reopen(t, &c, path)

	wantGet(t, c, "d/a", "?") // what it was does not tell what it is
	got, ok := c.Complete(ref("d/a"), listed("d/a", "v1"))
	if !ok || !maps.Equal(got.Meta, want.Meta) || !maps.Equal(got.Header, want.Header) || got.Class != want.Class {
		t.Errorf("Complete = %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := c.Complete(ref("d/b"), listed("d/b", "v1")); !ok {
		t.Error("what was Set is not remembered")
	}
	if got, ok := c.Complete(ref("d/a"), listed("d/a", "v2")); ok {
		t.Errorf("Complete of another version = %+v", got)
	}
	fresh.Meta = nil
	if got, ok := c.Complete(ref("f"), fresh); ok {
		t.Errorf("Complete of a version that another may look like = %+v", got)
	}
	if got, ok := c.Complete(backend.Ref{Bucket: "other", Key: "d/a"}, listed("d/a", "v1")); ok {
		t.Errorf("Complete in another bucket = %+v", got)
	}
}

func TestTheLastVersionIsRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attrs.db")
	c := newMemory(t, path)
	for _, mode := range []string{"33188", "33152"} { // chmod: the same ETag within a second
		obj := object("a", "v1")
		obj.Meta["mode"] = mode
		c.Set(ref("a"), obj)
	}
	reopen(t, &c, path)
	if got, _ := c.Complete(ref("a"), listed("a", "v1")); got.Meta["mode"] != "33152" {
		t.Errorf("Complete = %+v, want the last mode", got)
	}
}

func TestRecordsAreFoundWhileTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{Path: filepath.Join(t.TempDir(), "attrs.db"), Capacity: 1})
		find := func(when string) {
			t.Helper()
			if _, ok := c.Complete(ref("a"), listed("a", "v1")); !ok {
				t.Errorf("not remembered %s", when)
			}
		}
		c.Learn(ref("a"), object("a", "v1"), c.Stamp())
		c.Learn(ref("b"), object("b", "v1"), c.Stamp()) // drives a out of the cache
		find("before it is written")
		time.Sleep(writeBehind)
		synctest.Wait()
		c.memory.mu.Lock()
		waiting := len(c.memory.pending) + len(c.memory.writing)
		c.memory.mu.Unlock()
		if waiting > 0 {
			t.Errorf("%d records wait after %v", waiting, writeBehind)
		}
		find("after it is written")
	})
}

func TestPendingRecordsAreBounded(t *testing.T) {
	m := &memory{pending: map[string][]byte{}}
	for i := range maxPending + 10 {
		key := fmt.Sprint(i)
		m.remember(ref(key), object(key, "v1"))
	}
	if len(m.pending) != maxPending {
		t.Errorf("%d records wait, want %d", len(m.pending), maxPending)
	}
}

func TestFilesAreBoundedAndKeepWhatIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attrs.db")
	c := newMemory(t, path)
	c.memory.limit = 1 << 20
	c.Learn(ref("used"), object("used", "v1"), c.Stamp())
	c.Learn(ref("unused"), object("unused", "v1"), c.Stamp())
	for round := range 8 {
		for i := range 2000 {
			key := fmt.Sprintf("%d/%d/%s", round, i, strings.Repeat("x", 300))
			c.memory.remember(ref(key), object(key, "v1"))
		}
		c.memory.flush()
		if _, ok := c.memory.recall(ref("used"), listed("used", "v1")); !ok {
			t.Fatalf("round %d: what is used was forgotten", round)
		}
		for _, name := range []string{path, path + oldSuffix} {
			if info, err := os.Stat(name); err == nil && info.Size() > 4<<20 {
				t.Errorf("round %d: %s has %d bytes", round, name, info.Size())
			}
		}
	}
	if _, ok := c.memory.recall(ref("unused"), listed("unused", "v1")); ok {
		t.Error("what is not used is remembered for ever")
	}
	reopen(t, &c, path)
	if _, ok := c.Complete(ref("used"), listed("used", "v1")); !ok {
		t.Error("what is used was forgotten at the restart")
	}
}

func TestDamagedFilesAreBegunAnew(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"no file":   func([]byte) []byte { return []byte("not a database") },
		"truncated": func(b []byte) []byte { return b[:8192+100] },
		"zeros": func(b []byte) []byte {
			clear(b[8192:])
			return b
		},
		"noise": func(b []byte) []byte {
			for i := 8192; i < len(b); i++ {
				b[i] = byte(i*i*31 + i>>3)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "attrs.db")
			c := newMemory(t, path)
			for i := range 500 {
				key := fmt.Sprint("k", i)
				c.Set(ref(key), object(key, "v1"))
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			c, err = New(Options{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			for i := range 500 {
				key := fmt.Sprint("k", i)
				if got, ok := c.Complete(ref(key), listed(key, "v1")); ok && got.Meta["v"] != "v1" {
					t.Errorf("Complete = %+v out of a damaged file", got)
				}
			}
			c.memory.remember(ref("a"), object("a", "v1"))
			c.memory.flush()
			c.memory.remember(ref("b"), object("b", "v1"))
			c.memory.flush()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if name != "empty" && !strings.Contains(log.String(), "damaged") {
				t.Errorf("log = %q, want a word on the damage", log.String())
			}
			c = newMemory(t, path)
			if _, ok := c.Complete(ref("b"), listed("b", "v1")); !ok {
				t.Error("nothing is remembered after the damage")
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFileInUseIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attrs.db")
	c := newMemory(t, path)
	if other, err := New(Options{Path: path}); err == nil {
		_ = other.Close()
		t.Error("New took a file that is in use")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func newMemory(t *testing.T, path string) *Cache {
	t.Helper()
	c, err := New(Options{Path: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reopen closes *c and opens another; that is closed by the test's end.
func reopen(t *testing.T, c **Cache, path string) {
	t.Helper()
	if err := (*c).Close(); err != nil {
		t.Fatal(err)
	}
	*c = newMemory(t, path)
	last := *c
	t.Cleanup(func() {
		if err := last.Close(); err != nil {
			t.Error(err)
		}
	})
}
