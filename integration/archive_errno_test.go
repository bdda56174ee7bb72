package integration

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs/recall"
	"github.com/thawfs/thawfs/integration/servers"
)

const (
	rdonly   = syscall.O_RDONLY
	rdwr     = syscall.O_RDWR
	appends  = syscall.O_WRONLY | syscall.O_APPEND
	nonblock = syscall.O_NONBLOCK
)

// cold is what a small archived object holds.
var cold = strings.Repeat("cold bytes ", 1000)

// TestArchivedOpen is the table of what an open of an archived file answers, each row where
// nothing is ever restored; see TestArchivedWait for what is.
func TestArchivedOpen(t *testing.T) {
	onShelves(t, never, func(t *testing.T, s *shelf) {
		t.Run("begins a restore", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s)
			opens := map[string]int{"reader": rdonly, "writer": rdwr, "appender": appends}
			for key := range opens {
				m.freeze(key, []byte(cold))
			}
			for key, flags := range opens {
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() { m.wantOpen(key, flags, syscall.EAGAIN) })
				}
				wg.Wait()
				m.paidFor(key, 1)
				if got := m.xattr(key, "state"); got != "restoring" {
					t.Errorf("%s: state %q", key, got)
				}
			}
		})
		t.Run("waits no longer than it may", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, policy(recall.Options{Wait: 300 * time.Millisecond}))
			m.freeze("file", []byte(cold))
			began := time.Now()
			m.wantOpen("file", rdonly, syscall.EAGAIN)
			if took := time.Since(began); took < 300*time.Millisecond {
				t.Errorf("it waited %v", took)
			}
			m.paidFor("file", 1)
		})
		t.Run("O_NONBLOCK begins nothing", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, policy(recall.Options{Wait: time.Hour}))
			m.freeze("file", []byte(cold))
			for _, flags := range []int{rdonly, rdwr, appends} {
				m.wantOpen("file", flags|nonblock, syscall.EAGAIN)
			}
			m.unasked("file")
		})
		t.Run("explicit only", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, policy(recall.Options{Policy: recall.ExplicitOnly, Wait: time.Hour}))
			m.freeze("file", []byte(cold))
			m.wantOpen("file", rdonly, syscall.ENODATA)
			m.wantOpen("file", rdwr, syscall.ENODATA)
			m.unasked("file")
			must(t, m.setXattr("file", "restore", ""))
			m.paidFor("file", 1)
			m.wantOpen("file", rdonly, syscall.ENODATA)
		})
		t.Run("over the budget", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, policy(recall.Options{DayObjects: 1}))
			m.freeze("one", []byte(cold))
			m.freeze("two", []byte(cold))
			m.wantOpen("one", rdonly, syscall.EAGAIN)
			m.wantOpen("two", rdonly, syscall.EDQUOT)
			m.unasked("two")
			m.wantReason("two", "budget of 1 object", "thawfs restore --over-budget")
			if err := m.setXattr("two", "restore", ""); err != syscall.EDQUOT {
				t.Errorf("an explicit request over budget: %v", err)
			}
			must(t, m.setXattr("two", "restore", "over-budget"))
			m.paidFor("two", 1)
		})
		t.Run("over the budget of bytes", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, policy(recall.Options{DayBytes: int64(len(cold)) + 1}))
			m.freeze("one", []byte(cold))
			m.freeze("two", []byte(cold))
			m.wantOpen("one", rdonly, syscall.EAGAIN)
			m.wantOpen("two", rdonly, syscall.EDQUOT)
			m.unasked("two")
			m.wantReason("two", "bytes", "thawfs restore --over-budget")
		})
		t.Run("a storm", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, policy(recall.Options{Burst: 3, BurstWindow: time.Hour}))
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				m.freeze(key, []byte(cold))
			}
			for _, key := range []string{"a", "b", "c"} {
				m.wantOpen(key, rdonly, syscall.EAGAIN)
			}
			for _, key := range []string{"d", "e"} {
				m.wantOpen(key, rdonly, syscall.EDQUOT)
				m.unasked(key)
				m.wantReason(key, "3 restores", "thawfs restore")
			}
			if n := len(m.log.with("recalls refused")); n != 1 {
				t.Errorf("the storm was logged %d times", n)
			}
			must(t, m.setXattr("e", "restore", "tier=Bulk,days=2"))
			m.paidFor("e", 1)
		})
		t.Run("after a failure", func(t *testing.T) {
			t.Parallel()
			s := openShelf(t, never)
			m := mountCold(t, s)
			m.freeze("file", []byte(cold))
			s.jam(true)
			m.wantOpen("file", rdonly, syscall.EIO)
			s.jam(false)
			m.wantOpen("file", rdonly, syscall.EIO) // its back-off runs
			m.paidFor("file", 0)
			if got := m.xattr("file", "job"); got != "failed" {
				t.Errorf("job %q", got)
			}
			m.wantReason("file", "access denied")
			must(t, m.setXattr("file", "restore", "")) // a person need not wait for it
			m.paidFor("file", 1)
		})
	})
}

// openShelf is another shelf of the kind that the test is named for.
func openShelf(t *testing.T, takes time.Duration) *shelf {
	t.Helper()
	for _, k := range shelves {
		if strings.Contains(t.Name(), "/"+k.name+"/") {
			return k.open(t, takes)
		}
	}
	t.Fatalf("%s names no shelf", t.Name())
	return nil
}

// wantReason fails unless user.thawfs.error of a file says all of these words.
func (m *coldMount) wantReason(name string, words ...string) {
	m.t.Helper()
	reason := m.xattr(name, "error")
	for _, w := range words {
		if !strings.Contains(reason, w) {
			m.t.Errorf("%s: the reason is %q, which does not say %q", name, reason, w)
		}
	}
}

// TestArchivedWait is about opens that wait, and what else goes on meanwhile.
func TestArchivedWait(t *testing.T) {
	wait := policy(recall.Options{Wait: time.Hour})
	onShelves(t, 100*time.Millisecond, func(t *testing.T, s *shelf) {
		t.Run("until the bytes are there", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, wait)
			m.freeze("file", []byte(cold))
			for _, out := range together(
				func() string { return run(t, "/", "cat", m.path("file")) },
				func() string { return string(read(t, m.path("file"))) },
				func() string {
					return run(t, "/", "python3", "-c", "import sys; print(open(sys.argv[1]).read(), end='')", m.path("file"))
				},
			) {
				if out != cold {
					t.Errorf("read %d bytes, want %d: %.40q", len(out), len(cold), out)
				}
			}
			m.paidFor("file", 1)
			m.wantState("file", backend.Restored)
			if got, err := time.Parse(time.RFC3339, m.xattr("file", "until")); err != nil || time.Until(got) < 48*time.Hour {
				t.Errorf("readable until %v, %v", got, err)
			}
		})
		t.Run("to append", func(t *testing.T) {
			t.Parallel()
			m := mountCold(t, s, wait)
			m.freeze("file", []byte(cold))
			run(t, "/", "sh", "-c", "echo more >> "+m.path("file"))
			m.remount()
			if got := string(read(t, m.path("file"))); got != cold+"more\n" {
				t.Errorf("%d bytes, ending in %q", len(got), tail(got)[max(0, len(tail(got))-20):])
			}
		})
	})
}

// TestArchivedInterrupt sends the signals of a terminal to programs that wait.
func TestArchivedInterrupt(t *testing.T) {
	onShelves(t, never, func(t *testing.T, s *shelf) {
		m := mountCold(t, s, policy(recall.Options{Wait: time.Hour}))
		m.freeze("file", []byte(cold))
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			cat := m.waiting("cat", m.path("file"))
			began := time.Now()
			must(t, cat.Process.Signal(sig))
			err := cat.Wait()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%v: it left after %v", sig, took)
			}
			if ws := cat.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig {
				t.Errorf("%v: it ended as %v", sig, err)
			}
			if job, ok := m.Recall().Job(m.ref("file")); !ok || job.Phase != recall.Restoring {
				t.Errorf("%v: the job is %+v", sig, job)
			}
		}
		m.paidFor("file", 1)
	})
}

// waiting starts a program and returns when it waits for an object.
func (m *coldMount) waiting(name string, args ...string) *exec.Cmd {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), servers.Tool(m.t, name), args...)
	must(m.t, cmd.Start())
	must(m.t, until(m.t, func() bool {
		for _, job := range m.Recall().Jobs() {
			if job.Waiters > 0 {
				return true
			}
		}
		return false
	}))
	return cmd
}

// TestArchivedNotHeldUp: a program that waits for the bytes of a file is in nobody's way who
// does not need them.
func TestArchivedNotHeldUp(t *testing.T) {
	onShelves(t, never, func(t *testing.T, s *shelf) {
		for _, tt := range []struct {
			name string
			do   func(t *testing.T, m *coldMount)
		}{
			{"stat", func(t *testing.T, m *coldMount) { run(t, "/", "stat", m.path("file")) }},
			{"xattrs", func(t *testing.T, m *coldMount) { run(t, "/", "getfattr", "-n", "user.thawfs.state", m.path("file")) }},
			{"O_NONBLOCK", func(t *testing.T, m *coldMount) { m.wantOpen("file", nonblock, syscall.EAGAIN) }},
			{"chmod", func(t *testing.T, m *coldMount) { run(t, "/", "chmod", "600", m.path("file")) }},
			{"replace", func(t *testing.T, m *coldMount) { run(t, "/", "sh", "-c", "echo new > "+m.path("file")) }},
			{"rm", func(t *testing.T, m *coldMount) { run(t, "/", "rm", m.path("file")) }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				m := mountCold(t, s, policy(recall.Options{Wait: time.Hour}))
				m.freeze("file", []byte(cold))
				cat := m.waiting("cat", m.path("file"))
				done := make(chan struct{})
				go func() { defer close(done); tt.do(t, m) }()
				select {
				case <-done:
				case <-time.After(10 * time.Second):
					t.Error("it waits as well")
				}
				must(t, cat.Process.Kill())
				_ = cat.Wait() // killed
				<-done
			})
		}
	})
}

// TestArchivedNeedsNoBytes: what replaces or removes an archived object asks for nothing.
func TestArchivedNeedsNoBytes(t *testing.T) {
	onShelves(t, never, func(t *testing.T, s *shelf) {
		m := mountCold(t, s)
		keys := []string{"truncate", "O_TRUNC", "creat", "rm", "touch", "chmod", "mv", "dir/a", "dir/b", "cp"}
		for _, key := range keys {
			m.freeze(key, []byte(cold))
		}
		m.put("dir/online", []byte("online"), "")
		must(t, os.Truncate(m.path("truncate"), 0))
		m.wantOpen("O_TRUNC", syscall.O_WRONLY|syscall.O_TRUNC, 0)
		run(t, "/", "sh", "-c", "echo new > "+m.path("creat"))
		run(t, "/", "rm", m.path("rm"))
		run(t, "/", "touch", "-m", "-d", "2001-02-03 04:05:06 UTC", m.path("touch"))
		run(t, "/", "chmod", "600", m.path("chmod"))
		m.wantRename("mv", "moved")
		m.wantRename("dir", "other")
		run(t, "/", "cp", "/etc/hostname", m.path("cp"))
		for _, key := range keys {
			m.unasked(key)
		}
		for name, size := range map[string]int64{"truncate": 0, "O_TRUNC": 0, "creat": 4, "touch": int64(len(cold)), "mv": int64(len(cold)), "dir/a": int64(len(cold)), "dir/online": 6} {
			if fi, err := os.Stat(m.path(name)); err != nil || fi.Size() != size {
				t.Errorf("%s: %v, %v, want %d bytes", name, fi, err, size)
			}
		}
		for _, name := range []string{"rm", "moved", "other"} {
			if _, err := os.Lstat(m.path(name)); !os.IsNotExist(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if fi, err := os.Stat(m.path("touch")); err != nil || fi.ModTime().Unix() != 981173106 {
			t.Errorf("touch: %v, %v", fi.ModTime(), err)
		}
		if fi, err := os.Stat(m.path("chmod")); err != nil || fi.Mode() != 0o600 {
			t.Errorf("chmod: %v, %v", fi.Mode(), err)
		}
		for _, name := range []string{"touch", "chmod"} { // with their new attributes they are what they were
			if got := m.xattr(name, "state"); got != "archived" {
				t.Errorf("%s is %s", name, got)
			}
			m.wantOpen(name, rdonly, syscall.EAGAIN)
			m.paidFor(name, 1)
		}
		if got := run(t, "/", "cat", m.path("creat"), m.path("dir", "online")); got != "new\nonline" {
			t.Errorf("read %q", got)
		}
	})
}

// wantRename fails unless a rename is refused as archived.
func (m *coldMount) wantRename(from, to string) {
	m.t.Helper()
	if err := syscall.Rename(m.path(from), m.path(to)); err != syscall.EAGAIN {
		m.t.Errorf("rename(%s): %v, want EAGAIN", from, err)
	}
}

// together runs functions at once and returns their results.
func together[T any](fns ...func() T) []T {
	results := make([]T, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { results[i] = fn() })
	}
	wg.Wait()
	return results
}
