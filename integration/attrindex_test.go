package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/thawfs/thawfs/integration/servers"
)

// TestListingAsksForNoFile lists a directory of 10,000 files (2,000 in short runs) with all
// attributes by a mount that has nothing cached: that costs the pages of the listing and one request more.
func TestListingAsksForNoFile(t *testing.T) {
	t.Parallel()
	files, most := 10_000, 12 // requests
	if testing.Short() {
		files, most = 2000, 4
	}
	c := newCounter(t, servers.MinIO(t))
	m := mount(t, openS3(t, c.S3))
	must(t, os.Mkdir(m.path("dir"), 0o750))
	makeFiles(t, m.path("dir"), files)
	want := run(t, m.dir, "ls", "-lA", "--time-style=full-iso", "dir")
	m.remount()
	c.take()
	_, err := m.Locate(t.Context(), "") // opens the bucket, as `thawfs mount` does
	must(t, err)
	c.take()
	got := run(t, m.dir, "ls", "-lA", "--time-style=full-iso", "dir")
	wantAtMost(t, "ls -l", c.take(), most)
	if got != want {
		t.Errorf("ls -l of a new mount is not what it was:\n%s\nwant\n%s", tail(got), tail(want))
	}
	if n := strings.Count(got, "\n"); n != files+1 {
		t.Errorf("%d lines, want %d", n, files+1)
	}
	for i := 0; i < files; i += files / 10 {
		name := fmt.Sprintf("dir/file%05d", i)
		stat := strings.TrimSpace(run(t, m.dir, "stat", "-c", "%A %h %U %G", name))
		if !strings.Contains(got, stat) || !strings.HasPrefix(stat, fileMode(i).String()) {
			t.Errorf("stat says %s of %s, want %s", stat, name, fileMode(i))
		}
	}
	wantAtMost(t, "stat of some", c.take(), 0)
}

func fileMode(i int) os.FileMode { return os.FileMode(0o600 + i%8) }

// makeFiles makes empty files, several at once.
func makeFiles(t *testing.T, dir string, n int) {
	t.Helper()
	const writers = 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("file%05d", i)), os.O_CREATE|os.O_WRONLY, fileMode(i))
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
}
