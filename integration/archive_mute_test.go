package integration

import (
	"os"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
	"github.com/thawfs/thawfs/integration/s3archive"
)

// TestArchivedMuteListings is about servers whose listings show what is restored as archived,
// as most do but S3: what they say there must not hide what HEAD says.
func TestArchivedMuteListings(t *testing.T) {
	t.Parallel()
	s := doubleShelf(t, func(o *s3archive.Options) { o.Takes, o.Mute = s3archive.Always(100*time.Millisecond), true })
	const ttl = 100 * time.Millisecond
	m := mountCold(t, s, func(o *fs.Options) { o.TTL = ttl })
	names := []string{"dir/a", "dir/b", "dir/c"}
	for _, name := range names {
		m.freeze(name, []byte(cold))
	}
	for _, name := range names {
		must(t, m.setXattr(name, "restore", ""))
	}
	for _, name := range names {
		m.wantJob(name, recall.Restored)
	}
	listAgain := func() {
		t.Helper()
		time.Sleep(2 * ttl) // so that what HEAD said is too old, for the kernel too
		run(t, "/", "ls", "-l", m.path("dir"))
		if _, err := os.Lstat(m.path("dir", "nothing")); !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	listAgain()
	if got := run(t, "/", "cat", m.path(names[0])); got != cold {
		t.Errorf("read %d bytes", len(got))
	}
	listAgain()
	m.wantXattrs(names[1], map[string]string{"state": "restored", "job": "restored"})
	listAgain()
	must(t, os.Rename(m.path("dir", "b"), m.path("dir", "d")))
	listAgain()
	must(t, m.setXattr("dir/c", "class", "STANDARD"))
	must(t, os.Remove(m.path("dir", "d"))) // it is archived again under this name
	listAgain()
	must(t, os.Rename(m.path("dir"), m.path("other")))
	for _, name := range names {
		if want := map[bool]int{true: 1}[name != "other"]; s.paid(m.ref(name)) != want {
			t.Errorf("%s: %d restores were paid for", name, s.paid(m.ref(name)))
		}
	}
	m.remount()
	if got := run(t, "/", "cat", m.path("other", "c")); got != cold {
		t.Errorf("read %d bytes", len(got))
	}
	if got := stateOf(t, m.store, "other/a"); got != backend.Archived {
		t.Errorf("renamed it is %v", got)
	}
}
