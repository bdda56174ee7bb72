package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mustWrite writes a file and its directory.
func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cacheOf is the cache directory of a source of this world.
func (w *world) cacheOf(source string) string {
	w.t.Helper()
	s, err := parseSource(source)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.path("cache", "thawfs", newOptions().cacheName(s))
}

// pid asks the daemon on mountpoint who it is.
func (w *world) pid(mountpoint string) int {
	w.t.Helper()
	who, err := w.client(mountpoint).about(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return who.PID
}

// client talks to the daemon on mountpoint.
func (w *world) client(mountpoint string) *client {
	for _, e := range w.env {
		if dir, ok := strings.CutPrefix(e, "THAWFS_RUNTIME_DIR="); ok {
			return &client{filepath.Join(dir, socketName(mountpoint))}
		}
	}
	panic("a world without THAWFS_RUNTIME_DIR")
}

// crash kills the daemon of the mount on mountpoint. What the kernel remembers of the mount is not
// waited for: users come at once.
func crash(t *testing.T, w *world, mountpoint string) {
	t.Helper()
	pid := w.pid(mountpoint)
	kill(t, pid, unix.SIGKILL)
	eventually(t, "it has ended", func() bool { return ended(pid) })
}

// ended reports whether a process is over, be it that nobody has asked for its exit code yet.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ") // behind the name of the program
	return strings.HasPrefix(state, "Z")
}

func kill(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	kill(t, cmd.Process.Pid, unix.SIGINT)
}

// start runs cmd and tells how it ended.
func start(t *testing.T, cmd *exec.Cmd) <-chan outcome {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan outcome, 1)
	go func() {
		_ = cmd.Wait() // the exit code says it
		done <- outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}()
	return done
}
