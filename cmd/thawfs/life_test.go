package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The life of mounts as users see it: real processes, real mounts, real stores.

func TestMountServesInTheBackgroundUntilUmount(t *testing.T) {
	w := newWorld(t)
	mnt := w.mkdir("mnt")
	w.ends(mnt)
	store := w.path("store")
	o := w.must("mount", "local:store", "mnt")
	want := fmt.Sprintf("Mounted local:%s on %s. Unmount with: thawfs umount %s. Log: %s/thawfs.log\n"+
		"The store is new: mkdir in the mount makes its first bucket.\n", store, mnt, mnt, w.cacheOf("local:"+store))
	if o.stdout != want || o.stderr != "" {
		t.Errorf("said\n%s%s\nwant\n%s", o.stdout, o.stderr, want)
	}
	on, err := findMount(mnt)
	if err != nil || on == nil || on.FSType != fsType || on.Source != "local:"+store {
		t.Fatalf("mount table: %+v, %v, want type %s and source local:%s", on, err, fsType, store)
	}
	pid := w.pid(mnt)
	mustWrite(t, mnt+"/box/one.txt", "one")
	if o := w.must("umount", "mnt"); o.stdout != "" || o.stderr != "" {
		t.Errorf("umount said %q %q, want nothing", o.stdout, o.stderr)
	}
	if !ended(pid) {
		t.Errorf("the daemon (pid %d) is still there", pid)
	}
	if got := localObject(t, store, "box", "one.txt"); got != "one" {
		t.Errorf("the store has %q, want what was written", got)
	}
	for _, word := range []string{`"msg":"mounted"`, `"msg":"ended"`} {
		if !strings.Contains(w.logs(), word) {
			t.Errorf("no %s in the log:%s", word, w.logs())
		}
	}
	w.run("umount", "mnt").want(t, exitFailed, "thawfs: nothing is mounted on "+mnt+".")
}

func TestUmountSendsWhatIsPending(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url)
	g.close()
	for i := range 20 {
		mustWrite(t, fmt.Sprintf("%s/%02d", mnt, i), strings.Repeat("x", i*1000))
	}
	cmd := w.command("umount", mnt)
	done := start(t, cmd)
	select {
	case o := <-done:
		t.Fatalf("umount returned with everything pending: %+v", o)
	case <-time.After(500 * time.Millisecond): // it is not to end
	}
	g.open()
	if o := <-done; o.code != 0 || o.stderr != "" || o.stdout != "" { // nothing is drawn on a pipe
		t.Errorf("umount: %+v%s", o, w.logs())
	}
	for i := range 20 {
		if got := bucket.get(t, fmt.Sprintf("%02d", i)); len(got) != i*1000 {
			t.Errorf("object %02d has %d bytes, want %d", i, len(got), i*1000)
		}
	}
}

func TestSecondCtrlCLeavesTheRestInTheJournal(t *testing.T) {
	w, g, bucket := gated(t)
	source := "s3://" + bucket.name
	mnt := w.mount(source, "mnt", "--endpoint", g.url)
	g.close()
	for i := range 3 {
		mustWrite(t, fmt.Sprintf("%s/%d", mnt, i), strings.Repeat("x", 1024))
	}
	cmd := w.command("umount", mnt)
	tty := startOnTerminal(t, cmd)
	tty.expect("Sending: 3 files (3.0 KiB) left")
	interrupt(t, cmd)
	tty.expect("3 files (3.0 KiB) not sent yet. Ctrl-C again leaves them in the journal: the next mount of " + source + " sends them.")
	interrupt(t, cmd)
	tty.expect("Unmounted " + mnt + ". Left in the journal: 3 files (3.0 KiB). The next mount of " + source + " with the same flags sends them.")
	if code := tty.wait(); code != exitLeft {
		t.Errorf("exit %d, want %d", code, exitLeft)
	}
	g.open()
	o := w.must("mount", "--endpoint", g.url, source, mnt)
	if !strings.Contains(o.stdout, "Sending 3 files (3.0 KiB) that the last mount left.") {
		t.Errorf("the next mount said %q", o.stdout)
	}
	w.must("umount", mnt)
	for i := range 3 {
		if got := bucket.get(t, fmt.Sprint(i)); len(got) != 1024 {
			t.Errorf("object %d has %d bytes, want 1024", i, len(got))
		}
	}
}

func TestUmountLeaveDoesNotWait(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url)
	g.close()
	mustWrite(t, mnt+"/a", "x")
	o := w.run("umount", "--leave", mnt)
	want := "Unmounted " + mnt + ". Left in the journal: 1 file (1 B). The next mount of s3://" + bucket.name + " with the same flags sends them.\n"
	if o.code != exitLeft || o.stdout != want {
		t.Errorf("umount --leave: %+v, want exit %d and %q", o, exitLeft, want)
	}
}

func TestSigtermSendsAndUnmounts(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url)
	g.close()
	mustWrite(t, mnt+"/a", "term")
	f, err := os.Open(mnt + "/a") // somebody is still there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // of a mount that is gone
	pid := w.pid(mnt)
	kill(t, pid, unix.SIGTERM)
	time.AfterFunc(300*time.Millisecond, g.open)
	eventually(t, "the daemon has ended", func() bool { return ended(pid) })
	if on, err := findMount(mnt); on != nil || err != nil {
		t.Errorf("still in the mount table: %+v, %v", on, err)
	}
	if got := bucket.get(t, "a"); got != "term" {
		t.Errorf("the store has %q, want what was written", got)
	}
}

func TestSigtermWaitsNoLongerThanToldTo(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url, "--drain-timeout", "1s")
	g.close()
	mustWrite(t, mnt+"/a", "kept")
	pid := w.pid(mnt)
	kill(t, pid, unix.SIGTERM)
	eventually(t, "the daemon has ended", func() bool { return ended(pid) })
	if !strings.Contains(w.logs(), `"msg":"left in the journal for the next mount","files":1`) {
		t.Errorf("the log does not say what is left:%s", w.logs())
	}
	g.open()
	w.must("mount", "--endpoint", g.url, "s3://"+bucket.name, mnt)
	if got, err := os.ReadFile(mnt + "/a"); err != nil || string(got) != "kept" {
		t.Errorf("in the next mount: %q, %v, want what was written", got, err)
	}
	w.must("umount", mnt)
	if got := bucket.get(t, "a"); got != "kept" {
		t.Errorf("the store has %q, want what was written", got)
	}
}

func TestPlainUmountLosesNothing(t *testing.T) {
	w, g, bucket := gated(t)
	source := "s3://" + bucket.name
	mnt := w.mount(source, "mnt", "--endpoint", g.url)
	g.close()
	mustWrite(t, mnt+"/a", "plain")
	pid := w.pid(mnt)
	if err := unix.Unmount(mnt, 0); err != nil {
		t.Fatal(err)
	}
	w.run("mount", "--endpoint", g.url, source, mnt).want(t, exitFailed, fmt.Sprintf(
		"thawfs: the last mount of %s, on %s, is still sending what was written to it (pid %d).\n"+
			"Watch it and wait with: thawfs umount %s\nOr leave the rest to the next mount with: kill %d", source, mnt, pid, mnt, pid))
	w.run("mount", "local:store", mnt).want(t, exitFailed, fmt.Sprintf(
		"thawfs: the last mount on %s, of %s, is still sending what was written to it (pid %d).\n"+
			"Watch it and wait with: thawfs umount %s\nOr leave the rest to the next mount of %s with: kill %d", mnt, source, pid, mnt, source, pid))
	tty := startOnTerminal(t, w.command("umount", mnt)) // waits with the daemon
	tty.expect("Sending: 1 file (5 B) left")
	g.open()
	if code := tty.wait(); code != 0 {
		t.Errorf("umount behind umount(8): exit %d, %q", code, tty.text())
	}
	if got := bucket.get(t, "a"); got != "plain" {
		t.Errorf("the store has %q, want what was written", got)
	}
}

func TestKillNineLosesNothingAndIsClearedAway(t *testing.T) {
	w, g, bucket := gated(t)
	source := "s3://" + bucket.name
	mnt := w.mount(source, "mnt", "--endpoint", g.url)
	g.close()
	mustWrite(t, mnt+"/a", "killed")
	crash(t, w, mnt)
	o := w.must("mount", "--endpoint", g.url, source, mnt) // clears the dead one away
	if !strings.Contains(o.stdout, "Sending 1 file (6 B) that the last mount left.") {
		t.Errorf("the next mount said %q", o.stdout)
	}
	if got, err := os.ReadFile(mnt + "/a"); err != nil || string(got) != "killed" {
		t.Errorf("in the next mount: %q, %v, want what was written", got, err)
	}
	tty := startOnTerminal(t, w.command("umount", mnt))
	tty.expect("Sending: 1 file")
	pid := w.pid(mnt)
	crash(t, w, mnt)
	tty.expect(fmt.Sprintf("thawfs: the process of the mount (pid %d) has died.", pid))
	if code := tty.wait(); code != exitFailed {
		t.Errorf("umount whose daemon dies: exit %d", code)
	}
	w.run("mount", "local:store", mnt+"/sub").want(t, exitFailed, "thawfs: the mountpoint "+mnt+"/sub lies in a mount whose process is dead: "+mnt+
		".\nClear that away with: thawfs umount "+mnt)
	o = w.must("umount", mnt)
	if want := "The process of the mount was dead. Cleared away. What it had not sent is in the journal: the next mount of " + source + " sends it.\n"; o.stdout != want {
		t.Errorf("umount of a dead mount said %q, want %q", o.stdout, want)
	}
	g.open()
	w.must("mount", "--endpoint", g.url, source, mnt)
	w.must("umount", mnt)
	if got := bucket.get(t, "a"); got != "killed" {
		t.Errorf("the store has %q, want what was written", got)
	}
}

func TestUmountOfABusyMountSaysSo(t *testing.T) {
	w := newWorld(t)
	mnt := w.mount("local:store", "mnt")
	mustWrite(t, mnt+"/box/a", "x")
	f, err := os.Open(mnt + "/box/a")
	if err != nil {
		t.Fatal(err)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	w.run("umount", mnt).want(t, exitFailed, fmt.Sprintf("thawfs: cannot unmount %s: it is in use by %s (pid %d).\n"+
		"Close what is open there, leave the directory, and try again.", mnt, strings.TrimSpace(string(comm)), os.Getpid()))
	if got, err := os.ReadFile(mnt + "/box/a"); err != nil || string(got) != "x" {
		t.Errorf("after it the mount reads %q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.must("umount", mnt)
}

func TestMountsInEachOthersWay(t *testing.T) {
	w := newWorld(t)
	mnt, other := w.mount("local:store", "mnt"), w.mkdir("other")
	source, pid := "local:"+w.path("store"), w.pid(mnt)
	w.run("mount", "local:store2", mnt).want(t, exitFailed,
		"thawfs: "+source+" is mounted on "+mnt+" already.\nUnmount it first with: thawfs umount "+mnt)
	w.run("mount", "local:store", other).want(t, exitFailed, fmt.Sprintf(
		"thawfs: %s is mounted on %s already (pid %d), with the cache %s.\n"+
			"Use it there, or unmount it with: thawfs umount %s\n"+
			"To mount it a second time give this mount a cache of its own: --cache-dir DIR", source, mnt, pid, w.cacheOf(source), mnt))
	w.ends(other)
	w.must("mount", "--cache-dir", w.path("cache2"), "local:store", other)
	mustWrite(t, mnt+"/box/a", "x")
	w.run("umount", mnt+"/box").want(t, exitFailed, "thawfs: "+mnt+"/box lies in a mount.\nUnmount all of it with: thawfs umount "+mnt)
	w.must("umount", mnt)
	eventually(t, "the other mount sees the file", func() bool { _, err := os.Stat(other + "/box/a"); return err == nil })
	w.must("umount", other)
}

func TestForegroundEndsWithCtrlC(t *testing.T) {
	w := newWorld(t)
	mnt := w.mkdir("mnt")
	w.ends(mnt)
	cmd := w.command("mount", "-f", "local:store#box", mnt)
	o := w.run("mount", "-f", "local:store#box", mnt)
	o.want(t, exitFailed, "thawfs: the bucket \"box\" does not exist.\n"+
		"Create it with mkdir in a mount of local:"+w.path("store")+", or with the tools of your provider.")
	createBucket(t, w.path("store"), "box")
	done := start(t, cmd)
	eventually(t, "it is mounted", func() bool { on, err := findMount(mnt); return err == nil && on != nil })
	mustWrite(t, mnt+"/a", "front")
	interrupt(t, cmd)
	if o := <-done; o.code != 0 || !strings.Contains(o.stderr, `"msg":"mounted"`) {
		t.Errorf("foreground: %+v", o)
	}
	if got := localObject(t, w.path("store"), "box", "a"); got != "front" {
		t.Errorf("the store has %q, want what was written", got)
	}
}

func TestForegroundShowsWhatIsPending(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mkdir("mnt")
	w.ends(mnt)
	cmd := w.command("mount", "-f", "--endpoint", g.url, "s3://"+bucket.name, mnt)
	tty := startOnTerminal(t, cmd)
	tty.expect("mounted")
	g.close()
	mustWrite(t, mnt+"/a", "front")
	interrupt(t, cmd)
	tty.expect("Sending: 1 file (5 B) left")
	interrupt(t, cmd)
	tty.expect("Left in the journal: 1 file (5 B). The next mount of s3://" + bucket.name + " with the same flags sends them.")
	if code := tty.wait(); code != exitLeft {
		t.Errorf("exit %d, want %d", code, exitLeft)
	}
}

func TestMountHelperMountsSilently(t *testing.T) {
	w := newWorld(t)
	mnt := w.mkdir("mnt")
	w.ends(mnt)
	cmd := w.command("local:store", mnt, "-o", "rw,_netdev,nofail,ro,x-systemd.automount")
	cmd.Args[0] = "/sbin/mount.thawfs"
	if o := finish(t, cmd); o.code != 0 || o.stdout != "" || o.stderr != "" {
		t.Fatalf("mount.thawfs: %+v%s", o, w.logs())
	}
	if err := os.Mkdir(mnt+"/box", 0o755); !errors.Is(err, unix.EROFS) {
		t.Errorf("mkdir with -o ro: %v, want EROFS", err)
	}
	again := w.command("local:store", mnt)
	again.Args[0] = "/sbin/mount.thawfs"
	if o := finish(t, again); o.code != helperFailed || o.stderr == "" {
		t.Errorf("mount.thawfs on a mount: %+v, want exit %d", o, helperFailed)
	}
	w.must("umount", mnt)
}

func TestNoSecretIsEverLogged(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url, "--log-level", "debug")
	mustWrite(t, mnt+"/a", "body-of-the-file")
	w.must("umount", mnt)
	for _, secret := range []string{bucket.server.SecretKey, "Signature=", "body-of-the-file"} {
		if strings.Contains(w.logs(), secret) {
			t.Errorf("the log has %q:%s", secret, w.logs())
		}
	}
}
