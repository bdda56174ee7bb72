package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/integration/servers"
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

// bucket is a bucket of a real server, seen without thawfs's file system.
type bucket struct {
	name   string
	server servers.S3
	store  backend.Store
}

// gated is a world with the keys of a server, a gate before it and a bucket in it.
func gated(t *testing.T) (*world, *gate, *bucket) {
	t.Helper()
	gw := servers.VersityGW(t)
	service, err := s3.New(t.Context(), s3.Options{Endpoint: gw.Endpoint, Region: gw.Region, AccessKey: gw.AccessKey, SecretKey: gw.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	b := &bucket{name: fmt.Sprintf("life-%d", time.Now().UnixNano()), server: gw}
	if err := service.CreateBucket(t.Context(), b.name); err != nil {
		t.Fatal(err)
	}
	if b.store, err = service.Open(t.Context(), b.name); err != nil {
		t.Fatal(err)
	}
	return newWorld(t, keys(gw)...), newGate(t, gw), b
}

func (b *bucket) get(t *testing.T, key string) string { t.Helper(); return getObject(t, b.store, key) }

func getObject(t *testing.T, s backend.Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, "", 0, -1)
	if err != nil {
		t.Error(err)
		return ""
	}
	all, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Error(err)
	}
	return string(all)
}

func localStore(t *testing.T, dir string) *local.Service {
	t.Helper()
	service, err := local.New(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func createBucket(t *testing.T, dir, name string) {
	t.Helper()
	if err := localStore(t, dir).CreateBucket(context.Background(), name); err != nil {
		t.Fatal(err)
	}
}

func localObject(t *testing.T, dir, bucket, key string) string {
	t.Helper()
	s, err := localStore(t, dir).Open(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return getObject(t, s, key)
}

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
	for _, e := range w.env {
		if dir, ok := strings.CutPrefix(e, "THAWFS_RUNTIME_DIR="); ok {
			who, err := (&client{filepath.Join(dir, socketName(mountpoint))}).about(w.t.Context())
			if err != nil {
				w.t.Fatal(err)
			}
			return who.PID
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
