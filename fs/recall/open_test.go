package recall

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

func TestOpenBeginsARestore(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Fatalf("first open: %v, want ErrArchived", err)
		}
		j := w.wantPhase(ref, Restoring)
		if j.Tier != standard || j.Days != 3 || j.By != "/bin/cat" || j.UID != 1000 || j.Size != 10 || j.Foreign {
			t.Errorf("job is %+v", j)
		}
		if want := j.Since.Add(5 * time.Hour); !j.ETA.Equal(want) {
			t.Errorf("due at %v, want %v", j.ETA, want)
		}
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("second open: %v, want ErrArchived", err)
		}
		pass(restoreTime - time.Minute)
		w.wantPhase(ref, Restoring)
		pass(20 * time.Minute)
		w.wantPhase(ref, Restored)
		if got := w.told("a"); got != "restoring restored" {
			t.Errorf("Changed was told %q", got)
		}
		must(t, w.open(ref, obj)) // with what was known before
		pass(3 * day)
		if _, ok := w.Job(ref); ok {
			t.Error("the job outlives the copy")
		}
		if got := w.told("a"); got != "archived" {
			t.Errorf("Changed was told %q", got)
		}
		w.wantRestores(1)
	})
}

// An open asks the store again, so nobody waits for the poller to find out.
func TestOpenLooksForItself(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		time.Sleep(restoreTime - time.Second)
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open before: %v, want ErrArchived", err)
		}
		time.Sleep(6 * time.Second)
		must(t, w.open(ref, obj))
	})
}

func TestOpenOfWhatIsReadableMeanwhile(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		must(t, w.store.Restore(t.Context(), "a", backend.RestoreOptions{})) // another mount
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		if j := w.wantPhase(ref, Restoring); !j.Foreign || j.Tier != "" {
			t.Errorf("job is %+v, want one of somebody else", j)
		}
		pass(restoreTime + time.Hour)
		must(t, w.open(ref, obj))
		w.wantRestores(1) // theirs
		if b := w.Budget(); b.Objects != 0 {
			t.Errorf("it took %+v of the budget", b)
		}
	})
}

func TestOneRestoreForManyOpens(t *testing.T) {
	bubble(t, func(o *Options) { o.Wait = 5 * time.Hour }, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		var wg sync.WaitGroup
		errs := make([]error, 100)
		for i := range errs {
			wg.Go(func() { errs[i] = w.open(ref, obj) })
		}
		synctest.Wait()
		w.store.ResetCounts()
		wg.Wait()
		late := 0
		for _, err := range errs {
			if errors.Is(err, backend.ErrArchived) {
				late++
			} else if err != nil {
				t.Error(err)
			}
		}
		if late != 100-64 {
			t.Errorf("%d opens were sent away, want %d", late, 100-64)
		}
		w.wantRestores(0)
		if n := w.store.Count(backendtest.OpHead); n > 64*5 {
			t.Errorf("%d HEADs for one object", n)
		}
		w.wantPhase(ref, Restored)
	})
}

func TestOneRequestForOpensAtOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Delay: time.Second})
		w.store.ResetCounts()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
					t.Errorf("open: %v, want ErrArchived", err)
				}
			})
		}
		wg.Wait()
		w.wantRestores(1)
		if n := w.store.Count(backendtest.OpHead); n != 2 {
			t.Errorf("%d HEADs, want one before and one after", n)
		}
	})
}

func TestOpenWaits(t *testing.T) {
	for _, tt := range []struct {
		wait, interrupt time.Duration
		want            error
		within          time.Duration
	}{
		{wait: 5 * time.Hour, want: nil, within: restoreTime + time.Minute},
		{wait: time.Hour, want: backend.ErrArchived, within: time.Hour},
		{wait: time.Hour, interrupt: time.Minute, want: context.DeadlineExceeded, within: time.Minute},
	} {
		t.Run(fmt.Sprint(tt.wait, tt.interrupt), func(t *testing.T) {
			bubble(t, func(o *Options) { o.Wait = tt.wait }, func(t *testing.T, w *world) {
				ref, obj := w.archive("a", 10)
				ctx := t.Context()
				if tt.interrupt > 0 {
					ctx = cancelAfter(t, tt.interrupt)
				}
				began := time.Now()
				err := w.Open(ctx, ref, obj, Caller{Exe: "cat"})
				if !errors.Is(err, tt.want) {
					t.Errorf("open: %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("open took %v, want at most %v", took, tt.within)
				}
				pass(restoreTime + 15*time.Minute)
				w.wantPhase(ref, Restored) // the job lives on
				w.wantRestores(1)
				if w.waiting != 0 {
					t.Errorf("%d still wait", w.waiting)
				}
			})
		})
	}
}

func TestFewWait(t *testing.T) {
	const room = 64 // by default
	bubble(t, func(o *Options) { o.Wait, o.Burst = 5*time.Hour, -1 }, func(t *testing.T, w *world) {
		var late atomic.Int32
		var wg sync.WaitGroup
		for i := range room + 3 {
			ref, obj := w.archive(fmt.Sprint(i), 10)
			wg.Go(func() {
				if err := w.open(ref, obj); errors.Is(err, backend.ErrArchived) {
					late.Add(1)
				} else if err != nil {
					t.Errorf("open %d: %v", i, err)
				}
			})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.waiting != room || late.Load() != 3 {
			t.Errorf("%d wait and %d do not, want %d and 3", w.waiting, late.Load(), room)
		}
		wg.Wait()
		w.wantRestores(room + 3)
	})
}

// Who is told of what an open had waited for: not of the rest, and over a restart too.
func TestAwaitedIsTold(t *testing.T) {
	for _, tt := range []struct {
		name    string
		wait    time.Duration
		restart bool
		want    int
	}{
		{"nobody waited", 0, false, 0},
		{"somebody waited long enough", 5 * time.Hour, false, 1},
		{"somebody gave up", time.Hour, false, 1},
		{"somebody gave up, and thawfs was restarted", time.Hour, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told atomic.Int32
			change := func(o *Options) {
				o.Wait = tt.wait
				o.Awaited = func(ref backend.Ref, obj backend.Object) {
					if told.Add(1); obj.State != backend.Restored || ref.Key != "a" {
						t.Errorf("told of %v, which is %v", ref, obj.State)
					}
				}
			}
			bubble(t, change, func(t *testing.T, w *world) {
				ref, obj := w.archive("a", 10)
				_ = w.open(ref, obj) // TestOpenWaits says what it returns
				if tt.restart {
					w.restart()
				}
				pass(restoreTime + time.Hour)
				w.wantPhase(ref, Restored)
				w.restart() // which finds it readable, as it was
				pass(time.Hour)
				if n := int(told.Load()); n != tt.want {
					t.Errorf("told %d times, want %d", n, tt.want)
				}
			})
		})
	}
}

// An open that has seen the copy end is not told otherwise.
func TestOpenThatKnowsOfALapse(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj) // EAGAIN
		pass(restoreTime + time.Hour)
		if err := w.open(ref, w.head("a")); err != nil {
			t.Fatal(err)
		}
		must(t, w.store.Restore(t.Context(), "a", backend.RestoreOptions{Keep: time.Nanosecond}))
		pass(time.Second) // less than the manager believes what it has seen
		sent := w.restores()
		if err := w.open(ref, w.head("a")); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		w.wantRestores(sent + 1)
	})
}

// An open that is interrupted while the request is sent does not stop it.
func TestInterruptWhileSending(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Delay: 10 * time.Second})
		err := w.Open(cancelAfter(t, time.Second), ref, obj, Caller{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("open: %v, want the error of its context", err)
		}
		time.Sleep(10 * time.Second)
		w.wantPhase(ref, Restoring)
		w.wantRestores(1)
	})
}

func TestOpenWithoutBlocking(t *testing.T) {
	bubble(t, func(o *Options) { o.Wait = time.Hour }, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.ResetCounts()
		if err := w.Open(t.Context(), ref, obj, Caller{NonBlock: true}); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		if n := w.store.Count(""); n != 0 {
			t.Errorf("%d requests were made", n)
		}
	})
}

func TestExplicitPolicy(t *testing.T) {
	bubble(t, func(o *Options) { o.Policy, o.Wait = ExplicitOnly, time.Hour }, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.ResetCounts()
		if err := w.open(ref, obj); !errors.Is(err, ErrExplicit) {
			t.Errorf("open: %v, want ErrExplicit", err)
		}
		if n := w.store.Count(""); n != 0 {
			t.Errorf("%d requests were made", n)
		}
		_, err := w.Request(t.Context(), ref, obj, Explicit{})
		must(t, err)
		if err := w.open(ref, obj); !errors.Is(err, ErrExplicit) {
			t.Errorf("open while it is on its way: %v, want ErrExplicit", err)
		}
		time.Sleep(restoreTime)
		must(t, w.open(ref, obj))
		w.wantRestores(1)
	})
}

func TestOpenOfWhatIsGone(t *testing.T) {
	bubble(t, func(o *Options) { o.Wait = 5 * time.Hour }, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = w.open(ref, obj) })
		pass(time.Hour)
		must(t, w.store.Delete(t.Context(), "a"))
		wg.Wait()
		if !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("open: %v, want ErrNotExist", err)
		}
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("open: %v, want ErrNotExist", err)
		}
		if jobs := w.Jobs(); len(jobs) != 0 {
			t.Errorf("jobs: %+v", jobs)
		}
	})
}

func TestOpenOfAnotherVersion(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		pass(time.Hour)
		w.archive("a", 20)
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		if j := w.wantPhase(ref, Restoring); j.Size != 20 {
			t.Errorf("job is %+v", j)
		}
		w.wantRestores(2) // the new version was never asked for
	})
}

func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, restoreTime, func(o *Options) { o.Wait = time.Hour })
		ref, obj := w.archive("a", 10)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = w.open(ref, obj) })
		synctest.Wait()
		must(t, w.Close())
		wg.Wait()
		if !errors.Is(err, ErrClosed) {
			t.Errorf("open: %v, want ErrClosed", err)
		}
		if err := w.open(ref, obj); !errors.Is(err, ErrClosed) {
			t.Errorf("open of a closed manager: %v, want ErrClosed", err)
		}
		must(t, w.Close())
	})
}
