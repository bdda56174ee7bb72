package recall

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

func unlimited(o *Options) { o.DayObjects, o.DayBytes = -1, -1 }

// tree fills the world with objects in all states and returns how many are archived.
func (w *world) tree(archived int) {
	for i := range archived {
		w.archive(fmt.Sprintf("t/a%04d", i), 100)
	}
	for i := range 10 {
		w.put(fmt.Sprintf("t/online%d", i), "STANDARD", 10)
		w.put(fmt.Sprintf("t/tiered%d", i), tiering, 10)
	}
	w.archive("elsewhere", 10)
}

func TestDryRun(t *testing.T) {
	bubble(t, unlimited, func(t *testing.T, w *world) {
		w.onShelf().lists = func(o backend.Object) backend.Object {
			if o.Size == 128<<10 {
				o.State = backend.Unknown // only Head tells
			}
			return o
		}
		w.tree(500)
		w.put("t/big", tiering, 128<<10)
		w.store.ResetCounts()
		p, err := w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{DryRun: true, Explicit: Explicit{Tier: standard}})
		must(t, err)
		if p.Archived.Objects != 500 || p.Archived.Bytes != 50000 || p.Readable.Objects != 21 || p.Pending.Objects != 0 {
			t.Errorf("progress is %+v", p)
		}
		if p.Cost < 0.025 || p.Cost > 0.026 || p.Currency != "USD" || p.Unpriced != 0 {
			t.Errorf("costs %v %s", p.Cost, p.Currency)
		}
		if in := time.Until(p.ETA); in != 5*time.Hour {
			t.Errorf("due in %v, want 5h", in)
		}
		if l, h := w.store.Count(backendtest.OpList), w.store.Count(backendtest.OpHead); l != 1 || h != 1 {
			t.Errorf("%d LISTs, %d HEADs, want one each", l, h)
		}
		w.wantRestores(0)
	})
}

func TestTreeComesBack(t *testing.T) {
	bubble(t, unlimited, func(t *testing.T, w *world) {
		w.tree(500)
		w.store.ResetCounts()
		began := time.Now()
		last := map[backend.Ref]Outcome{}
		calls := 0
		p, err := w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{
			Wait:     true,
			Each:     func(r Result) { last[r.Ref] = r.Outcome },
			Progress: func(Progress) { calls++ },
		})
		must(t, err)
		if p.Readable.Objects != 520 || p.Asked.Objects != 500 || p.Pending != (Tally{}) || p.Failed.Objects != 0 || p.Cost <= 0 {
			t.Errorf("progress is %+v", p)
		}
		for ref, o := range last {
			if o != IsReadable {
				t.Errorf("%v ended as %v", ref, o)
			}
		}
		if len(last) != 520 || calls < 5 {
			t.Errorf("%d results, %d calls of Progress", len(last), calls)
		}
		if took := time.Since(began); took < restoreTime+5*time.Second || took > restoreTime+65*time.Minute {
			t.Errorf("it took %v", took)
		}
		if n := w.store.Peak(backendtest.OpRestore); n > 16 {
			t.Errorf("%d requests at once", n)
		}
		w.wantRestores(500)
		if l, h := w.store.Count(backendtest.OpList), w.store.Count(backendtest.OpHead); h > 800 || l > 100 {
			t.Errorf("%d LISTs and %d HEADs for 500 objects", l, h)
		}
		if w.head("elsewhere").State != backend.Archived {
			t.Error("it went beyond its tree")
		}
		if j, _ := w.Job(backend.Ref{Bucket: bucket, Key: "t/a0000"}); j.Tier != bulk || j.Phase != Restored {
			t.Errorf("job is %+v", j)
		}
	})
}

func TestInterruptedTreeGoesOn(t *testing.T) {
	bubble(t, unlimited, func(t *testing.T, w *world) {
		w.tree(300)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, err := w.Batch(ctx, w.Tree(ctx, bucket, "t/"), BatchOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || p.Failed.Objects != 0 {
			t.Errorf("Batch = %+v, %v, want the error of its context", p, err)
		}
		w.restart() // what was being sent has arrived
		begun := w.restores()
		if begun < 50 || begun > 150 {
			t.Errorf("%d restores in a second, want about 100", begun)
		}
		p, err = w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{})
		must(t, err)
		if p.Pending.Objects != 300 || p.Asked.Objects != 300-begun {
			t.Errorf("progress is %+v after %d before", p, begun)
		}
		w.wantRestores(300)
		// Another mount looks at it in one listing.
		must(t, w.Close())
		w.o.Path += ".other"
		w.start()
		w.store.ResetCounts()
		p, err = w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{})
		must(t, err)
		if h := w.store.Count(backendtest.OpHead); p.Pending.Objects != 300 || p.Asked.Objects != 0 || h > 0 {
			t.Errorf("progress is %+v after %d HEADs", p, h)
		}
		pass(restoreTime + time.Hour)
		p, err = w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{})
		must(t, err)
		if p.Readable.Objects != 320 {
			t.Errorf("progress is %+v", p)
		}
	})
}

func TestTreeOverBudget(t *testing.T) {
	bubble(t, func(o *Options) { o.DayObjects = 30 }, func(t *testing.T, w *world) {
		w.tree(100)
		refused := 0
		p, err := w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{Each: func(r Result) {
			if errors.Is(r.Err, ErrRefused) {
				refused++
			}
		}})
		must(t, err)
		if p.Refused.Objects != 70 || p.Pending.Objects != 30 || refused != 70 {
			t.Errorf("progress is %+v, %d refused", p, refused)
		}
		p, err = w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{Explicit: Explicit{OverBudget: true}})
		must(t, err)
		if p.Refused.Objects != 0 || p.Pending.Objects != 100 || p.Asked.Objects != 70 {
			t.Errorf("progress is %+v", p)
		}
		w.wantRestores(100)
	})
}

func TestTreeWithFailures(t *testing.T) {
	bubble(t, unlimited, func(t *testing.T, w *world) {
		w.tree(20)
		w.put("t/deep", deepArchive, 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Key: "t/a0003", Err: backend.ErrPermission})
		w.store.Inject(backendtest.Fault{Op: backendtest.OpHead, Key: "t/a0004", Err: backend.ErrNotExist})
		p, err := w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{Explicit: Explicit{Tier: expedited}, Wait: true})
		must(t, err)
		if p.Failed.Objects != 3 || p.Readable.Objects != 18+20 {
			t.Errorf("progress is %+v", p)
		}
	})
}

// Targets by name alone, and an error of whoever names them.
func TestTargetsByName(t *testing.T) {
	bubble(t, unlimited, func(t *testing.T, w *world) {
		w.tree(3)
		broken := errors.New("broken pipe")
		names := func(yield func(Target, error) bool) {
			for _, key := range []string{"t/a0000", "t/online0", "t/absent", "elsewhere"} {
				if !yield(Target{Ref: backend.Ref{Bucket: bucket, Key: key}}, nil) {
					return
				}
			}
			yield(Target{}, broken)
		}
		p, err := w.Batch(t.Context(), iter.Seq2[Target, error](names), BatchOptions{})
		if !errors.Is(err, broken) {
			t.Errorf("Batch: %v, want the error of its targets", err)
		}
		if p.Pending.Objects != 2 || p.Readable.Objects != 1 || p.Failed.Objects != 1 {
			t.Errorf("progress is %+v", p)
		}
	})
}

func TestCloseEndsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, restoreTime, unlimited)
		w.tree(3)
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err = w.Batch(t.Context(), w.Tree(t.Context(), bucket, "t/"), BatchOptions{Wait: true})
		}()
		pass(time.Hour)
		must(t, w.Close())
		<-done
		if !errors.Is(err, ErrClosed) {
			t.Errorf("Batch: %v, want ErrClosed", err)
		}
	})
}

// A hundred thousand jobs are a few pages of a listing each time; a store whose listings do
// not tell is asked with Head, and that is learned once.
func TestManyJobsAreListed(t *testing.T) {
	const many = 600
	for _, tells := range []bool{true, false} {
		t.Run(fmt.Sprint("tells ", tells), func(t *testing.T) {
			bubble(t, unlimited, func(t *testing.T, w *world) {
				s := w.onShelf()
				if !tells {
					s.lists = archived
				}
				for i := range many {
					w.archive(fmt.Sprintf("d%d/%05d", i%3, i), 1)
				}
				p, err := w.Batch(t.Context(), w.Tree(t.Context(), bucket, ""), BatchOptions{Rate: maxRate})
				must(t, err)
				if p.Asked.Objects != many {
					t.Fatalf("progress is %+v", p)
				}
				w.store.ResetCounts()
				pass(time.Hour)
				l, h := w.store.Count(backendtest.OpList), w.store.Count(backendtest.OpHead)
				if tells && (h > 50 || l > 40) {
					t.Errorf("%d LISTs and %d HEADs in an hour", l, h)
				}
				if !tells && (l > 3 || h > 12*many) {
					t.Errorf("%d LISTs and %d HEADs in an hour; it did not learn", l, h)
				}
				pass(restoreTime)
				if n := len(w.Jobs()); n != many {
					t.Errorf("%d jobs", n)
				}
				for _, j := range w.Jobs() {
					if j.Phase != Restored {
						t.Fatalf("job is %+v", j)
					}
				}
				w.wantRestores(0)
			})
		})
	}
}

func (s *shelf) List(ctx context.Context, prefix, after string, o backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		for e, err := range s.Faulty.List(ctx, prefix, after, o) {
			if s.lists != nil {
				e.Object = s.lists(e.Object)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestWhereListingsBegin(t *testing.T) {
	for _, tt := range []struct{ a, b, dir, before string }{
		{"a", "b", "", ""},
		{"photos/1.jpg", "photos/2.jpg", "photos/", "photos/1.jp"},
		{"photos/1", "photos", "", "photos/"},
		{"x/y/ä", "x/y/ö", "x/y/", "x/y/"},
	} {
		if got := commonDir(tt.a, tt.b); got != tt.dir {
			t.Errorf("commonDir(%q, %q) = %q, want %q", tt.a, tt.b, got, tt.dir)
		}
		if got := before(tt.a); got != tt.before {
			t.Errorf("before(%q) = %q, want %q", tt.a, got, tt.before)
		}
	}
}
