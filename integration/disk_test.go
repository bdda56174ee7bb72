package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/fs"
)

// onDisk mounts a bucket with its caches on a small file system in memory.
func onDisk(t *testing.T, size string) *mounted {
	t.Helper()
	disk := t.TempDir()
	must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { must(t, unix.Unmount(disk, 0)) })
	svc, err := local.New(t.TempDir(), local.Options{NoSync: true})
	must(t, err)
	return mount(t, svc, func(o *fs.Options) { o.CacheDir = disk + "/cache" })
}

// TestTheCacheDiskIsFull writes more than the disk below the cache holds, while nothing is sent.
// Programs are told so; what they were not told of is all there.
func TestTheCacheDiskIsFull(t *testing.T) {
	t.Parallel()
	m := onDisk(t, "6M")
	m.stop()
	m.o.Delay = time.Hour
	m.start()
	n, err := 0, error(nil)
	for ; err == nil && n < 50; n++ {
		err = os.WriteFile(m.path(fmt.Sprint(n)), noise(byte(n), 300_000), 0o644)
	}
	n--
	if !errors.Is(err, syscall.ENOSPC) || n < 10 {
		t.Fatalf("after %d files: %v, want ENOSPC", n, err)
	}
	for i := range n {
		if got, err := os.ReadFile(m.path(fmt.Sprint(i))); err != nil || !bytes.Equal(got, noise(byte(i), 300_000)) {
			t.Errorf("%d: %d bytes, %v", i, len(got), err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, m.Drain(ctx))
	must(t, os.WriteFile(m.path("again"), noise(99, 300_000), 0o644))
	m.remount()
	for i := range n {
		if got, err := os.ReadFile(m.path(fmt.Sprint(i))); err != nil || !bytes.Equal(got, noise(byte(i), 300_000)) {
			t.Errorf("the store's %d: %d bytes, %v", i, len(got), err)
		}
	}
	if got, err := os.ReadFile(m.path("again")); err != nil || !bytes.Equal(got, noise(99, 300_000)) {
		t.Errorf("again: %d bytes, %v", len(got), err)
	}
}
