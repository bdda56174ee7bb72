package recall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

// A mortal is a store that is cut off from its Manager at a given moment, as by kill -9: in
// the midst of what it does before a request leaves, or after its answer came. The journal
// is kept as it was at that moment. Between two requests the journal only changes at once,
// so these moments show every pair of journal and store that there is.
type mortal struct {
	*backendtest.Faulty
	path string // the journal; its copy is path.left

	mu   sync.Mutex
	left int // moments to live
	dead bool
}

func (s *mortal) moment() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left == 0 {
		s.dead = true
		b, err := os.ReadFile(s.path)
		if err == nil {
			err = os.WriteFile(s.path+".left", b, 0o600)
		}
		if err != nil {
			panic(err)
		}
	}
	if s.dead {
		return &backend.Error{Op: "any", Err: backend.ErrUnavailable}
	}
	return nil
}

func (s *mortal) Head(ctx context.Context, key string) (backend.Object, error) {
	if err := s.moment(); err != nil {
		return backend.Object{}, err
	}
	obj, err := s.Faulty.Head(ctx, key)
	return obj, errors.Join(err, s.moment())
}

func (s *mortal) Restore(ctx context.Context, key string, o backend.RestoreOptions) error {
	if err := s.moment(); err != nil {
		return err
	}
	return errors.Join(s.Faulty.Restore(ctx, key, o), s.moment())
}

// crashAfter runs do, kills the Manager after so many moments and begins another one with
// what was left. It reports whether it came to that.
func (w *world) crashAfter(moments int, do func(t *testing.T, w *world)) bool {
	w.t.Helper()
	must(w.t, w.Close())
	s := &mortal{Faulty: w.store, path: w.o.Path, left: moments}
	open := w.o.Open
	w.o.Open = func(context.Context, string) (backend.Store, error) { return s, nil }
	w.start()
	do(w.t, w)
	must(w.t, w.Close())
	if s.dead {
		w.o.Path = filepath.Join(w.t.TempDir(), "left.db")
		must(w.t, os.Rename(s.path+".left", w.o.Path))
	}
	w.o.Open = open
	w.start()
	synctest.Wait()
	return s.dead
}

func TestCrashAtEveryMoment(t *testing.T) {
	for _, tt := range []struct {
		name    string
		objects int
		do      func(t *testing.T, w *world)
	}{
		{"open", 1, func(t *testing.T, w *world) {
			_ = w.open(backend.Ref{Bucket: bucket, Key: "dir/0000"}, w.head("dir/0000"))
			pass(3 * time.Minute)
		}},
		{"request", 1, func(t *testing.T, w *world) {
			_, _ = w.Request(t.Context(), backend.Ref{Bucket: bucket, Key: "dir/0000"}, w.head("dir/0000"), Explicit{Tier: bulk, Days: 5})
			pass(3 * time.Minute)
		}},
		{"tree", 3, func(t *testing.T, w *world) {
			_, _ = w.Batch(t.Context(), w.Tree(t.Context(), bucket, ""), BatchOptions{Parallel: 1})
			pass(3 * time.Minute)
		}},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, again), func(t *testing.T) {
				moments := 1
				for dead := true; dead; moments++ {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t, time.Minute, nil) // short, for there to be few moments
						defer func() { must(t, w.Close()) }()
						dead = crash(t, w, moments, tt.objects, again, tt.do)
					})
				}
				if moments < 6 {
					t.Errorf("it lived for %d moments only", moments)
				}
			})
		}
	}
}

// crash tries one moment. If again is set the user repeats what was cut short.
func crash(t *testing.T, w *world, moments, objects int, again bool, do func(t *testing.T, w *world)) bool {
	w.archiveMany(objects)
	dead := w.crashAfter(moments, do)
	pass(time.Hour)
	if again {
		do(t, w)
	}
	pass(time.Hour)
	readable := 0
	for i := range objects {
		if w.head(fmt.Sprintf("dir/%04d", i)).State.Readable() {
			readable++
		}
	}
	if n := w.restores(); n != readable {
		t.Errorf("killed at moment %d: %d restores were sent, %d objects are back", moments, n, readable)
	}
	if again && readable != objects {
		t.Errorf("killed at moment %d: %d objects of %d are back", moments, readable, objects)
	}
	if b := w.Budget(); b.Objects != readable {
		t.Errorf("killed at moment %d: the budget says %d, want %d", moments, b.Objects, readable)
	}
	for _, j := range w.Jobs() {
		if j.Phase != Restored || j.Foreign {
			t.Errorf("killed at moment %d: job is %+v", moments, j)
		}
	}
	return dead
}

// Two mounts: what the other one began is seen, and paid for once.
func TestTwoManagers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		o := w.o
		o.Path += ".other"
		other, err := New(o)
		must(t, err)
		defer func() { must(t, other.Close()) }()
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		if err := other.Open(t.Context(), ref, obj, Caller{}); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		if j, _ := other.Job(ref); j.Phase != Restoring || !j.Foreign {
			t.Errorf("job of the other is %+v", j)
		}
		pass(restoreTime + 15*time.Minute)
		for _, m := range []*Manager{w.Manager, other} {
			if j, _ := m.Job(ref); j.Phase != Restored {
				t.Errorf("job is %+v", j)
			}
		}
		w.wantRestores(1)
	})
}

func TestJournalIsOpenOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		if m, err := New(w.o); err == nil {
			must(t, m.Close())
			t.Error("two managers have one journal open")
		}
	})
}

func TestDamagedJournal(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		must(t, w.Close())
		must(t, os.WriteFile(w.o.Path, make([]byte, 100<<10), 0o600))
		w.start()
		if w.lines("put aside") != 1 {
			t.Errorf("log:\n%s", w.log.String())
		}
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		w.wantRestores(1) // the store knows
	})
}

// Jobs that ended while nobody looked are ended, not begun again.
func TestAdoptionAfterALongTime(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		must(t, w.Close())
		pass(30 * day)
		w.start()
		pass(time.Minute)
		if _, ok := w.Job(ref); ok {
			t.Errorf("jobs: %+v", w.Jobs())
		}
		w.wantRestores(1)
	})
}

// A disk that is full stops recalls: what is not journalled is not sent.
// The clock may have been set while thawfs was not running: what the journal says of times then
// lies far ahead or back, and the store decides all the same.
func TestJournalOfAnotherClock(t *testing.T) {
	for _, shift := range []time.Duration{10 * day, -10 * day} {
		t.Run(shift.String(), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, w *world) {
				ref, obj := w.archive("coming", 10)
				bad, badObj := w.archive("failed", 10)
				_ = w.open(ref, obj) // EAGAIN
				w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: backend.ErrPermission, Times: 1})
				if err := w.open(bad, badObj); !errors.Is(err, ErrFailed) {
					t.Fatalf("open: %v, want ErrFailed", err)
				}
				must(t, w.Close())
				w.shiftJournal(shift)
				w.start()
				if shift > 0 {
					if err := w.open(bad, badObj); !errors.Is(err, ErrFailed) {
						t.Errorf("in the back-off: %v, want ErrFailed", err)
					}
				}
				pass(restoreTime + 15*time.Minute)
				w.wantPhase(ref, Restored)
				if err := w.open(ref, w.head("coming")); err != nil {
					t.Errorf("restored: %v", err)
				}
				w.wantRestores(2) // one of them failed
				if err := w.open(bad, badObj); !errors.Is(err, backend.ErrArchived) {
					t.Errorf("after the back-off: %v, want ErrArchived", err)
				}
				w.wantRestores(3)
			})
		})
	}
}

// shiftJournal moves all times of jobs in the journal of a closed Manager.
func (w *world) shiftJournal(by time.Duration) {
	w.t.Helper()
	j, err := openJournal(w.o.Path, false, w.o.Log)
	must(w.t, err)
	all := map[backend.Ref]record{}
	must(w.t, j.load(func(ref backend.Ref, r record) { all[ref] = r }, func(string, spent) {}))
	for ref, r := range all {
		for _, at := range []*time.Time{&r.Since, &r.Until, &r.RetryAt} {
			if !at.IsZero() {
				*at = at.Add(by)
			}
		}
		j.putJob(ref, r)
	}
	must(w.t, j.Close())
}

func TestNothingIsSentThatIsNotJournalled(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		synctest.Wait() // the poller reads the journal, too
		must(t, w.journal.db.Close())
		if err := w.open(ref, obj); !errors.Is(err, ErrFailed) {
			t.Errorf("open: %v, want ErrFailed", err)
		}
		w.wantRestores(0)
		if b := w.Budget(); b.Objects != 0 {
			t.Errorf("budget is %+v", b)
		}
		synctest.Wait()
		must(t, errors.Join(w.reopen()))
	})
}

// reopen repairs the journal that a test has broken.
func (w *world) reopen() (err error) {
	w.journal.db, err = openFile(w.o.Path, false)
	return err
}
