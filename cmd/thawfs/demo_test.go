package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDemoWorksAsPrinted runs every command that the demo prints, twice, in a shell.
func TestDemoWorksAsPrinted(t *testing.T) {
	w := newWorld(t)
	w.onPath()
	w.ends(w.path("thawfs-demo", "mnt"))
	coldStore(t, w.path("thawfs-demo", "store"), time.Second) // it takes 15 s otherwise
	first := w.must("demo").stdout
	if again := w.must("demo").stdout; again != first {
		t.Errorf("the second time it prints\n%s\nafter\n%s", again, first)
	}
	var commands []string
	for line := range strings.Lines(first) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if len(commands) != 5 {
		t.Fatalf("%d commands, want 5:\n%s", len(commands), first)
	}
	said := []string{"", "ARC      58 B  GLACIER", "", "restoring  Standard   due ", "back from the cold"}
	var asked time.Time
	for i, command := range commands {
		o := w.shell(command)
		if i == 2 {
			asked = time.Now()
		} else if i == 3 && time.Since(asked) > 10*time.Second { // a slow machine: it may be back
			said[i] = "1 file (58 B)"
		}
		if i == 2 { // the archive
			if o.code != 1 || !strings.Contains(o.stderr, "Resource temporarily unavailable") {
				t.Errorf("%s: %+v, want EAGAIN", command, o)
			}
		} else if o.code != 0 || o.stderr != "" || !strings.Contains(o.stdout, said[i]) {
			t.Errorf("%s: %+v, want %q", command, o, said[i])
		}
	}
	for _, command := range commands {
		if o := w.shell(command); o.code != 0 || o.stderr != "" {
			t.Errorf("the second time %s: %+v", command, o)
		}
	}
	if o := w.shell("cat thawfs-demo/mnt/hot/README.txt thawfs-demo/mnt/hot/hello.txt; cmp thawfs-demo/mnt/*/pictures/wave.png"); !strings.Contains(o.stdout, "This file is an object") || !strings.HasSuffix(o.stdout, "hello\n") || o.code != 0 {
		t.Errorf("afterwards: %+v", o)
	}
	end, remove := after(t, first, "End it with:"), after(t, first, "And remove it all with:")
	if want := "thawfs umount thawfs-demo/mnt"; end != want {
		t.Fatalf("end = %q, want %q", end, want)
	}
	w.must(strings.Fields(end)[1:]...)
	w.must("demo") // goes on with what is there
	if o := w.shell("cat thawfs-demo/mnt/hot/hello.txt"); o.stdout != "hello\n" {
		t.Errorf("what was written before is gone: %+v", o)
	}
	w.must(strings.Fields(end)[1:]...)
	if o := w.shell(remove); o.code != 0 {
		t.Errorf("%s: %+v", remove, o)
	}
}

func TestDemoSaysWhereItCannotBe(t *testing.T) {
	w := newWorld(t)
	mustWrite(t, w.path("full", "store", "file"), "x")
	o := w.run("demo", "full")
	want := "thawfs: the demo cannot be set up in " + w.path("full") + ": invalid name or argument: " + w.path("full/store") +
		" is neither empty nor a store of thawfs.\nName a directory of your own: thawfs demo DIR"
	o.want(t, exitFailed, want)
	w.run("demo", "/proc/x").want(t, exitFailed,
		"thawfs: the demo cannot be set up in /proc/x: does not exist: mkdir /proc/x: no such file or directory.\nName a directory of your own: thawfs demo DIR")
}

// after is what stands behind label in its line.
func after(t *testing.T, text, label string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, label)
	if !ok {
		t.Fatalf("no %q in\n%s", label, text)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// shell runs a line as a user would, in the directory of the world.
func (w *world) shell(line string) outcome {
	w.t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(w.env, "LC_ALL=C")
	cmd.Dir = w.dir
	return finish(w.t, cmd)
}
