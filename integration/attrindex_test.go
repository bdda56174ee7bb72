package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/thawfs/thawfs/integration/servers"
)

// TestListingTenThousandFiles lists a directory with all attributes by a mount that has nothing
// cached: it must not ask for each file.
func TestListingTenThousandFiles(t *testing.T) {
	t.Parallel()
	c := newCounter(t, servers.MinIO(t))
	m := mount(t, openS3(t, c.S3))
	must(t, os.Mkdir(m.path("dir"), 0o750))
	const files, writers = 10_000, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < files; i += writers {
				f, err := os.OpenFile(m.path("dir", fmt.Sprintf("file%05d", i)), os.O_CREATE|os.O_WRONLY, os.FileMode(0o600+i%8))
				if err == nil {
					err = f.Close()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, os.Symlink("file00001", m.path("dir", "link")))
	want := run(t, m.dir, "ls", "-lA", "--time-style=full-iso", "dir")
	m.remount()
	t.Log("written", c.take())
	got := run(t, m.dir, "ls", "-lA", "--time-style=full-iso", "dir")
	wantAtMost(t, "ls -l", c.take(), 20)
	if got != want {
		t.Errorf("ls -l of a new mount is not what it was:\n%s\nwant\n%s", tail(got), tail(want))
	}
	if n := strings.Count(got, "\n"); n != files+2 {
		t.Errorf("%d lines, want %d", n, files+2)
	}
	for i := 0; i < files; i += 1000 {
		name := fmt.Sprintf("dir/file%05d", i)
		stat := run(t, m.dir, "stat", "-c", "%A", name)
		if !strings.Contains(got, strings.TrimSpace(stat)) {
			t.Errorf("stat says %s of %s, ls does not", stat, name)
		}
	}
	wantAtMost(t, "stat of some", c.take(), 0)
}
