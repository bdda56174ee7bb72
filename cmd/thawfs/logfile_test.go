package main

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

func TestHangupReopensTheLog(t *testing.T) {
	w := newWorld(t)
	log := w.path("mount.log")
	mnt := w.mount("local:store", "mnt", "--log-file", log)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	kill(t, w.pid(mnt), unix.SIGHUP)
	eventually(t, "the log is there again", func() bool {
		b, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(b), `"msg":"log reopened"`)
	})
	w.must("umount", mnt)
	if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), `"msg":"ended"`) {
		t.Errorf("the end is not in the new log: %v", err)
	}
}

// TestSystemdIsTold has the service manager's end of sd_notify(3).
func TestSystemdIsTold(t *testing.T) {
	w := newWorld(t)
	path := w.path("notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // only read
	hear := func() string {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	mnt := w.mkdir("mnt")
	w.ends(mnt)
	cmd := w.command("mount", "--foreground", "local:store", mnt)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path)
	done := start(t, cmd)
	if got := hear(); got != "READY=1\nSTATUS=local:"+w.path("store")+" on "+mnt {
		t.Errorf("systemd was told %q", got)
	}
	if on, err := findMount(mnt); err != nil || on == nil {
		t.Errorf("ready, but the mount table has %v, %v", on, err)
	}
	kill(t, cmd.Process.Pid, unix.SIGTERM)
	if got := hear(); !strings.HasPrefix(got, "STOPPING=1\n") {
		t.Errorf("systemd was told %q", got)
	}
	if o := <-done; o.code != 0 {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
}

func TestRecordsInTheJournal(t *testing.T) {
	var text string
	var p journal.Priority
	var fields map[string]string
	level := new(slog.LevelVar)
	log := slog.New(&journalHandler{level: level, send: func(m string, at journal.Priority, f map[string]string) error {
		text, p, fields = m, at, f
		return nil
	}})
	log.With("op", "put").WithGroup("a").Warn("upload failed", "key", "photos/a b", "n", 5)
	if text != `upload failed op=put a.key="photos/a b" a.n=5` || p != journal.PriWarning {
		t.Errorf("message %q, priority %d", text, p)
	}
	if fields["THAWFS_A_KEY"] != "photos/a b" || fields["THAWFS_OP"] != "put" || fields["SYSLOG_IDENTIFIER"] != "thawfs" {
		t.Errorf("fields %v", fields)
	}
	text = ""
	log.Debug("single request")
	if text != "" {
		t.Errorf("%q at level info", text)
	}
}
