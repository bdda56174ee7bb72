package writeback

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func TestAStoreThatIsDownIsNotHammered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s, quiet)
		w.Start()
		s.setFail(func(string, string, bool) error { return backend.ErrUnavailable })
		const files = 2000
		for i := range files {
			w.ok(w.Put(ref(fmt.Sprint("k", i)), []byte("x"), attrsOf("1"), backend.Object{}))
		}
		time.Sleep(time.Hour)
		if n := s.total(); n > 200 {
			t.Errorf("%d requests in an hour for %d files", n, files)
		}
		if st := w.Stats(); st.Pending != files || !st.Down || st.Failed == 0 {
			t.Errorf("Stats = %+v", st)
		}
		s.setFail(nil)
		time.Sleep(3 * time.Minute)
		if n := s.count("put"); len(s.all()) != files || n > files+200 {
			t.Errorf("%d of %d files in the store after %d requests", len(s.all()), files, n)
		}
		w.close()
	})
}

func TestAnErrorThatStaysIsToldAndRetried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		var denied atomic.Bool
		denied.Store(true)
		s.setFail(func(_, key string, _ bool) error {
			if denied.Load() && strings.HasPrefix(key, "no/") {
				return backend.ErrPermission
			}
			return nil
		})
		f := w.write("no/file", "kept")
		for range 2 {
			if err := f.Sync(t.Context()); !errors.Is(err, backend.ErrPermission) {
				t.Errorf("Sync = %v, want ErrPermission", err)
			}
		}
		w.ok(f.Close())
		w.save("yes", "sent")
		if err := w.Drain(t.Context()); !errors.Is(err, backend.ErrPermission) || !strings.Contains(err.Error(), "no/file") {
			t.Errorf("Drain = %v, want it to name no/file", err)
		}
		w.holds(map[string]string{"yes": "sent"})
		if p := w.Pending(); len(p) != 1 || p[0].Err == nil {
			t.Errorf("Pending = %+v", p)
		}
		n := s.total()
		time.Sleep(30 * time.Minute)
		if d := s.total() - n; d < 3 || d > 12 {
			t.Errorf("%d attempts in half an hour", d)
		}
		denied.Store(false)
		w.ok(w.WaitBelow(t.Context(), "b", "no/"))
		w.holds(map[string]string{"yes": "sent", "no/file": "kept"})
		w.close()
	})
}

func TestWritersWaitForRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s, func(o *Options) { o.Capacity = 1000; o.Delay = time.Hour })
		w.Start()
		for i := range 4 { // the last has to wait for the first to be sent, long before their time
			w.save(fmt.Sprint("k", i), text(byte(i), 300))
		}
		if d := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); d > 10*time.Second {
			t.Errorf("it took %v", d)
		}
		s.setFail(func(string, string, bool) error { return backend.ErrUnavailable })
		time.Sleep(time.Second)
		begin := time.Now()
		f, err := w.OpenFile(ref("big"), OpenOptions{})
		w.ok(err)
		_, err = f.WriteAt([]byte(text(1, 900)), 0)
		for off := int64(900); err == nil; off += 300 {
			_, err = f.WriteAt([]byte(text(1, 300)), off)
		}
		if d := time.Since(begin); !errors.Is(err, ErrFull) || d < 9*time.Second || d > 25*time.Second {
			t.Errorf("WriteAt = %v after %v, want ErrFull after about ten seconds", err, d)
		}
		w.ok(w.Delete(ref("big"), backend.Object{}))
		w.ok(f.Close())
		f, err = w.OpenFile(ref("small"), OpenOptions{})
		w.ok(err)
		w.ok(f.Close())
		s.setFail(nil)
		w.drain()
		if st := w.Stats(); st.Staged != 0 {
			t.Errorf("%d bytes staged in the end", st.Staged)
		}
		w.close()
	})
}

func TestTheKernelFillingTheCacheStopsNewWriters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf(), func(o *Options) { o.Capacity = 1000 })
		w.Start()
		f, err := w.OpenFile(ref("big"), OpenOptions{})
		w.ok(err)
		pwrite(t, w.kernel(f), text(1, 1200), 0)
		time.Sleep(time.Second)
		if _, err := w.OpenFile(ref("other"), OpenOptions{}); !errors.Is(err, ErrFull) {
			t.Errorf("OpenFile = %v, want ErrFull", err)
		}
		w.ok(f.Commit(attrsOf("1")))
		w.ok(f.Close())
		o, err := w.OpenFile(ref("other"), OpenOptions{})
		w.ok(err)
		w.ok(o.Close())
		w.close()
	})
}

func TestTheDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	w := openIn(t, dir, newShelf())
	_, err := New(w.o)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("New = %v, want ErrLocked with the pid", err)
	}
	info, err := os.Stat(w.o.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	w.close()
	again := openIn(t, dir, newShelf())
	again.close()
}

// otherBoot makes the journal one of an earlier run of the kernel: power was lost.
func otherBoot(t *testing.T, dir string, synced bool) {
	t.Helper()
	if damage := rewriteBoot(t, filepath.Join(dir, "wb"), synced); len(damage) > 0 {
		t.Fatal(damage)
	}
}

// rewriteBoot is otherBoot for the queue in the directory wb. Damaged lines are left out.
func rewriteBoot(t *testing.T, wb string, synced bool) (damage []string) {
	t.Helper()
	path := filepath.Join(wb, "journal")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, damage := readLines(data)
	var out []byte
	for _, l := range lines {
		for i := range l.recs {
			if l.recs[i].Boot != "" {
				l.recs[i].Boot = "another"
			}
			if !synced {
				l.recs[i].Synced = 0
			}
		}
		out = appendLine(out, l.seq, l.recs)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return damage
}

// TestPowerLoss lets staged files be what the disk may hold after a loss of power.
func TestPowerLoss(t *testing.T) {
	long := text(1, 1000) // has its checksum from the group commit
	for _, tt := range []struct {
		name   string
		data   string
		synced bool
		damage func(path string) error
		want   string // "" if it must not be sent
		// named says that it stays pending, with an error, for its user to look at.
		named bool
	}{
		{"small, synced, whole", "data", true, nil, "data", false},
		{"small, not synced, whole", "data", false, nil, "data", false},
		{"small, not synced, cut", "data", false, func(p string) error { return os.Truncate(p, 2) }, "", false},
		{"small, not synced, zeros", "data", false, func(p string) error { return os.WriteFile(p, make([]byte, 4), 0o600) }, "", false},
		{"small, not synced, gone", "data", false, os.Remove, "", false},
		{"long, synced, whole", long, true, nil, long, false},
		{"long, synced, appended to", long, true, func(p string) error { return os.WriteFile(p, []byte(long+"more"), 0o600) }, long, false},
		{"long, not synced, whole", long, false, nil, long, false},
		{"long, not synced, zeros", long, false, func(p string) error { return os.WriteFile(p, make([]byte, 1000), 0o600) }, "", false},
		{"long, synced, rewritten in part", long, true, func(p string) error { return os.WriteFile(p, []byte("new"+long[3:]), 0o600) }, "", true},
		{"long, synced, half of something longer", long, true, func(p string) error { return os.WriteFile(p, []byte(text(2, 1500)), 0o600) }, "", false},
		{"small, synced, appended to", "data", true, func(p string) error { return os.WriteFile(p, []byte("data+"), 0o600) }, "data", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				w := openIn(t, dir, newShelf())
				w.save("k", tt.data)
				w.ok(w.syncNow())
				path := w.stagedPath(1)
				w.crash()
				otherBoot(t, dir, tt.synced)
				if tt.damage != nil {
					w.ok(tt.damage(path))
				}
				w = openIn(t, dir, newShelf())
				w.Start()
				if err := w.Drain(t.Context()); tt.named != errors.Is(err, backend.ErrCorrupt) || !tt.named && err != nil {
					t.Errorf("Drain = %v", err)
				}
				if tt.want != "" {
					w.holds(map[string]string{"k": tt.want})
				} else {
					w.holds(nil)
					if _, err := os.Stat(path); tt.named != (err == nil) {
						t.Errorf("staging: %v", err)
					}
				}
				w.close()
			})
		})
	}
}

// TestASyncCoversWhatWasSynced has a change come while a sync is under way: the line of it is
// written with that sync, its content is not.
func TestASyncCoversWhatWasSynced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := open(t, newShelf(), quiet)
		w.save("first", "1")
		w.ok(w.syncNow())
		w.save("second", "2")
		late := w.j.last()
		w.Queue.syncing <- struct{}{} // as if a sync had begun before
		if w.Queue.synced >= late {
			t.Errorf("a sync up to line %d covers line %d", w.Queue.synced, late)
		}
		<-w.Queue.syncing
		w.ok(w.j.flush(late))
		if _, err := w.j.sync(); err != nil { // somebody else's
			t.Error(err)
		}
		w.ok(w.syncNow())
		w.Queue.mu.Lock()
		left := len(w.unsynced)
		w.Queue.mu.Unlock()
		if left > 0 || w.Queue.synced < late {
			t.Errorf("%d files are not synced; line %d of %d is", left, w.Queue.synced, late)
		}
		w.close()
	})
}

// TestPowerLossOfAFileChangedInPlace goes on writing a sparse file after its last Commit, and
// loses that with the power: the line of the journal arrived, the bytes did not.
func TestPowerLossOfAFileChangedInPlace(t *testing.T) {
	for _, tt := range []struct {
		name   string
		off    int64
		synced bool // the group commit came before power was lost
		want   string
		kept   int // files in lost+found
	}{
		{"elsewhere", 300, false, "first", 0},
		{"elsewhere, on the disk", 300, true, "first and second", 0},
		{"over what was committed", 98, false, "", 2},
		{"over what was committed, on the disk", 98, true, "first and second", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir, s := t.TempDir(), newShelf()
				data := []byte(text(3, 500))
				base := s.plant("k", string(data), nil)
				w := openIn(t, dir, s, quiet)
				f := w.edit(base)
				write := func(what string, off int64) {
					_, err := f.WriteAt([]byte(what), off)
					w.ok(err)
					if strings.Contains(tt.want, what) {
						copy(data[off:], what)
					}
				}
				write("first", 100)
				w.ok(f.Commit(attrsOf("1")))
				w.ok(w.syncNow())
				write("second", tt.off)
				if tt.synced {
					time.Sleep(3 * time.Second) // the group commit
				}
				path := w.stagedPath(1)
				w.crash()
				otherBoot(t, dir, true)
				if !tt.synced {
					fd, err := os.OpenFile(path, os.O_WRONLY, 0)
					w.ok(err)
					_, err = fd.WriteAt(make([]byte, 6), tt.off)
					w.ok(errors.Join(err, fd.Close()))
				}
				w = openIn(t, dir, s, quiet)
				w.Start()
				w.drain()
				w.holds(map[string]string{"k": string(data)})
				if n := w.lost(); n != tt.kept {
					t.Errorf("%d files in lost+found, want %d", n, tt.kept)
				}
				w.close()
			})
		})
	}
}

// TestAFileThatTheStoreHasIsNotMissed loses a staged file that was handed over, and the
// line of the journal that said so.
func TestAFileThatTheStoreHasIsNotMissed(t *testing.T) {
	for _, stored := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := newShelf()
			dir := t.TempDir()
			w := openIn(t, dir, s)
			w.save("k", "data")
			w.crash()
			w.ok(os.Remove(w.stagedPath(1)))
			if stored {
				s.plant("k", "data", map[string]string{"mtime": "data"})
			}
			w = openIn(t, dir, s)
			w.Start()
			err := w.Drain(t.Context())
			if stored != (err == nil) {
				t.Errorf("stored %v: Drain = %v", stored, err)
			}
			if n := len(w.Pending()); stored != (n == 0) {
				t.Errorf("stored %v: %d pending", stored, n)
			}
			w.close()
		})
	}
}

// TestSecretsAndContentStayOutOfTheLog checks what a conflict, the noisiest event, says.
func TestSecretsAndContentStayOutOfTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		w := open(t, newShelf(), func(o *Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		w.Start()
		base := w.shelf.plant("k", "base", nil)
		w.shelf.plant("k", "theirs", nil)
		w.over(base, "CONTENT")
		w.drain()
		if strings.Contains(log.String(), "CONTENT") || !strings.Contains(log.String(), "conflict") {
			t.Errorf("log: %s", log.String())
		}
		w.close()
	})
}

func TestConflictNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		key  string
		n    int
		want string
	}{
		{"report.txt", 1, "report.conflict-h-20260102T150405.txt"},
		{"a.b/report", 2, "a.b/report.conflict-h-20260102T150405-2"},
		{".bashrc", 1, ".bashrc.conflict-h-20260102T150405"},
		{"d/x.tar.gz", 1, "d/x.tar.conflict-h-20260102T150405.gz"},
		{strings.Repeat("ä", 127) + ".jpg", 1, strings.Repeat("ä", 112) + ".conflict-h-20260102T150405.jpg"},
	} {
		got := conflictKey(tt.key, "h", at, tt.n)
		if got != tt.want || len(got[strings.LastIndex(got, "/")+1:]) > 255 {
			t.Errorf("conflictKey(%q, %d) = %q, want %q", tt.key, tt.n, got, tt.want)
		}
	}
}

func TestAStoreWithoutConditionsIsAskedFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		s.plain = true
		w := open(t, s)
		w.Start()
		base := s.plant("k", "base", nil)
		w.over(base, "mine")
		w.drain()
		w.holds(map[string]string{"k": "mine"})
		base = s.all()["k"].Object
		s.plant("k", "theirs", nil)
		w.Queue.mu.Lock()
		clear(w.Queue.recent) // as if it were long ago
		w.Queue.mu.Unlock()
		w.over(base, "again")
		w.drain()
		if len(s.all()) != 2 || string(s.all()["k"].data) != "theirs" {
			t.Errorf("the store holds %v", s.objects)
		}
		w.close()
	})
}
