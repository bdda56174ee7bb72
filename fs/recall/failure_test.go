package recall

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

func TestFailureBacksOff(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: backend.ErrPermission, Times: 2})
		if err := w.open(ref, obj); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "access denied") || errors.Is(err, backend.ErrPermission) {
			t.Errorf("open: %v, want ErrFailed alone, with the reason in words", err)
		}
		w.store.ResetCounts()
		if err := w.open(ref, obj); !errors.Is(err, ErrFailed) || w.store.Count("") != 0 {
			t.Errorf("second open: %v after %d requests, want ErrFailed and none", err, w.store.Count(""))
		}
		if j := w.wantPhase(ref, Failed); time.Until(j.RetryAt) != time.Minute || !strings.Contains(j.Err, "access denied") {
			t.Errorf("job is %+v", j)
		}
		w.restart()
		if err := w.open(ref, obj); !errors.Is(err, ErrFailed) {
			t.Errorf("open after a restart: %v, want ErrFailed", err)
		}
		time.Sleep(time.Minute)
		_ = w.open(ref, obj) // fails again
		if j := w.wantPhase(ref, Failed); time.Until(j.RetryAt) != 2*time.Minute {
			t.Errorf("job is %+v, want it to back off for longer", j)
		}
		_, err := w.Request(t.Context(), ref, obj, Explicit{}) // does not wait
		must(t, err)
		w.wantPhase(ref, Restoring)
		w.wantRestores(2) // since ResetCounts
	})
}

func TestFailuresAreForgotten(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: backend.ErrInvalid})
		_ = w.open(ref, obj)
		pass(25 * time.Hour)
		if jobs := w.Jobs(); len(jobs) != 0 {
			t.Errorf("jobs: %+v", jobs)
		}
		w.restart()
		if jobs := w.Jobs(); len(jobs) != 0 {
			t.Errorf("jobs after a restart: %+v", jobs)
		}
	})
}

// An answer that got lost is no failure: the store is asked what it did.
func TestLostAnswer(t *testing.T) {
	for _, err := range []error{backend.ErrUnavailable, context.DeadlineExceeded, backend.ErrPermission} {
		bubble(t, nil, func(t *testing.T, w *world) {
			ref, obj := w.archive("a", 10)
			w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: err, Late: true})
			if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
				t.Errorf("open: %v, want ErrArchived", err)
			}
			pass(restoreTime + time.Hour)
			w.wantPhase(ref, Restored)
			w.wantRestores(1)
		})
	}
}

// When neither the request nor the question after it is answered, the poller finds out.
func TestStoreGoesAwayWhileAsking(t *testing.T) {
	for _, late := range []bool{false, true} {
		bubble(t, nil, func(t *testing.T, w *world) {
			ref, obj := w.archive("a", 10)
			w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Late: late})
			w.store.Inject(backendtest.Fault{Op: backendtest.OpHead, Skip: 1, Times: 5})
			if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
				t.Errorf("open: %v, want ErrArchived", err)
			}
			w.wantPhase(ref, Asked)
			pass(10 * time.Minute)
			w.wantPhase(ref, Restoring)
			pass(restoreTime + time.Hour)
			w.wantPhase(ref, Restored)
			if late {
				w.wantRestores(1)
			} else {
				w.wantRestores(2) // the first certainly did not arrive
			}
			if b := w.Budget(); b.Objects != 1 {
				t.Errorf("budget is %+v, want one object", b)
			}
		})
	}
}

func TestStoreIsAway(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpHead})
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("open: %v, want ErrUnavailable", err)
		}
		if jobs := w.Jobs(); len(jobs) != 0 {
			t.Errorf("jobs: %+v", jobs)
		}
		_ = w.open(ref, obj)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpHead, Times: -1})
		pass(8 * time.Hour)
		if j := w.wantPhase(ref, Restoring); j.Err == "" {
			t.Error("the job does not say that the store is away")
		}
		if n := w.store.Count(backendtest.OpHead); n > 200 {
			t.Errorf("%d HEADs while the store was away", n)
		}
		w.store.Heal()
		pass(15 * time.Minute)
		if j := w.wantPhase(ref, Restored); j.Err != "" {
			t.Errorf("the job still says %q", j.Err)
		}
	})
}

func TestExpeditedHasNoRoom(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: backend.ErrUnavailable})
		_, err := w.Request(t.Context(), ref, obj, Explicit{Tier: expedited})
		if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "another tier") {
			t.Errorf("request: %v, want ErrFailed that tells what to do", err)
		}
		w.wantRestores(1) // no silent fall back
	})
}

func TestTierThatDoesNotExist(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.put("a", deepArchive, 10)
		_, err := w.Request(t.Context(), ref, obj, Explicit{Tier: expedited})
		if !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), standard) {
			t.Errorf("request: %v, want ErrInvalid that tells what there is", err)
		}
		w.wantRestores(0)
		if len(w.Jobs()) != 0 {
			t.Errorf("jobs: %+v", w.Jobs())
		}
	})
}

// shelf is a store whose states a test decides.
type shelf struct {
	*backendtest.Faulty
	mu    sync.Mutex
	state func(backend.Object) backend.Object // of Head; nil leaves it
	lists func(backend.Object) backend.Object
}

func (s *shelf) set(state func(backend.Object) backend.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func (s *shelf) Head(ctx context.Context, key string) (backend.Object, error) {
	obj, err := s.Faulty.Head(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != nil && err == nil {
		obj = s.state(obj)
	}
	return obj, err
}

func archived(o backend.Object) backend.Object {
	o.State, o.Until = backend.Archived, time.Time{}
	return o
}

// onShelf makes the world's store one whose states can be set.
func (w *world) onShelf() *shelf {
	s := &shelf{Faulty: w.store}
	must(w.t, w.Close())
	w.o.Open = func(context.Context, string) (backend.Store, error) { return s, nil }
	w.start()
	return s
}

func TestStoreGivesUp(t *testing.T) {
	bubble(t, func(o *Options) { o.Wait = 3 * time.Hour }, func(t *testing.T, w *world) {
		s := w.onShelf()
		ref, obj := w.archive("a", 10)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = w.open(ref, obj) })
		pass(time.Hour)
		s.set(archived)
		wg.Wait()
		if !errors.Is(err, ErrFailed) {
			t.Errorf("open: %v, want ErrFailed", err)
		}
		w.wantPhase(ref, Failed)
		if got := w.told("a"); got != "restoring archived" {
			t.Errorf("Changed was told %q", got)
		}
	})
}

func TestStoreTakesRequestsAndDoesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		s := w.onShelf()
		s.set(archived)
		ref, obj := w.archive("a", 10)
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		pass(time.Minute)
		_ = w.open(ref, obj)
		w.wantRestores(1) // it is not asked again for that
		pass(time.Hour)
		if j := w.wantPhase(ref, Failed); !strings.Contains(j.Err, "shows no restore") {
			t.Errorf("job says %q", j.Err)
		}
	})
}

func TestStoreThatCannotRestore(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		must(t, w.Close())
		w.o.Open = func(context.Context, string) (backend.Store, error) { return backendtest.Plain(w.store), nil }
		w.start()
		ref, obj := w.archive("a", 10)
		if err := w.open(ref, obj); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "cannot restore") {
			t.Errorf("open: %v, want ErrFailed", err)
		}
	})
}

// An open that finds a request which never arrived sends it; it is charged once.
func TestOpenSendsWhatNeverArrived(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore})
		w.store.Inject(backendtest.Fault{Op: backendtest.OpHead, Skip: 1})
		_ = w.open(ref, obj)
		w.wantPhase(ref, Asked)
		if err := w.open(ref, obj); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		w.wantPhase(ref, Restoring)
		w.wantRestores(2)
		if b := w.Budget(); b.Objects != 1 {
			t.Errorf("budget is %+v, want one object", b)
		}
	})
}
