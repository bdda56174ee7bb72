package fs

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// exceptions are the tests of go-fuse's suite that do not hold here, each with its reason.
// They are not run.
var exceptions = map[string]string{
	"Link":             "one key is one object: there are no hard links",
	"LinkUnlinkRename": "one key is one object: there are no hard links",
	"FcntlFlockLocksFile": "asks that one process conflicts with its own F_SETLK lock, which neither POSIX " +
		"nor a local file system does; see the locks of two processes in posixio_test.go",
}

// TestPosixSuite runs go-fuse's tests for file systems.
func TestPosixSuite(t *testing.T) {
	onBothPaths(t, func(t *testing.T, pass bool) {
		for name, test := range posixtest.All {
			if exceptions[name] != "" {
				continue
			}
			t.Run(name, func(t *testing.T) { test(t, mountPath(t, pass).dir) })
		}
	})
}

// onBothPaths runs a test with FUSE passthrough and without: the handle of a
// file serves reads and writes itself in the second case.
func onBothPaths(t *testing.T, test func(t *testing.T, pass bool)) {
	t.Run("passthrough", func(t *testing.T) { test(t, true) })
	t.Run("requests", func(t *testing.T) { test(t, false) })
}

// mountPath is mount for all users, with or without passthrough.
func mountPath(t testing.TB, pass bool, change ...func(*Options)) *mounted {
	m := mount(t, append(change, func(o *Options) { o.AllowOther = true })...)
	m.passthrough.Store(m.passthrough.Load() && pass)
	for dir := m.dir; dir != "/"; dir = filepath.Dir(dir) { // other users have to get there
		if fi, err := os.Stat(dir); err == nil && fi.Mode().Perm()&0o111 != 0o111 {
			must(t, os.Chmod(dir, fi.Mode().Perm()|0o111))
		}
	}
	return m
}

// A posix is one case of a table: a directory of its own that everybody may write to, and
// the words in which cases are told.
type posix struct {
	*testing.T
	m   *mounted // nil on a local disk
	dir string
}

// A posixCase is told on a mount and on a local disk: what fails there too is an error of
// the case.
type posixCase struct {
	name string
	run  func(p *posix)
}

func runPosix(t *testing.T, groups ...[]posixCase) {
	cases := slices.Concat(groups...)
	onBothPaths(t, func(t *testing.T, pass bool) { runCases(t, mountPath(t, pass), "", cases) })
	t.Run("local disk", func(t *testing.T) {
		dir := t.TempDir()
		must(t, errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)))
		runCases(t, nil, dir, cases)
	})
}

func runCases(t *testing.T, m *mounted, dir string, cases []posixCase) {
	if m != nil {
		dir = m.dir
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := &posix{T: t, m: m, dir: filepath.Join(dir, fmt.Sprint("case", i))}
			must(t, errors.Join(os.Mkdir(p.dir, 0o777), os.Chmod(p.dir, 0o777)))
			c.run(p)
		})
	}
}

// at is a path in the directory of the case, byte for byte.
func (p *posix) at(name string) string { return p.dir + "/" + name }

// want fails unless err is the errno wanted; 0 is success.
func (p *posix) want(err error, want syscall.Errno) {
	p.Helper()
	var got syscall.Errno
	if err != nil && !errors.As(err, &got) {
		p.Fatalf("%v is no errno", err)
	}
	if got != want {
		p.Errorf("got %v, want %v", name(got), name(want))
	}
}

func name(e syscall.Errno) string { return cmp.Or(unix.ErrnoName(e), "success") }

func (p *posix) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *posix) stat(name string) (st unix.Stat_t) {
	p.Helper()
	p.ok(unix.Lstat(p.at(name), &st))
	return st
}

// wantMode fails unless the permission bits of name are mode.
func (p *posix) wantMode(name string, mode uint32) {
	p.Helper()
	if got := p.stat(name).Mode & 0o7777; got != mode {
		p.Errorf("mode of %s is %04o, want %04o", name, got, mode)
	}
}

// file makes a file of mode and owner whatever the umask.
func (p *posix) file(name string, mode uint32, uid, gid int) {
	p.Helper()
	fd, err := unix.Open(p.at(name), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	p.ok(err)
	p.ok(unix.Close(fd))
	p.own(name, mode, uid, gid)
}

func (p *posix) mkdir(name string, mode uint32, uid, gid int) {
	p.Helper()
	p.ok(unix.Mkdir(p.at(name), 0o700))
	p.own(name, mode, uid, gid)
}

func (p *posix) own(name string, mode uint32, uid, gid int) {
	p.Helper()
	p.ok(unix.Lchown(p.at(name), uid, gid))
	p.ok(unix.Chmod(p.at(name), mode))
}

// tick waits until the clock that file systems take their times from has moved on.
func (p *posix) tick() time.Time {
	coarse := func() time.Time {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) // never fails
		return time.Unix(ts.Unix())
	}
	for start := time.Now(); !coarse().After(start); {
		time.Sleep(time.Millisecond)
	}
	return coarse()
}

func timeOf(ts unix.Timespec) time.Time { return time.Unix(ts.Unix()) }

// moves fails unless do moves the times of name that are in which (a, m, c) and no others.
func (p *posix) moves(name, which string, do func()) {
	p.Helper()
	before := p.stat(name)
	p.tick()
	do()
	p.wantMoved(name, which, before)
}

func (p *posix) wantMoved(name, which string, before unix.Stat_t) {
	p.Helper()
	after := p.stat(name)
	for _, tt := range []struct {
		what          string
		before, after unix.Timespec
	}{{"a", before.Atim, after.Atim}, {"m", before.Mtim, after.Mtim}, {"c", before.Ctim, after.Ctim}} {
		moved := timeOf(tt.after).After(timeOf(tt.before))
		if moved != strings.Contains(which, tt.what) {
			p.Errorf("%stime of %s: %v, was %v, want moved: %t", tt.what, name, timeOf(tt.after), timeOf(tt.before), !moved)
		}
	}
}
