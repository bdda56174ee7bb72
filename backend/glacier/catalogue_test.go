package glacier

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func newCatalogue(t testing.TB) *catalogue {
	t.Helper()
	c, err := openCatalogue(filepath.Join(t.TempDir(), "v.vault"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return c
}

// archiveID is an id of the service's length that begins with the text.
func archiveID(text string) string { return text + strings.Repeat("_", 138-len(text)) }

// inventoryOf writes archives as the service does; lines are id, description, day of creation.
func inventoryOf(date time.Time, archives ...[3]string) io.Reader {
	var list []string
	for _, a := range archives {
		list = append(list, fmt.Sprintf(`{"ArchiveId":%q,"ArchiveDescription":%q,"CreationDate":"2020-01-%sT00:00:00Z","Size":7,"SHA256TreeHash":"%064x"}`,
			archiveID(a[0]), a[1], a[2], 1))
	}
	return strings.NewReader(fmt.Sprintf(`{"VaultARN":"arn","InventoryDate":%q,"ArchiveList":[%s]}`, date.Format(time.RFC3339), strings.Join(list, ",")))
}

// keys are all that the catalogue shows, with the first letters of their ids.
func (c *catalogue) keys(t *testing.T) map[string]string {
	t.Helper()
	entries, more, err := c.page("", "", false, 1000)
	if err != nil || more {
		t.Fatalf("page = %v, %v", more, err)
	}
	all := map[string]string{}
	for _, e := range entries {
		id, _, _ := strings.Cut(e.rec.id, "_")
		all[e.key] = id
	}
	return all
}

func (c *catalogue) shows(t *testing.T, when string, want map[string]string) {
	t.Helper()
	got := c.keys(t)
	for k, id := range want {
		if got[k] != id {
			t.Errorf("%s: %q is %q, want %q", when, k, got[k], id)
		}
	}
	for k, id := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: %q (%s) should not be there", when, k, id)
		}
	}
}

func (c *catalogue) loads(t *testing.T, r io.Reader) {
	t.Helper()
	if _, err := c.load(r, time.Now(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

func (c *catalogue) puts(t *testing.T, key, id string, at time.Time) {
	t.Helper()
	r := record{id: archiveID(id), size: 7, created: at}
	if strings.HasSuffix(key, "/") {
		r = record{created: at}
	}
	if _, err := c.putLocked(key, r, at); err != nil {
		t.Fatal(err)
	}
}

func TestNewestHasTheName(t *testing.T) {
	c := newCatalogue(t)
	c.loads(t, inventoryOf(time.Now(), [3]string{"old", "f", "01"}, [3]string{"new", "f", "03"}, [3]string{"mid", "f", "02"},
		[3]string{"below", "f/g", "01"}, [3]string{"b2", "f/g", "02"}, [3]string{"none", "", "01"}))
	mid, old := versionKey("f", time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC), archiveID("mid")), versionKey("f", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), archiveID("old"))
	below := versionKey("f/g", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), archiveID("below"))
	rest := map[string]string{"f/g": "b2", below: "below", unnamedDir + "/" + archiveID("none"): "none"}
	with := func(more map[string]string) map[string]string {
		for k, v := range rest {
			more[k] = v
		}
		return more
	}
	c.shows(t, "at first", with(map[string]string{"f": "new", mid: "mid", old: "old"}))
	for _, step := range []struct {
		id   string
		then map[string]string
	}{
		{"new", map[string]string{"f": "mid", old: "old"}},
		{"mid", map[string]string{"f": "old"}},
		{"old", map[string]string{}},
	} {
		if err := c.removeLocked("f", archiveID(step.id), time.Now()); err != nil {
			t.Fatal(err)
		}
		c.shows(t, "after removing "+step.id, with(step.then))
	}
}

// TestInventoriesAndWhatWasDoneHere lets inventories that are late meet changes made here.
func TestInventoriesAndWhatWasDoneHere(t *testing.T) {
	c := newCatalogue(t)
	now := time.Now()
	c.loads(t, inventoryOf(now, [3]string{"a", "a", "01"}, [3]string{"b", "b", "01"}))
	c.puts(t, "mine", "mine", now)
	c.puts(t, "dir/", "", now)
	if err := c.removeLocked("b", archiveID("b"), now); err != nil {
		t.Fatal(err)
	}
	if err := c.confirm(archiveID("b")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "a", "mine": "mine", "dir/": ""}
	c.shows(t, "before an inventory", want)
	stale := [][3]string{{"a", "a", "01"}, {"b", "b", "01"}}
	c.loads(t, inventoryOf(now.Add(20*time.Hour), stale...))
	c.shows(t, "after an inventory that knows of nothing", want)
	c.loads(t, inventoryOf(now.Add(40*time.Hour), [3]string{"a", "a", "01"}, [3]string{"mine", "mine", "05"}))
	c.shows(t, "after one that knows", want)
	c.loads(t, inventoryOf(now.Add(late+time.Hour), [3]string{"a", "a", "01"}))
	c.shows(t, "after one that lacks what was uploaded three days before", map[string]string{"a": "a", "dir/": ""})
	c.loads(t, inventoryOf(now.Add(late+2*time.Hour), [3]string{"a", "a", "01"}, [3]string{"b", "b", "01"}))
	c.shows(t, "when the tombstone is forgotten", map[string]string{"a": "a", "b": "b", "dir/": ""})
}

func TestLoadRefuses(t *testing.T) {
	c := newCatalogue(t)
	now := time.Now()
	c.loads(t, inventoryOf(now, [3]string{"a", "a", "01"}))
	for what, r := range map[string]io.Reader{
		"an older inventory": inventoryOf(now.Add(-time.Hour), [3]string{"x", "x", "01"}),
		"a CSV":              strings.NewReader("ArchiveId,Size\nx,1\n"),
		"nothing":            strings.NewReader(""),
		"half of one":        io.LimitReader(inventoryOf(now.Add(time.Hour), [3]string{"x", "x", "01"}), 150),
		"another document":   strings.NewReader(`{"JobList":[]}`),
		"no id":              strings.NewReader(`{"InventoryDate":"2030-01-01T00:00:00Z","ArchiveList":[{"Size":1}]}`),
	} {
		if _, err := c.load(r, now, slog.New(slog.DiscardHandler)); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("load of %s = %v, want ErrInvalid", what, err)
		}
		c.shows(t, "after "+what, map[string]string{"a": "a"})
	}
}

func TestSorterSpills(t *testing.T) {
	s := newSorter(t.TempDir())
	s.most = 1000
	var want []string
	for i := range 500 {
		k := fmt.Sprintf("%03d", (i*37)%500)
		want = append(want, k)
		if err := s.add(pair{[]byte(k), []byte("value of " + k)}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	if len(s.runs) < 10 {
		t.Fatalf("only %d runs", len(s.runs))
	}
	var got []string
	if err := s.sorted(func(p pair) error {
		if string(p.value) != "value of "+string(p.key) {
			t.Errorf("%s has %s", p.key, p.value)
		}
		got = append(got, string(p.key))
		return nil
	}); err != nil || !slices.Equal(got, want) {
		t.Errorf("sorted = %v, %d keys, want %d", err, len(got), len(want))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(record{id: "x", size: 5, created: time.UnixMilli(5), mtime: time.Unix(1, 2), hashed: true, encoding: "e", attrs: &backend.Attrs{Class: "c"}}.marshal())
	f.Add([]byte{0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := unmarshal(b) // must not panic
		if err != nil {
			return
		}
		again, err := unmarshal(r.marshal())
		if err != nil || again.id != r.id || again.size != r.size || !again.created.Equal(r.created) || !again.mtime.Equal(r.mtime) || again.hash != r.hash {
			t.Fatalf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

// manyArchives is an inventory of n archives in a thousand directories, as it streams in.
func manyArchives(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(w, 1<<20)
		_, _ = b.WriteString(`{"VaultARN":"arn","InventoryDate":"2030-01-01T00:00:00Z","ArchiveList":[`)
		for i := range n {
			if i > 0 {
				_ = b.WriteByte(',')
			}
			path := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "photos/%03d/IMG_%07d.jpg", i*7919%1000, i))
			_, _ = fmt.Fprintf(b, `{"ArchiveId":"%0138d","ArchiveDescription":"<m><v>4</v><p>%s</p><lm>20120102T030405Z</lm></m>","CreationDate":"2020-01-01T00:00:00Z","Size":%d,"SHA256TreeHash":"%064x"}`,
				i*7919%n, path, i, i)
		}
		_, _ = b.WriteString("]}")
		_ = w.CloseWithError(b.Flush())
	}()
	return r
}

// TestAMillionArchives loads them within a bounded memory and finds one among them.
func TestAMillionArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some twenty seconds with the race detector")
	}
	c := newCatalogue(t)
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	began := time.Now()
	p, err := c.load(manyArchives(1_000_000), time.Now(), slog.New(slog.DiscardHandler))
	close(done)
	most := <-peak
	if err != nil || p.Archives != 1_000_000 {
		t.Fatalf("load = %d archives, %v", p.Archives, err)
	}
	t.Logf("loaded in %v, %d MiB at most", time.Since(began), most>>20)
	if most > 512<<20 {
		t.Errorf("loading took %d MiB of memory", most>>20)
	}
	began = time.Now()
	dirs, _, err := c.page("photos/", "", true, 2000)
	if err != nil || len(dirs) != 1000 {
		t.Errorf("photos/ shows %d directories, %v, want 1000", len(dirs), err)
	}
	if _, err := c.find("photos/919/IMG_0000001.jpg"); err != nil {
		t.Errorf("find = %v", err)
	}
	t.Logf("looked into in %v", time.Since(began))
}
