package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/backend/swift"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/servers"
)

// drivers are the stores that every test of tools runs over. A slow one runs but a few of them
// in short runs.
var drivers = []struct {
	name string
	slow bool
	open func(t *testing.T) backend.Service
}{
	{"local", false, func(t *testing.T) backend.Service {
		s, err := local.New(t.TempDir(), local.Options{NoSync: true})
		must(t, err)
		return s
	}},
	{"s3", false, func(t *testing.T) backend.Service { return openS3(t, servers.MinIO(t)) }},
	{"swift", true, func(t *testing.T) backend.Service { return openSwift(t, servers.Swift(t)) }},
}

// shortOnSlow are the tests that run over slow drivers in short runs too.
var shortOnSlow = []string{"TestTar"}

func openSwift(t *testing.T, at servers.SwiftAccount) backend.Service {
	t.Helper()
	s, err := swift.New(t.Context(), swift.Options{Auth: swift.Auth{URL: at.AuthURL, User: at.User, Password: at.Key}})
	must(t, err)
	return s
}

func openS3(t *testing.T, at servers.S3) backend.Service {
	t.Helper()
	s, err := s3.New(t.Context(), s3.Options{
		Endpoint: at.Endpoint, Region: at.Region, AccessKey: at.AccessKey, SecretKey: at.SecretKey,
	})
	must(t, err)
	return s
}

// onMounts runs a test on a mount of a new bucket of each driver.
func onMounts(t *testing.T, test func(t *testing.T, m *mounted)) {
	t.Parallel()
	for _, d := range drivers {
		short := slices.Contains(shortOnSlow, t.Name())
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			if d.slow && testing.Short() && !short {
				t.Skip("thousands of requests to a server that is written in Python: make test-slow runs it")
			}
			test(t, mount(t, d.open(t)))
		})
	}
}

// A mounted is one bucket on a real mount.
type mounted struct {
	*fs.Mount
	t    *testing.T
	dir  string
	o    fs.Options
	done bool
}

func mount(t *testing.T, service backend.Service, change ...func(*fs.Options)) *mounted {
	t.Helper()
	bucket := fmt.Sprintf("t-%x", sha256.Sum256([]byte(t.Name())))[:20]
	if err := service.CreateBucket(t.Context(), bucket); err != nil && !isExist(err) {
		t.Fatal(err)
	}
	o := fs.Options{
		Service: service, Bucket: bucket, Source: "test", CacheDir: t.TempDir(), SpoolSize: 8 << 30,
		Log: slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, fn := range change {
		fn(&o)
	}
	m := &mounted{t: t, dir: t.TempDir(), o: o}
	m.start()
	t.Cleanup(m.stop)
	return m
}

type logTo struct{ t *testing.T }

func (w logTo) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (m *mounted) start() {
	m.t.Helper()
	var err error
	m.Mount, err = fs.NewMount(m.dir, m.o)
	must(m.t, err)
	m.done = false
}

func (m *mounted) stop() {
	m.t.Helper()
	if m.done {
		return
	}
	m.done = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(m.t, m.Unmount())
	must(m.t, m.Close(ctx))
}

// remount sends everything and mounts anew with an empty cache: what is seen then comes
// from the store.
func (m *mounted) remount() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	defer cancel()
	must(m.t, m.Drain(ctx))
	m.stop()
	m.o.CacheDir = m.t.TempDir()
	m.start()
}

func (m *mounted) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// run runs a program and returns what it printed; it must end well.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(out))
	}
	return out
}

func try(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), servers.Tool(t, name), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t",
		"GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t", "RESTIC_PASSWORD=thaw", "RESTIC_PROGRESS_FPS=0", "LC_ALL=C",
		"HOME="+dir, "XDG_CACHE_HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// sameTree fails unless two trees agree in names, types, contents, modes, owners, link
// targets and, of files, times to the nanosecond.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	a, b := treeSums(t, want), treeSums(t, got)
	diffs := 0
	for path, sum := range a {
		if b[path] != sum {
			if diffs++; diffs <= 10 {
				t.Errorf("%s: %q, want %q", path, b[path], sum)
			}
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			if diffs++; diffs <= 10 {
				t.Errorf("%s: should not be there", path)
			}
		}
	}
	if diffs > 10 {
		t.Errorf("and %d more differences", diffs-10)
	}
}

// treeSums describes everything below root by path.
func treeSums(t *testing.T, root string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		sums[rel], err = describe(path, fi)
		return err
	}))
	return sums
}

func describe(path string, fi os.FileInfo) (string, error) {
	switch {
	case fi.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "link to " + target, err
	case fi.IsDir():
		return fi.Mode().String(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	if n != fi.Size() {
		return "", fmt.Errorf("%s: size %d, read %d bytes", path, fi.Size(), n)
	}
	return fmt.Sprintf("%s %d %x %v", fi.Mode(), n, h.Sum(nil)[:8], fi.ModTime().UTC()), err
}

// noise is n bytes that do not repeat.
func noise(seed byte, n int) []byte {
	var b bytes.Buffer
	sum := sha256.Sum256([]byte{seed})
	for b.Len() < n {
		b.Write(sum[:])
		sum = sha256.Sum256(sum[:])
	}
	return b.Bytes()[:n]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
