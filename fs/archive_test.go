package fs

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs/recall"
)

// TestEditsHoldTheCopy opens a restored file to edit it that is too large to be fetched: its copy
// is kept until the edit is over.
func TestEditsHoldTheCopy(t *testing.T) {
	t.Parallel()
	m := mount(t)
	m.put("large", strings.Repeat("x", maxWhole+1), backend.Attrs{Class: "GLACIER"})
	must(t, m.store.(backend.Restorer).Restore(t.Context(), "large", backend.RestoreOptions{Keep: 72 * time.Hour}))
	eventually(t, "it is restored", func() bool {
		obj, err := m.store.Head(t.Context(), "large")
		return err == nil && obj.State == backend.Restored
	})
	ref := backend.Ref{Bucket: "buk", Key: "large"}
	f, err := os.OpenFile(m.path("large"), os.O_RDWR, 0)
	must(t, err)
	if job, ok := m.Recall().Job(ref); !ok || job.Phase != recall.Restored {
		t.Errorf("while it is edited nobody looks after the copy: %+v, %v", job, ok)
	}
	_, err = f.WriteAt([]byte("edited"), 100)
	must(t, err)
	must(t, f.Close())
	eventually(t, "nobody needs it any more", func() bool { _, ok := m.Recall().Job(ref); return !ok })
	m.drain()
	if _, got := m.object("large"); got[98:108] != "xxeditedxx" || len(got) != maxWhole+1 {
		t.Errorf("edited it has %d bytes, around the edit %q", len(got), got[98:108])
	}
}
