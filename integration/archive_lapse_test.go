package integration

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
)

// TestArchivedLapse ends the restored copy of a file that is open. Readers may then be told to
// come back, by ETIMEDOUT and never by EAGAIN, or wait; they get no other bytes than the right
// ones.
func TestArchivedLapse(t *testing.T) {
	for name, wait := range map[string]time.Duration{"come back": 0, "wait": time.Hour} {
		t.Run(name, func(t *testing.T) {
			onShelves(t, 50*time.Millisecond, func(t *testing.T, s *shelf) {
				m := mountCold(t, s, policy(recall.Options{Wait: wait}))
				content := noise(5, 100_000)
				ref := m.freeze("file", content)
				must(t, m.setXattr("file", "restore", ""))
				m.wantJob("file", recall.Restored)
				fd, err := open(m.path("file"), rdonly)
				must(t, err)
				defer func() { _ = syscall.Close(fd) }() // only read
				s.lapse(t, ref)
				buf := make([]byte, len(content)+1)
				errs := map[error]int{}
				must(t, until(t, func() bool {
					n, err := syscall.Pread(fd, buf, 0)
					if errs[err]++; err == nil && string(buf[:n]) != string(content) {
						t.Fatalf("read %d other bytes", n)
					}
					return err == nil
				}))
				for err := range errs {
					if err != nil && err != syscall.ETIMEDOUT && err != syscall.EINTR {
						t.Errorf("read: %v, %d times", err, errs[err])
					}
				}
				if wait == 0 && errs[syscall.ETIMEDOUT] == 0 {
					t.Error("the read did not notice that the copy had ended")
				}
				if got := s.paid(ref); got < 2 {
					t.Errorf("%d restores were paid for, want another one", got)
				}
			})
		})
	}
}

// TestArchivedLapseClosed ends the copy of a file that nobody has open: EAGAIN at open again.
func TestArchivedLapseClosed(t *testing.T) {
	onShelves(t, 50*time.Millisecond, func(t *testing.T, s *shelf) {
		m := mountCold(t, s, func(o *fs.Options) { o.TTL = 100 * time.Millisecond })
		ref := m.freeze("file", []byte(cold))
		must(t, m.setXattr("file", "restore", ""))
		m.wantJob("file", recall.Restored)
		s.lapse(t, ref)
		m.wantState("file", backend.Archived)
		m.wantOpen("file", rdonly, syscall.EAGAIN)
		must(t, until(t, func() bool {
			fd, err := open(m.path("file"), rdonly)
			if err == nil {
				must(t, syscall.Close(fd))
			} else if !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("open: %v", err)
			}
			return err == nil
		}))
		if got := string(read(t, m.path("file"))); got != cold {
			t.Errorf("read %d bytes", len(got))
		}
		m.paidFor("file", 2)
	})
}

// TestArchivedTwoMounts has two mounts of one bucket want the same object.
func TestArchivedTwoMounts(t *testing.T) {
	onShelves(t, 3*time.Second, func(t *testing.T, s *shelf) {
		short := func(o *fs.Options) { o.TTL = 100 * time.Millisecond }
		one, two := mountCold(t, s, short), mountCold(t, s, short)
		one.freeze("file", []byte(cold))
		one.freeze("race", []byte(cold))
		one.wantOpen("file", rdonly, syscall.EAGAIN)
		two.wantOpen("file", rdonly, syscall.EAGAIN)
		if got := two.xattr("file", "job"); got != "restoring" {
			t.Errorf("the other's restore is shown as %q", got)
		}
		one.paidFor("file", 1)
		if s.double != nil { // at the same moment: the loser is told that it is in progress
			both := func(m *coldMount) func() bool {
				return func() bool { m.wantOpen("race", rdonly, syscall.EAGAIN); return true }
			}
			together(both(one), both(two))
			one.paidFor("race", 1)
		}
		for _, m := range []*coldMount{one, two} {
			m.wantState("file", backend.Restored)
			if got := string(read(t, m.path("file"))); got != cold {
				t.Errorf("read %d bytes", len(got))
			}
		}
		one.paidFor("file", 1)
	})
}
