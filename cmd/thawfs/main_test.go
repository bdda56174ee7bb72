package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/integration/servers"
)

// beThawfs makes the test binary the program under test: the daemons that it starts run the
// very code that is tested, race detector and all.
const beThawfs = "THAWFS_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beThawfs) != "" {
		main()
	}
	servers.Main(m)
}

// world is a user's environment of its own: home, caches, control sockets.
type world struct {
	t   *testing.T
	dir string
	env []string
}

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "AWS_") && !strings.HasPrefix(e, "XDG_") && !strings.HasPrefix(e, "THAWFS_") && !strings.HasPrefix(e, "HOME=") {
			w.env = append(w.env, e)
		}
	}
	// A socket's path has about a hundred bytes; t.TempDir holds the name of the test.
	run, err := os.MkdirTemp("", "thawfs-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	w.env = append(w.env, beThawfs+"=1", "HOME="+w.path("home"), "XDG_CACHE_HOME="+w.path("cache"),
		"THAWFS_RUNTIME_DIR="+run, "AWS_EC2_METADATA_DISABLED=true")
	w.env = append(w.env, env...)
	return w
}

// path is a path in the world.
func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// mkdir makes a directory in the world.
func (w *world) mkdir(elem ...string) string {
	w.t.Helper()
	p := w.path(elem...)
	if err := os.MkdirAll(p, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// outcome is how a run of thawfs ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// command prepares a run of thawfs.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "thawfs"
	cmd.Env = w.env
	cmd.Dir = w.dir
	return cmd
}

// run runs thawfs to its end.
func (w *world) run(args ...string) outcome {
	w.t.Helper()
	return finish(w.t, w.command(args...))
}

// finish runs cmd to its end.
func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs thawfs, which has to succeed.
func (w *world) must(args ...string) outcome {
	w.t.Helper()
	o := w.run(args...)
	if o.code != 0 {
		w.t.Fatalf("thawfs %s: exit %d\n%s%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr, w.logs())
	}
	return o
}

// logs are those of all mounts of the world.
func (w *world) logs() string {
	var b strings.Builder
	paths, _ := filepath.Glob(w.path("cache", "thawfs", "*", "thawfs.log")) // the pattern is right
	for _, p := range paths {
		text, err := os.ReadFile(p)
		b.WriteString("\n" + p + ":\n" + string(text))
		if err != nil {
			b.WriteString(err.Error())
		}
	}
	return b.String()
}

// mount mounts a source on a new directory and takes care of its end.
func (w *world) mount(source, name string, flags ...string) string {
	w.t.Helper()
	mountpoint := w.mkdir(name)
	w.ends(mountpoint)
	w.must(append(append([]string{"mount"}, flags...), source, mountpoint)...)
	return mountpoint
}

// ends makes sure that nothing of the mount on mountpoint outlives the test.
func (w *world) ends(mountpoint string) {
	w.t.Cleanup(func() {
		if on, err := findMount(mountpoint); err != nil || on != nil {
			w.run("umount", "--leave", mountpoint)
		}
		if on, err := findMount(mountpoint); err != nil || on != nil {
			w.t.Errorf("still mounted at the end: %s (%v)%s", mountpoint, err, w.logs())
			_ = unix.Unmount(mountpoint, unix.MNT_DETACH)
		}
	})
}

// eventually waits for something another process does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s and in vain until %s", what)
		}
	}
}

func (o outcome) want(t *testing.T, code int, stderr string) {
	t.Helper()
	if o.code != code || strings.TrimSuffix(o.stderr, "\n") != stderr || o.stdout != "" {
		t.Errorf("exit %d\n%s%s\nwant exit %d\n%s", o.code, o.stdout, o.stderr, code, stderr)
	}
}
