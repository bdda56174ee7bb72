package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

func TestRestoreTreeWaitsAndAsksOnce(t *testing.T) {
	w := newWorld(t)
	keys := append(numbered("d", 20), numbered("d/sub", 20)...)
	store := freeze(t, coldStore(t, w.path("store"), time.Second), "cold", append(keys, "other")...)
	mnt := w.mount("local:store", "mnt")

	w.run("restore", "mnt/cold/d").check(t, exitFailed, "", mnt+"/cold/d: a directory: add -r to restore what is in it.")
	o := w.run("restore", "-r", "--dry-run", "mnt/cold/d")
	o.check(t, exitPending, "40 files (240 B) to restore; 0 files (0 B) readable, 0 files (0 B) on the way.", "")
	for _, want := range []string{" * Bulk        2 seconds     less than USD 0.01\n", "   Expedited   2 seconds     about USD 0.40\n", "prices of 2026-08-01 in us-east-1"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the dry run does not say %q:\n%s", want, o.stdout)
		}
	}
	if got := w.must("ls", "-R", "mnt/cold").stdout; strings.Count(got, "ARC  ") != 41 {
		t.Errorf("after the dry run:\n%s\nwant everything archived", got)
	}

	began := time.Now()
	w.run("restore", "-r", "--wait", "mnt/cold/d").check(t, 0, "40 files (240 B) readable. Asked for 40 files (240 B), less than USD 0.01.", "")
	if took := time.Since(began); took < time.Second {
		t.Errorf("restored after %v, the store takes 1s", took)
	}
	before := untils(t, store, keys)
	for _, key := range keys {
		if got, err := os.ReadFile(mnt + "/cold/" + key); err != nil || string(got) != key {
			t.Errorf("read %s: %q, %v", key, got, err)
		}
	}
	w.run("restore", "-r", "--wait", "mnt/cold/d").check(t, 0, "40 files (240 B) readable.\n", "")
	if after := untils(t, store, keys); !slices.Equal(before, after) {
		t.Errorf("the second run moved the ends of copies from %v to %v", before, after)
	}
	if obj, err := store.Head(t.Context(), "other"); err != nil || obj.State != backend.Archived {
		t.Errorf("what was not asked for: %v, %v, want it archived", obj.State, err)
	}
	if s := w.status(mnt); s.Recalls.Readable.Objects != 40 || s.Budget.Objects != 40 || s.Recalls.Jobs != len(s.Jobs) {
		t.Errorf("status: %+v, want 40 readable", s)
	}
}

func TestRestoreThatIsInterruptedGoesOn(t *testing.T) {
	w := newWorld(t)
	freeze(t, coldStore(t, w.path("store"), time.Hour), "cold", numbered("d", 5)...)
	mnt := w.mount("local:store", "mnt")
	cmd := w.command("restore", "-r", "--wait", "--tier", "standard", "mnt")
	tty := startOnTerminal(t, cmd)
	tty.expect("] 0 of 5 files, 0 B of 20 B, due by ")
	interrupt(t, cmd)
	if code := tty.wait(); code != exitStopped || !strings.Contains(tty.text(), "What was asked for goes on.") {
		t.Errorf("interrupted: exit %d, %q", code, tty.text())
	}
	first := w.status(mnt)
	if first.Recalls.OnTheirWay.Objects != 5 || first.Budget.Objects != 5 || first.Jobs[0].Tier != "Standard" {
		t.Fatalf("after the interruption: %+v, want 5 on the way", first)
	}
	w.run("restore", "-r", "--wait=100ms", "mnt").check(t, exitPending, "0 files (0 B) readable; 5 files (20 B) on the way, due by ", "")
	crash(t, w, mnt)
	w.must("mount", "local:store", mnt)
	o := w.run("restore", "-r", "--json", "mnt")
	o.check(t, exitPending, "", "")
	if last := lastLine(t, o.stdout); last.Asked.Objects != 0 || last.Pending.Objects != 5 || last.Code != exitPending || last.ETA.IsZero() {
		t.Errorf("after the crash: %+v, want 5 pending and none asked for", last)
	}
	again := w.status(mnt)
	if again.Budget.Objects != 5 || again.Recalls.OnTheirWay.Objects != 5 {
		t.Errorf("after it all: %+v, want 5 on the way and nothing paid twice", again)
	}
	for i, j := range again.Jobs {
		if !j.Since.Equal(first.Jobs[i].Since) {
			t.Errorf("%s was asked for at %v, then at %v", j.Path, first.Jobs[i].Since, j.Since)
		}
	}
}

func TestRestoreStopsAtTheBudget(t *testing.T) {
	w := newWorld(t)
	freeze(t, coldStore(t, w.path("store"), time.Hour), "cold", numbered("d", 5)...)
	w.mount("local:store", "mnt", "-o", "recall_budget_objects=2")
	o := w.run("restore", "-r", "mnt")
	o.check(t, exitRefused, "2 files (8 B) on the way", "the budget of 2 objects a day is spent until midnight UTC")
	if !strings.Contains(o.stdout, "3 files (12 B) refused") || !strings.Contains(o.stderr, "--over-budget") {
		t.Errorf("refused: %+v", o)
	}
	if got := w.must("ls", "mnt/cold/d").stdout; strings.Count(got, "RES  ") != 2 || strings.Count(got, "ERR  ") != 3 {
		t.Errorf("ls at the budget:\n%s", got)
	}
	w.run("restore", "-r", "--over-budget", "mnt").check(t, exitPending, "5 files (20 B) on the way", "")
}

func TestRestoreOfLists(t *testing.T) {
	w := newWorld(t)
	keys := numbered("packs/aa", 50)
	store := freeze(t, coldStore(t, w.path("store"), time.Second), "cold", append(keys, "packs/bb/one")...)
	mnt := w.mount("local:store", "mnt")
	var list strings.Builder
	for _, key := range append(keys[:40:40], "packs/bb/one", keys[0]) {
		fmt.Fprintln(&list, mnt+"/cold/"+key)
	}
	cmd := w.command("restore", "--files-from", "-", "--wait", "--progress=rustic")
	cmd.Stdin = strings.NewReader(list.String())
	o := finish(t, cmd)
	if o.code != 0 || o.stderr != "" || !strings.HasSuffix(o.stdout, `{"type":"pack-progress","warm":41}`+"\n") {
		t.Errorf("a list with lines: %+v", o)
	}
	untils(t, store, append(keys[:40:40], "packs/bb/one"))
	if obj, err := store.Head(t.Context(), keys[40]); err != nil || obj.State != backend.Archived {
		t.Errorf("what is not in the list: %v, %v, want it archived", obj.State, err)
	}

	mustWrite(t, w.path("list"), "mnt/cold/packs/aa/40\x00mnt/cold/packs/aa/nothing\x00")
	o = w.run("restore", "--files-from", "list", "--json", "mnt/cold/packs/aa/41")
	o.check(t, exitFailed, `{"type":"object","path":"`+mnt+`/cold/packs/aa/nothing","outcome":"failed","error":"no such file or directory"}`, "")
	if last := lastLine(t, o.stdout); last.Failed.Objects != 1 || last.Pending.Objects != 2 || last.Code != exitFailed {
		t.Errorf("a list with NULs: %+v, want 2 pending, 1 failed", last)
	}
	w.run("restore", "--files-from", "nothing").check(t, exitFailed, "", "the list nothing cannot be read: no such file or directory")
	w.run("restore", "/").check(t, exitFailed, "", "/ lies in no mount of thawfs.")
	w.run("restore", "mnt/../nothing").check(t, exitFailed, "", "mnt/../nothing cannot be found: no such file or directory.")
	w.run("restore").want(t, exitUsage, "thawfs: PATH is missing: thawfs restore [flags] PATH...\nSee: thawfs restore --help")
	w.run("restore", "--tier", "Express", "mnt/cold/packs/aa/45").check(t, exitFailed, "1 file failed", "Express")
}

func TestLsTellsStates(t *testing.T) {
	w := newWorld(t)
	store := freeze(t, coldStore(t, w.path("store"), time.Hour), "cold", "d/arc", "d/res", "d/sub/x")
	put(t, store, "d/onl", "STANDARD_IA")
	mnt := w.mount("local:store", "mnt")
	w.must("ls", "mnt/cold/d") // now all of it is remembered
	w.run("restore", "mnt/cold/d/res").check(t, exitPending, "1 file (5 B) on the way, due by", "")
	want := "ARC  arc\nONL  onl\nRES  res\n-    sub/\n"
	if got := w.must("ls", "mnt/cold/d").stdout; got != want {
		t.Errorf("ls:\n%swant\n%s", got, want)
	}
	if err := os.Symlink(mnt+"/cold/d", w.path("link")); err != nil {
		t.Fatal(err)
	}
	if got := w.must("ls", "link/").stdout; got != want {
		t.Errorf("ls of a link:\n%swant\n%s", got, want)
	}
	cmd := w.command("ls", "-l")
	cmd.Dir = mnt + "/cold/d"
	for _, line := range []string{"ARC       5 B  GLACIER       20", "RES       5 B  GLACIER       20", "  due by ", "ONL       5 B  STANDARD_IA   20"} {
		if o := finish(t, cmd2(cmd)); !strings.Contains(o.stdout, line) {
			t.Errorf("ls -l in a directory:\n%s%swant %q", o.stdout, o.stderr, line)
		}
	}
	if got, want := w.must("ls", "-R", mnt).stdout, "ARC  cold/d/arc\nONL  cold/d/onl\nRES  cold/d/res\nARC  cold/d/sub/x\n"; got != want {
		t.Errorf("ls -R:\n%swant\n%s", got, want)
	}
	var e entry
	if err := json.Unmarshal([]byte(w.must("ls", "--json", "mnt/cold/d/res").stdout), &e); err != nil {
		t.Fatal(err)
	}
	if e.Path != "mnt/cold/d/res" || e.State != isRestoring || e.Class != "GLACIER" || e.Size != 5 || e.Key != "d/res" || e.Tier != "Bulk" || time.Until(e.ETA) > time.Hour+time.Minute {
		t.Errorf("ls --json: %+v", e)
	}
	w.run("ls", "mnt/cold/d/arc", "mnt/nothing", "mnt/cold/d").check(t, exitFailed,
		"ARC  mnt/cold/d/arc\n\nmnt/cold/d:\nARC  arc\n", "thawfs: mnt/nothing: no such file or directory.")
}

// cmd2 is a command to run again.
func cmd2(c *exec.Cmd) *exec.Cmd {
	return &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir}
}

func TestLsTellsWhatIsNotSent(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url)
	mustWrite(t, mnt+"/d/old", "x")
	if err := os.WriteFile(mnt+"/gone", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are sent", func() bool { return w.status(mnt).Pending.Files == 0 })
	g.close()
	mustWrite(t, mnt+"/d/fresh", "abc")
	if err := os.Remove(mnt + "/gone"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"ls", "-R", mnt}, {"ls", mnt + "/d"}} {
		want := strings.ReplaceAll("NEW  d/fresh\nONL  d/old\n", "d/", map[bool]string{true: "d/"}[args[1] == "-R"])
		if got := w.must(args...).stdout; got != want {
			t.Errorf("thawfs %s:\n%swant\n%s", strings.Join(args, " "), got, want)
		}
	}
	if s := w.status(mnt); s.Pending.Files < 2 || s.Pending.Bytes != 3 {
		t.Errorf("status: %+v, want a file and a delete pending", s.Pending)
	}
	if o := w.must("status"); !strings.Contains(o.stdout, "(3 B) pending") {
		t.Errorf("status of all mounts:\n%s", o.stdout)
	}
}

func TestStatusWithoutMounts(t *testing.T) {
	w := newWorld(t)
	if o := w.must("status"); o.stdout != "Nothing is mounted.\n" {
		t.Errorf("status: %+v", o)
	}
	if o := w.must("status", "--json"); o.stdout != "[]\n" {
		t.Errorf("status --json: %+v", o)
	}
	w.run("status", w.dir).check(t, exitFailed, "", "lies in no mount of thawfs.\nSee what is mounted: thawfs status")
}

func TestOpensWaitOrDoNotAsk(t *testing.T) {
	w := newWorld(t)
	freeze(t, coldStore(t, w.path("store"), time.Second), "cold", "a", "b")
	mnt := w.mount("local:store", "mnt", "--recall-wait", "1m")
	if got, err := os.ReadFile(mnt + "/cold/a"); err != nil || string(got) != "a" {
		t.Errorf("with --recall-wait: %q, %v", got, err)
	}
	w.must("umount", mnt)
	w.must("mount", "-o", "recall=explicit", "local:store", mnt)
	if _, err := os.ReadFile(mnt + "/cold/b"); !isErrno(err, unix.ENODATA) {
		t.Errorf("with --recall explicit: %v, want ENODATA", err)
	}
	w.run("restore", "--wait", mnt+"/cold/b").check(t, 0, "1 file (1 B) readable.", "")
	if got, err := os.ReadFile(mnt + "/cold/b"); err != nil || string(got) != "b" {
		t.Errorf("after thawfs restore: %q, %v", got, err)
	}
}

func TestWhatIsWrittenGetsItsClass(t *testing.T) {
	w := newWorld(t)
	s := coldStore(t, w.path("store"), time.Hour)
	store := freeze(t, s, "box")
	mnt := w.mount("local:store", "mnt", "--storage-class", "STANDARD_IA", "--storage-class-rule", "old/**=DEEP_ARCHIVE", "--storage-class-rule", "*.raw=glacier")
	for name, class := range map[string]string{"a.jpg": "STANDARD_IA", "a.raw": "GLACIER", "old/a.raw": "DEEP_ARCHIVE"} {
		mustWrite(t, mnt+"/box/"+name, name)
		eventually(t, name+" is sent", func() bool { _, err := store.Head(t.Context(), name); return err == nil })
		if obj, err := store.Head(t.Context(), name); err != nil || obj.Class != class {
			t.Errorf("%s has class %q, %v, want %s", name, obj.Class, err, class)
		}
	}
	w.must("umount", mnt)
	w.must("mount", "--cache-dir", w.path("fresh"), "local:store", mnt) // one that has not written it
	if _, err := os.ReadFile(mnt + "/box/a.raw"); !isErrno(err, unix.EAGAIN) {
		t.Errorf("what went into the archive: %v, want EAGAIN", err)
	}
}

func isErrno(err error, want unix.Errno) bool {
	e, ok := err.(*os.PathError)
	return ok && e.Err == want
}

// check compares the exit code and looks for text.
func (o outcome) check(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.stdout, stdout) || !strings.Contains(o.stderr, stderr) || stderr == "" && o.stderr != "" {
		t.Errorf("exit %d\n%s%s\nwant exit %d\n%s%s", o.code, o.stdout, o.stderr, code, stdout, stderr)
	}
}

// status asks the mount that path lies in.
func (w *world) status(path string) status {
	w.t.Helper()
	var all []status
	if err := json.Unmarshal([]byte(w.must("status", "--json", path).stdout), &all); err != nil || len(all) != 1 {
		w.t.Fatalf("status --json: %d reports, %v", len(all), err)
	}
	return all[0]
}

// lastLine is the result of restore --json.
func lastLine(t *testing.T, stdout string) restoreResult {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a line of JSON: %s", line)
		}
	}
	var r restoreResult
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil || r.Type != "result" {
		t.Errorf("last line %s: %v", lines[len(lines)-1], err)
	}
	return r
}
