package writeback

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

// story makes a journal with one pending change of each kind and returns its directory. Each key
// is told by exactly one line.
func story(t *testing.T, s *shelf) (dir string, want map[string]string) {
	t.Helper()
	dir = t.TempDir()
	w := openIn(t, dir, s)
	want = map[string]string{}
	for i := range 6 {
		key := fmt.Sprintf("file%d", i)
		w.save(key, "content of "+key)
		want[key] = "content of " + key
	}
	w.ok(w.Put(ref("link"), []byte("target"), attrsOf("1"), backend.Object{}))
	want["link"] = "target"
	w.ok(w.Delete(ref("gone"), backend.Object{ETag: "x"}))
	w.ok(w.SetAttrs(ref("chmod"), backend.Object{ETag: "y", Size: 3}, attrsOf("new")))
	w.crash()
	return dir, want
}

// reopen opens a copy of dir with another journal.
func reopen(t *testing.T, dir string, journal []byte, s *shelf) *queueTest {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "wb"), os.DirFS(filepath.Join(dir, "wb"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "wb", "journal"), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	return openIn(t, to, s)
}

// readAll is what is pending, by key.
func (w *queueTest) readAll() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for p := range w.List("b", "", "") {
		switch {
		case p.Gone:
			all[p.Ref.Key] = "-"
		case p.File == nil:
			all[p.Ref.Key] = "attrs " + p.Object.Meta["mtime"]
		default:
			buf := make([]byte, p.Object.Size)
			n, err := p.File.ReadAt(w.t.Context(), buf, 0)
			w.ok(err)
			all[p.Ref.Key] = string(buf[:n])
		}
	}
	return all
}

// stride is the way to the next byte to be spoiled: all of them take minutes.
func stride(n int) int {
	if testing.Short() {
		return 20 + n%7
	}
	return 1
}

func quiet(o *Options) { o.Log = slog.New(slog.DiscardHandler) }

// TestJournalCutAtEveryByte leaves of the journal its first n bytes: what the whole lines
// in them say is there, and nothing else. Staged files of the rest are kept in lost+found.
func TestJournalCutAtEveryByte(t *testing.T) {
	dir, want := story(t, newShelf())
	journal, err := os.ReadFile(filepath.Join(dir, "wb", "journal"))
	if err != nil {
		t.Fatal(err)
	}
	full := len(want) + 2
	for n := 0; n <= len(journal); n += stride(n) {
		w := reopen(t, dir, journal[:n], newShelf())
		got := w.readAll()
		files := 0
		for key, data := range got {
			if data != "-" && data != "attrs new" && data != want[key] {
				t.Fatalf("cut at %d: %q holds %q", n, key, data)
			}
			if strings.HasPrefix(key, "file") {
				files++
			}
		}
		lines, _ := readLines(journal[:n])
		if whole := len(lines) - 2; len(got) != min(max(whole, 0), full) { // two lines are no changes
			t.Fatalf("cut at %d of %d: %d keys of %d lines: %v", n, len(journal), len(got), whole, got)
		}
		if kept := w.lost(); kept != 6-files {
			t.Fatalf("cut at %d: %d files in lost+found, want %d", n, kept, 6-files)
		}
		w.close()
	}
}

func (w *queueTest) lost() int {
	w.t.Helper()
	names, err := os.ReadDir(w.lostDir())
	w.ok(err)
	n := 0
	for _, d := range names {
		if !strings.HasPrefix(d.Name(), "journal") {
			n++
		}
	}
	return n
}

// TestAFlippedByteCostsOneLine spoils the journal at every byte: one key at most is lost, and
// its content is kept.
func TestAFlippedByteCostsOneLine(t *testing.T) {
	dir, want := story(t, newShelf())
	journal, err := os.ReadFile(filepath.Join(dir, "wb", "journal"))
	if err != nil {
		t.Fatal(err)
	}
	want["gone"], want["chmod"] = "-", "attrs new"
	for n := 0; n < len(journal); n += stride(n) {
		bad := bytes.Clone(journal)
		bad[n] ^= 1 << (n % 8)
		if bad[n] == journal[n] {
			t.Fatal("nothing was flipped")
		}
		w := reopen(t, dir, bad, newShelf())
		got := w.readAll()
		missing := 0
		for key, data := range want {
			if got[key] != data {
				missing++
			}
		}
		most := 1
		if journal[n] == '\n' { // two lines become one
			most = 2
		}
		if missing > most || len(got) > len(want) {
			t.Fatalf("byte %d: %d keys lost: %v", n, missing, got)
		}
		files := 0
		for key := range maps.Keys(got) {
			if strings.HasPrefix(key, "file") {
				files++
			}
		}
		if files+w.lost() != 6 {
			t.Fatalf("byte %d: %d files known and %d in lost+found, want all 6", n, files, w.lost())
		}
		w.close()
	}
}

func TestJournalIsCompacted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		w := openIn(t, dir, newShelf(), quiet)
		w.Queue.tune.compact = 4 << 10
		w.save("kept", "kept")
		for i := range 300 {
			w.save("k", fmt.Sprint(i))
			if i%10 == 0 {
				time.Sleep(3 * time.Second)
			}
		}
		if n := w.j.bytes(); n > 16<<10 {
			t.Errorf("the journal has %d bytes", n)
		}
		w.crash()
		w = openIn(t, dir, newShelf())
		w.Start()
		w.drain()
		w.holds(map[string]string{"k": "299", "kept": "kept"})
		w.close()
		left, err := os.ReadDir(w.stagingDir())
		if err != nil || len(left) != 0 {
			t.Errorf("left in staging: %v, %v", left, err)
		}
		if w.lost() != 0 {
			t.Errorf("%d files in lost+found", w.lost())
		}
	})
}

func TestMetadataOfForeignBytesComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := textMap(rapid.MapOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "meta"))
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back textMap
		if err := json.Unmarshal(data, &back); err != nil || !maps.Equal(m, back) {
			t.Fatalf("%q came back as %q, %v", m, back, err)
		}
	})
}

func FuzzJournal(f *testing.F) {
	seq := appendLine(nil, 1, []record{{Boot: "x"}})
	seq = appendLine(seq, 2, []record{{Set: &entryRec{refRec: refRec{"b", "k"}, Want: "content", File: &fileRec{ID: 3, Size: 1}}}})
	seq = appendLine(seq, 3, []record{{Up: &uploadRec{UID: 4, Bucket: "b", Key: "k", ID: "u", File: 3, Layout: layout{{5, 5}}}}, {Part: &partRec{UID: 4, Part: backend.Part{Number: 1}}}})
	seq = appendLine(seq, 4, []record{{Move: &moveRec{ID: 5, Bucket: "b", From: "a/", To: "c/", Tree: true}}, {Synced: 3}})
	f.Add(string(seq))
	f.Add("[{\"set\":{\"b\":\"b\",\"k\":\"k\",\"w\":\"attrs\"}}]")
	f.Fuzz(func(t *testing.T, text string) {
		data := []byte(text)
		if strings.HasPrefix(text, "[") { // a body that deserves a checksum
			var recs []record
			if json.Unmarshal(data, &recs) != nil {
				return
			}
			data = appendLine(nil, 1, recs)
		}
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "wb", "staging"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "wb", "journal"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		w := openIn(t, dir, newShelf(), quiet)
		for range w.List("b", "", "") {
		}
		w.Stats()
		w.close()
	})
}
