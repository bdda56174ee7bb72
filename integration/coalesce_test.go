package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/integration/servers"
)

// TestAttributesAreSentTogether counts what programs cost that change attributes behind the
// bytes: before an upload nothing, after it one copy in place for all that come together.
func TestAttributesAreSentTogether(t *testing.T) {
	t.Parallel()
	const files = 20
	c := newCounter(t, servers.MinIO(t))
	m := mount(t, openS3(t, c.S3))
	src := t.TempDir()
	for i := range files {
		name := filepath.Join(src, fmt.Sprintf("f%02d", i))
		must(t, os.WriteFile(name, noise(byte(i), 100), 0o640))
		must(t, os.Chtimes(name, time.Unix(1_500_000_000, 123), time.Unix(1_500_000_001, 456)))
		must(t, unix.Setxattr(name, "user.from", []byte("here"), 0))
	}
	each := func(dir string, do func(name string) error) {
		for i := range files {
			must(t, do(m.path(dir, fmt.Sprintf("f%02d", i))))
		}
	}
	for _, tt := range []struct {
		name         string
		do           func()
		puts, copies int // of files; the marker of the directory comes on top
	}{
		{"cp -a", func() { run(t, m.dir, "cp", "-a", src, m.path("cp")) }, files, 0},
		{"rsync -aX", func() { run(t, m.dir, "rsync", "-aX", src+"/", m.path("rsync")) }, files, 0},
		{"tar", func() { run(t, m.dir, "sh", "-c", "mkdir tar && tar -C "+src+" --format=posix -c . | tar -C tar -xp") }, files, 0},
		{"chmod, chown, utimens and setxattr of what was sent", func() {
			each("cp", func(name string) error { return os.Chmod(name, 0o600) })
			each("cp", func(name string) error { return os.Chown(name, 7, 8) })
			each("cp", func(name string) error { return os.Chtimes(name, time.Unix(1, 0), time.Unix(2, 3)) })
			each("cp", func(name string) error { return unix.Setxattr(name, "user.a", []byte("b"), 0) })
			each("cp", func(name string) error { return unix.Removexattr(name, "user.from") })
		}, 0, files},
		{"fsync, rename, chmod as restic does", func() {
			must(t, os.Mkdir(m.path("restic"), 0o700))
			each("restic", func(name string) error { return likeRestic(name) })
		}, files, 2 * files}, // the bytes are stored before the rename, which copies
		{"cp -a of the same again", func() { run(t, m.dir, "cp", "-a", src+"/.", m.path("cp")) }, files, 0},
		{"rsync -aX of the same again", func() { run(t, m.dir, "rsync", "-aX", src+"/", m.path("rsync")) }, 0, 0},
	} {
		c.take()
		tt.do()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		must(t, m.Drain(ctx))
		cancel()
		got := c.take()
		t.Log(tt.name, fmt.Sprint(got))
		const markers = 2 // a directory is made and then given its attributes
		if got["put"] > tt.puts+markers || got["put"] < tt.puts || got["copy"] > tt.copies+markers || got["copy"] < tt.copies {
			t.Errorf("%s: %v, want %d PUTs and %d copies", tt.name, got, tt.puts, tt.copies)
		}
	}
	must(t, os.Remove(filepath.Join(src, "f00")))
	m.remount()
	for _, dir := range []string{"cp", "rsync", "tar"} {
		must(t, os.Remove(m.path(dir, "f00")))
		sameTree(t, src, m.path(dir))
	}
}

// likeRestic makes a file as restic's local repositories do.
func likeRestic(name string) error {
	f, err := os.Create(name + "-tmp")
	if err != nil {
		return err
	}
	if _, err := f.WriteString("pack"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(name+"-tmp", name); err != nil {
		return err
	}
	return os.Chmod(name, 0o400)
}
