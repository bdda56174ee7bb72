package fs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// TestExchangeGoesOnAfterACrash leaves an exchange of a file and a directory in each of the
// states that a crash can leave it in.
func TestExchangeGoesOnAfterACrash(t *testing.T) {
	for done := range 4 {
		t.Run(fmt.Sprint("after ", done, " renames"), func(t *testing.T) {
			m := mount(t)
			m.write("f", "file")
			must(t, os.Mkdir(m.path("d"), 0o755))
			m.write("d/in", "in d")
			if done%2 == 1 {
				m.drain()
			}
			x := exchange{Bucket: "buk", From: "f", To: "d", Temp: "%thaw-exchange-1", ToDir: true}
			note, err := json.Marshal(x)
			must(t, err)
			must(t, writeDurably(filepath.Join(m.swaps.dir, x.Temp+".json"), note))
			for i, move := range x.moves() {
				if i == done {
					break
				}
				must(t, m.moveRef(t.Context(), move[0], move[1]))
			}
			m.stop()
			m.start()
			m.notices.Wait() // what finishes exchanges among them
			want := map[string]string{"d": "file", "f/in": "in d"}
			if done == 0 { // nobody can tell whether it began
				want = map[string]string{"f": "file", "d/in": "in d"}
			}
			for name, content := range want {
				if got := m.read(name); got != content {
					t.Errorf("%s has %q, want %q", name, got, content)
				}
			}
			m.remount()
			if got := names(t, m.dir); !slices.Equal(got, []string{"d", "f"}) {
				t.Errorf("the names are %q", got)
			}
			if notes, _ := filepath.Glob(filepath.Join(m.swaps.dir, "*")); len(notes) > 0 {
				t.Errorf("%q is left", notes)
			}
		})
	}
}

// TestExchangeOfOpenFiles writes and reads what it had open before.
func TestExchangeOfOpenFiles(t *testing.T) {
	onBothPaths(t, func(t *testing.T, pass bool) {
		m := mountPath(t, pass)
		m.put("stored", "stored bytes", backend.Attrs{})
		m.write("written", "written bytes")
		r, err := os.Open(m.path("stored"))
		must(t, err)
		w, err := os.OpenFile(m.path("written"), os.O_RDWR, 0)
		must(t, err)
		p := &posix{T: t, m: m, dir: m.dir}
		must(t, renameat2(p, "stored", "written", unix.RENAME_EXCHANGE))
		_, err = w.WriteAt([]byte("W"), 0)
		must(t, err)
		b := make([]byte, 6)
		_, err = r.ReadAt(b, 0)
		must(t, cmpErr(err, r.Close(), w.Close()))
		if string(b) != "stored" {
			t.Errorf("the reader got %q", b)
		}
		m.remount()
		if a, b := m.read("stored"), m.read("written"); a != "Written bytes" || b != "stored bytes" {
			t.Errorf("stored has %q, written %q", a, b)
		}
	})
}

// TestExchangeThatFails asks for one with an archived file, which stores cannot rename.
func TestExchangeThatFails(t *testing.T) {
	m := mount(t)
	m.put("stub", "archived", backend.Attrs{Class: "DEEP_ARCHIVE"})
	m.write("f", "file")
	m.drain()
	p := &posix{T: t, m: m, dir: m.dir}
	p.want(renameat2(p, "f", "stub", unix.RENAME_EXCHANGE), unix.EAGAIN)
	p.want(renameat2(p, "stub", "f", unix.RENAME_EXCHANGE), unix.EAGAIN)
	if got := m.read("f"); got != "file" {
		t.Errorf("f has %q", got)
	}
	m.remount()
	if got := names(t, m.dir); !slices.Equal(got, []string{"f", "stub"}) {
		t.Errorf("the names are %q", got)
	}
}
