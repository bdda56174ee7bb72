package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The commands that look at and steer a mount at work.

func TestStatusTellsWhatWaitsAndFlushSendsIt(t *testing.T) {
	w, g, bucket := gated(t)
	mnt := w.mount("s3://"+bucket.name, "mnt", "--endpoint", g.url)
	for _, dir := range []string{"/a", "/b"} {
		if err := os.Mkdir(mnt+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g.close()
	mustWrite(t, mnt+"/a/one", strings.Repeat("x", 3000))
	mustWrite(t, mnt+"/a/two", "y")
	mustWrite(t, mnt+"/b/three", "z")
	var s status
	eventually(t, "an upload is under way", func() bool {
		s = w.status(mnt)
		return len(s.Pending.Items) > 0 && s.Pending.Items[0].Sending
	})
	bytes := map[string]int64{}
	for _, i := range s.Pending.Items {
		bytes[i.Path] = i.Bytes
		if i.Since.IsZero() || i.Since.Before(s.Pending.Oldest) || i.What != "upload" {
			t.Errorf("item %+v, oldest %v", i, s.Pending.Oldest)
		}
	}
	if bytes["a/one"] != 3000 || bytes["b/three"] != 1 || s.Pending.Bytes != 3002 {
		t.Errorf("pending: %v of %d bytes, want what was written", bytes, s.Pending.Bytes)
	}
	if o := w.must("status", mnt); !strings.Contains(o.stdout, "sending") || !strings.Contains(o.stdout, "a/one") || !strings.Contains(o.stdout, "store     up") {
		t.Errorf("status:\n%s", o.stdout)
	}
	o := w.run("flush", "--timeout", "300ms", mnt+"/a")
	if o.code != exitPending || !strings.Contains(o.stderr, "not in the store yet: ") || !strings.Contains(o.stderr, "It goes on being sent.") {
		t.Errorf("flush before a shut gate: %+v", o)
	}
	tty := startOnTerminal(t, w.command("flush", mnt+"/a"))
	tty.expect("Sending: ")
	g.open()
	if code := tty.wait(); code != 0 {
		t.Errorf("flush: exit %d, %q", code, tty.text())
	}
	if got := bucket.get(t, "a/one"); len(got) != 3000 {
		t.Errorf("after flush of a the store has %d bytes of a/one, want 3000", len(got))
	}
	o = w.must("flush", "--json", mnt)
	if o.stdout != `{"files":0,"bytes":0,"failed":0,"done":true}`+"\n" || o.stderr != "" {
		t.Errorf("flush --json: %+v", o)
	}
	if got := bucket.get(t, "b/three"); got != "z" {
		t.Errorf("after flush of all the store has %q of b/three", got)
	}
	s = w.status(mnt)
	if n := s.requests("put"); n.OK < 3 || n.Sent < 3002 {
		t.Errorf("requests: %+v, want at least three puts of 3002 bytes", s.Requests)
	}
	if s.Stored.Objects < 3 || s.Store.State != isUp || s.Store.Answered.IsZero() {
		t.Errorf("stored %+v, store %+v", s.Stored, s.Store)
	}
}

func (s status) requests(op string) requests {
	for _, r := range s.Requests {
		if r.Op == op {
			return r
		}
	}
	return requests{}
}

func TestFlushOfWhatTheStoreRefuses(t *testing.T) {
	w := newWorld(t)
	store := w.path("store")
	createBucket(t, store, "box")
	mnt := w.mount("local:"+store+"#box", "mnt")
	if err := os.RemoveAll(store); err != nil { // nothing can be stored there any more
		t.Fatal(err)
	}
	mustWrite(t, mnt+"/a", "x")
	o := w.run("flush", "--timeout", "20s", mnt)
	if o.code == 0 || o.stderr == "" {
		t.Errorf("flush into a store that is gone: %+v", o)
	}
}

func TestCacheCommands(t *testing.T) {
	w := newWorld(t)
	store := w.path("store")
	createBucket(t, store, "box")
	s, err := localStore(t, store).Open(t.Context(), "box")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		putObject(t, s, fmt.Sprintf("dir/%d", i), strings.Repeat("x", 1<<20))
	}
	mnt := w.mount("local:"+store+"#box", "mnt")
	if o := w.must("cache", "pin", mnt+"/dir"); !strings.HasPrefix(o.stdout, "Pinned: 4 files (4.0 MiB). Cache: 4.0 MiB of 10 GiB in 4 files, 4.0 MiB pinned") || o.stderr != "" {
		t.Errorf("cache pin: %+v", o)
	}
	if o := w.must("cache", "drop"); !strings.Contains(o.stdout, "4.0 MiB pinned") {
		t.Errorf("cache drop of what is pinned: %+v", o)
	}
	w.must("cache", "unpin", mnt+"/dir/3")
	w.must("cache", "drop", mnt+"/dir/2")
	w.must("cache", "drop", mnt) // but for 0 and 1
	c := w.cacheStats(mnt)
	if c.Files != 2 || c.Pinned < 2<<20 || c.Pinned > 3<<20 {
		t.Errorf("cache: %+v, want two files pinned", c)
	}
	if o := w.must("cache", "limit", "50G"); !strings.Contains(o.stdout, " of 47 GiB") {
		t.Errorf("cache limit: %+v", o)
	}
	w.run("cache", "limit", "1M").want(t, exitUsage, "thawfs: a cache of 977 KiB is too small to work with.\nGive it at least 16 MiB.")
	w.run("cache", "pin", mnt+"/nothing").want(t, exitFailed, "thawfs: no such file or directory.")
	if b, err := os.ReadFile(mnt + "/dir/0"); err != nil || len(b) != 1<<20 {
		t.Errorf("read of a pinned file: %d bytes, %v", len(b), err)
	}
	w.must("umount", mnt)
	w.must("mount", "local:"+store+"#box", mnt)
	if c := w.cacheStats(mnt); c.Files != 2 || c.Pinned < 2<<20 || c.Capacity != 10<<30 {
		t.Errorf("cache of the next mount: %+v, want two files pinned and the limit of old", c)
	}
}

func (w *world) cacheStats(path string) cacheStatus {
	w.t.Helper()
	var c cached
	if err := json.Unmarshal([]byte(w.must("cache", "stats", "--json", path).stdout), &c); err != nil || c.Cache == nil {
		w.t.Fatalf("cache stats --json: %v", err)
	}
	return *c.Cache
}

func TestLogLevelChangesAtWork(t *testing.T) {
	w := newWorld(t)
	mnt := w.mount("local:store", "mnt")
	if o := w.must("log", "level"); o.stdout != "info\n" {
		t.Errorf("log level: %+v", o)
	}
	if o := w.must("log", "level", "debug", mnt); o.stdout != "debug\n" {
		t.Errorf("log level debug: %+v", o)
	}
	_, _ = os.Stat(mnt + "/something")
	if !strings.Contains(w.logs(), `"level":"DEBUG"`) {
		t.Errorf("nothing of level debug in the log:%s", w.logs())
	}
	if o := w.must("log", "level", "--json", mnt); o.stdout != fmt.Sprintf(`{"level":"debug","log":"%s/thawfs.log"}`+"\n", w.cacheOf("local:"+w.path("store"))) {
		t.Errorf("log level --json: %+v", o)
	}
	w.run("log", "level", "loud", mnt).want(t, exitUsage, "thawfs: \"loud\" is none of debug, info, warn, error.\nSee: thawfs log level --help")
}

func TestCommandsThatNeedAMount(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"flush"}, {"cache"}, {"log", "level"}} {
		w.run(args...).want(t, exitFailed, "thawfs: nothing is mounted.\nMount something first: thawfs mount SOURCE MOUNTPOINT")
	}
	a, b := w.mount("local:a", "mnt-a"), w.mount("local:b", "mnt-b")
	w.run("flush").want(t, exitUsage, "thawfs: 2 mounts are there: it is not clear which one is meant.\nName it, or a path in it: "+a+", "+b)
	cmd := w.command("flush")
	cmd.Dir = a
	if o := finish(t, cmd); o.code != 0 {
		t.Errorf("flush in a mount: %+v", o)
	}
}

func TestTopWatchesUntilTheMountEnds(t *testing.T) {
	w := newWorld(t)
	mnt := w.mount("local:store", "mnt")
	mustWrite(t, mnt+"/box/a", strings.Repeat("x", 100_000))
	tty := startOnTerminal(t, w.command("top", mnt))
	tty.expect("Uploads")
	tty.expect("none pending")
	w.must("umount", mnt)
	if code := tty.wait(); code != 0 {
		t.Errorf("top of a mount that ended: exit %d, %q", code, tty.text())
	}
	mnt = w.mount("local:store", "mnt")
	w.run("top", mnt).want(t, exitUsage, "thawfs: thawfs top needs a terminal.\nFor programs: thawfs status --json")
}
