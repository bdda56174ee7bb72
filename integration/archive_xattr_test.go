package integration

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
	"github.com/thawfs/thawfs/integration/s3archive"
)

// TestArchivedXattrs follows one object around, as a person sees it.
func TestArchivedXattrs(t *testing.T) {
	onShelves(t, 1500*time.Millisecond, func(t *testing.T, s *shelf) {
		m := mountCold(t, s, policy(recall.Options{Policy: recall.ExplicitOnly}))
		m.freeze("file", []byte(cold))
		m.wantXattrs("file", map[string]string{"state": "archived", "class": "GLACIER", "until": "", "eta": "", "job": "", "error": ""})
		if fi := run(t, "/", "stat", "-c", "%s %b", m.path("file")); fi != "11000 1\n" {
			t.Errorf("size and blocks of a stub: %q", fi)
		}
		for _, bad := range []string{"tier", "days=0", "days=x", "days=-1", "now"} {
			if err := m.setXattr("file", "restore", bad); err != syscall.EINVAL {
				t.Errorf("user.thawfs.restore=%q: %v", bad, err)
			}
		}
		m.unasked("file")
		run(t, "/", "setfattr", "-n", "user.thawfs.restore", "-v", "tier=Bulk,days=5", m.path("file"))
		m.wantXattrs("file", map[string]string{"state": "restoring", "job": "restoring", "error": "", "until": ""})
		if eta, err := time.Parse(time.RFC3339, m.xattr("file", "eta")); err != nil || eta.Before(time.Now()) {
			t.Errorf("due %v, %v", eta, err)
		}
		run(t, "/", "setfattr", "-n", "user.thawfs.restore", "-v", "", m.path("file"))
		m.paidFor("file", 1) // Standard is the default, and no request for a faster one
		m.wantState("file", backend.Restored)
		m.wantXattrs("file", map[string]string{"class": "GLACIER", "job": "restored", "eta": "", "error": ""})
		if end, err := time.Parse(time.RFC3339, m.xattr("file", "until")); err != nil || end.Before(time.Now().AddDate(0, 0, 5).Add(-time.Hour)) {
			t.Errorf("readable until %v, %v", end, err)
		}
		if fi := run(t, "/", "stat", "-c", "%s %b", m.path("file")); fi != "11000 22\n" {
			t.Errorf("size and blocks of a restored file: %q", fi)
		}
		if got := run(t, "/", "cat", m.path("file")); got != cold {
			t.Errorf("read %d bytes", len(got))
		}
		m.wantUnlisted("file")
		if err := m.setXattr("file", "state", "online"); err != syscall.EPERM {
			t.Errorf("the state was set: %v", err)
		}
	})
}

func (m *coldMount) wantXattrs(name string, want map[string]string) {
	m.t.Helper()
	for attr, value := range want {
		if got := m.xattr(name, attr); got != value {
			m.t.Errorf("%s: user.thawfs.%s is %q, want %q", name, attr, got, value)
		}
	}
}

// wantUnlisted fails if what copies xattrs would copy ours.
func (m *coldMount) wantUnlisted(name string) {
	m.t.Helper()
	if list := run(m.t, "/", "getfattr", "-d", m.path(name)); strings.Contains(list, "thawfs") {
		m.t.Errorf("listed: %s", list)
	}
	to := m.t.TempDir()
	run(m.t, "/", "cp", "-a", m.path(name), to)
	run(m.t, "/", "rsync", "-aX", m.path(name), to+"/rsynced")
	if list := run(m.t, to, "getfattr", "-dR", to); strings.Contains(list, "thawfs") {
		m.t.Errorf("copied: %s", list)
	}
}

// TestArchivedUpgrade asks again for what is on its way, with a faster tier.
func TestArchivedUpgrade(t *testing.T) {
	onShelves(t, never, func(t *testing.T, s *shelf) {
		m := mountCold(t, s)
		m.freeze("file", []byte(cold))
		must(t, m.setXattr("file", "restore", "tier=Bulk"))
		must(t, m.setXattr("file", "restore", "tier=Standard"))
		must(t, m.setXattr("file", "restore", "tier=Bulk")) // it is faster already
		m.paidFor("file", 2)
		if s.double == nil {
			return
		}
		if err := m.setXattr("file", "restore", "tier=Expedited"); err != syscall.EIO {
			t.Errorf("without capacity for expedited restores: %v", err)
		}
		if got := m.xattr("file", "state"); got != "restoring" {
			t.Errorf("then it is %s", got)
		}
		m.wantOpen("file", rdonly, syscall.EAGAIN)
		m.paidFor("file", 2)
		tiers := []string{}
		for _, r := range s.double.Requests() {
			if r.Key == "file" && r.Bucket == m.o.Bucket {
				tiers = append(tiers, r.Tier+" "+r.Code)
			}
		}
		if want := []string{"Bulk ", "Standard ", "Expedited GlacierExpeditedRetrievalNotAvailable"}; !slices.Equal(tiers, want) {
			t.Errorf("asked for %q, want %q", tiers, want)
		}
	})
}

// TestArchivedClass moves objects into the archive, by hand and by writing there.
func TestArchivedClass(t *testing.T) {
	onShelves(t, 50*time.Millisecond, func(t *testing.T, s *shelf) {
		m := mountCold(t, s)
		m.put("file", []byte(cold), "")
		run(t, "/", "setfattr", "-n", "user.note", "-v", "stays", m.path("file"))
		run(t, "/", "setfattr", "-n", "user.thawfs.class", "-v", "GLACIER", m.path("file"))
		m.remount()
		m.wantXattrs("file", map[string]string{"state": "archived", "class": "GLACIER"})
		m.wantOpen("file", rdonly, syscall.EAGAIN)
		m.paidFor("file", 1)
		m.wantState("file", backend.Restored)
		if got := run(t, "/", "cat", m.path("file")); got != cold {
			t.Errorf("read %d bytes", len(got))
		}
		if got := run(t, m.dir, "getfattr", "--only-values", "-n", "user.note", "file"); got != "stays" {
			t.Errorf("user.note is %q", got)
		}
		for _, bad := range []string{"", "glacier", "no such"} {
			if err := m.setXattr("file", "class", bad); err != syscall.EINVAL {
				t.Errorf("class %q: %v", bad, err)
			}
		}
	})
}

// classes is a change of the storage class of new files.
func classes(of func(backend.Ref) string) func(*fs.Options) {
	return func(o *fs.Options) { o.Class = of }
}

func TestArchivedClassOfNewFiles(t *testing.T) {
	onShelves(t, never, func(t *testing.T, s *shelf) {
		m := mountCold(t, s, classes(func(ref backend.Ref) string {
			if strings.HasPrefix(ref.Key, "cold/") {
				return "DEEP_ARCHIVE"
			}
			return ""
		}))
		run(t, "/", "mkdir", m.path("cold"))
		run(t, "/", "sh", "-c", "echo one > "+m.path("cold", "one"))
		run(t, "/", "dd", "if=/dev/urandom", "of="+m.path("cold", "large"), "bs=1M", "count=20", "status=none") // in parts
		run(t, "/", "sh", "-c", "echo warm > "+m.path("warm"))
		m.remount()
		for _, name := range []string{"cold/one", "cold/large"} {
			m.wantXattrs(name, map[string]string{"state": "archived", "class": "DEEP_ARCHIVE"})
			m.wantOpen(name, rdonly, syscall.EAGAIN)
			m.paidFor(name, 1)
		}
		m.wantXattrs("warm", map[string]string{"state": "online"})
	})
}

// TestArchivedTiering is about objects of INTELLIGENT_TIERING, whose listing does not tell
// whether they are archived, and which come back for good.
func TestArchivedTiering(t *testing.T) {
	t.Parallel()
	clock := &s3archive.Clock{}
	s := doubleShelf(t, func(o *s3archive.Options) { o.Takes, o.Now = s3archive.Always(time.Hour), clock.Now })
	m := mountCold(t, s, func(o *fs.Options) { o.TTL = 100 * time.Millisecond })
	content := noise(3, 128<<10)
	m.put("archived", content, "INTELLIGENT_TIERING")
	m.put("warm", content, "INTELLIGENT_TIERING")
	if !s.double.Archive(m.o.Bucket, "archived", s3archive.ArchiveAccess) {
		t.Fatal("nothing was archived")
	}
	run(t, "/", "ls", "-lR", m.dir)
	m.unasked("archived")
	m.wantXattrs("archived", map[string]string{"state": "archived", "class": "INTELLIGENT_TIERING"})
	m.wantXattrs("warm", map[string]string{"state": "online"})
	m.wantOpen("warm", rdonly, 0)
	m.wantOpen("archived", rdonly, syscall.EAGAIN)
	m.paidFor("archived", 1)
	for _, r := range s.double.Requests() {
		if r.Days != 0 || r.Code != "" {
			t.Errorf("asked for %+v", r)
		}
	}
	clock.Advance(time.Hour)
	m.wantState("archived", backend.Online)
	if got := read(t, m.path("archived")); !bytes.Equal(got, content) {
		t.Errorf("read %d bytes", len(got))
	}
}
