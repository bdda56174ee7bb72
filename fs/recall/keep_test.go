package recall

import (
	"errors"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

func TestHeldCopiesStay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		pass(restoreTime + time.Hour)
		release := w.Hold(ref, w.head("a"))
		pass(10 * day)
		obj = w.head("a")
		if obj.State != backend.Restored || time.Until(obj.Until) < keepAhead {
			t.Errorf("the held copy is %v until %v", obj.State, obj.Until)
		}
		if n := w.restores(); n < 4 || n > 6 { // every two and a half days
			t.Errorf("%d requests", n)
		}
		if b := w.Budget(); b.Objects != 0 {
			t.Errorf("to keep a copy took %+v of the budget", b)
		}
		release()
		release()
		pass(4 * day)
		if s := w.head("a").State; s != backend.Archived {
			t.Errorf("the copy is %v after its release", s)
		}
		if len(w.Jobs()) != 0 || len(w.holds) != 0 {
			t.Errorf("jobs: %+v, holds: %v", w.Jobs(), w.holds)
		}
	})
}

// Copies that somebody else asked for are held too.
func TestHeldCopiesOfOthersStay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, _ := w.archive("a", 10)
		must(t, w.store.Restore(t.Context(), "a", backend.RestoreOptions{Keep: day}))
		pass(restoreTime)
		r1, r2 := w.Hold(ref, w.head("a")), w.Hold(ref, w.head("a"))
		r1()
		pass(2 * day)
		if s := w.head("a").State; s != backend.Restored {
			t.Errorf("the held copy is %v", s)
		}
		r2()
		if len(w.Jobs()) != 0 {
			t.Errorf("jobs: %+v", w.Jobs())
		}
	})
}

func TestHoldOfWhatNeedsNone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.put("a", "STANDARD", 10)
		w.Hold(ref, obj)()
		ref, obj = w.archive("b", 10)
		w.Hold(ref, obj)()
		if len(w.Jobs()) != 0 || len(w.holds) != 0 {
			t.Errorf("jobs: %+v, holds: %v", w.Jobs(), w.holds)
		}
	})
}

func TestHeldCopyLapsesThough(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_ = w.open(ref, obj)
		pass(restoreTime + time.Hour)
		release := w.Hold(ref, w.head("a"))
		defer release()
		w.told("a")
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: backend.ErrPermission, Times: -1})
		pass(4 * day)
		if got := w.told("a"); got != "archived" {
			t.Errorf("Changed was told %q", got)
		}
		if n := w.restores(); n > 14 { // every hour of its last twelve
			t.Errorf("%d requests", n)
		}
		w.store.Heal()
		if err := w.open(ref, w.head("a")); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open: %v, want ErrArchived", err)
		}
		pass(restoreTime + 5*day)
		if s := w.head("a").State; s != backend.Restored {
			t.Errorf("the new copy is not held: %v", s)
		}
	})
}

func TestRequestKeepsACopyLonger(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_, err := w.Request(t.Context(), ref, obj, Explicit{})
		must(t, err)
		pass(restoreTime + time.Hour)
		w.told("a")
		_, err = w.Request(t.Context(), ref, w.head("a"), Explicit{}) // long enough
		must(t, err)
		w.wantRestores(1)
		j, err := w.Request(t.Context(), ref, w.head("a"), Explicit{Days: 10})
		must(t, err)
		if left := time.Until(w.head("a").Until); left < 9*day || !j.Until.Equal(w.head("a").Until) {
			t.Errorf("the copy ends in %v, the job says %v", left, j.Until)
		}
		if got := w.told("a"); got != "restored" {
			t.Errorf("Changed was told %q", got)
		}
		w.wantRestores(2)
	})
}

func TestRequestOfWhatIsReadable(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.put("a", "STANDARD", 10)
		j, err := w.Request(t.Context(), ref, obj, Explicit{})
		if err != nil || j != (Job{}) || len(w.Jobs()) != 0 {
			t.Errorf("Request = %+v, %v; jobs %+v", j, err, w.Jobs())
		}
		w.wantRestores(0)
		if _, err := w.Request(t.Context(), ref, obj, Explicit{Days: -1}); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("Request for -1 days: %v, want ErrInvalid", err)
		}
	})
}

func TestFasterTierIsAskedForAgain(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		j, err := w.Request(t.Context(), ref, obj, Explicit{Tier: bulk, Days: 7})
		must(t, err)
		pass(time.Minute)
		for _, tt := range []struct {
			tier, want string
			restores   int
		}{{"", bulk, 1}, {bulk, bulk, 1}, {standard, standard, 2}, {bulk, standard, 2}, {expedited, expedited, 3}} {
			j, err = w.Request(t.Context(), ref, obj, Explicit{Tier: tt.tier, Days: 2})
			must(t, err)
			if j.Tier != tt.want || j.Days != 7 {
				t.Errorf("asked for %q it became %+v, want %q for the same days", tt.tier, j, tt.want)
			}
			w.wantRestores(tt.restores)
		}
		if b := w.Budget(); b.Objects != 3 || b.Cost <= 0 {
			t.Errorf("budget is %+v", b)
		}
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore})
		w.restart()
		if j := w.wantPhase(ref, Restoring); j.Tier != expedited {
			t.Errorf("after a restart the job is %+v", j)
		}
	})
}

func TestFailedUpgradeChangesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		_, err := w.Request(t.Context(), ref, obj, Explicit{Tier: bulk})
		must(t, err)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore})
		if _, err := w.Request(t.Context(), ref, obj, Explicit{Tier: expedited}); !errors.Is(err, ErrFailed) {
			t.Errorf("Request: %v, want ErrFailed", err)
		}
		if j := w.wantPhase(ref, Restoring); j.Tier != bulk {
			t.Errorf("job is %+v", j)
		}
		if b := w.Budget(); b.Objects != 1 {
			t.Errorf("budget is %+v", b)
		}
	})
}

func TestUpgradeOfAnothersRestore(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		must(t, w.store.Restore(t.Context(), "a", backend.RestoreOptions{}))
		if _, err := w.Request(t.Context(), ref, obj, Explicit{Tier: expedited}); !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("Request: %v, want ErrUnsupported", err)
		}
		_, err := w.Request(t.Context(), ref, obj, Explicit{})
		must(t, err)
		w.wantRestores(1)
	})
}

func TestParseExplicit(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Explicit
		ok   bool
	}{
		{"", Explicit{}, true},
		{"tier=Bulk,days=5", Explicit{Tier: bulk, Days: 5}, true},
		{" days=1 , over-budget", Explicit{Days: 1, OverBudget: true}, true},
		{"days=0", Explicit{}, false},
		{"days=many", Explicit{}, false},
		{"tier=", Explicit{}, false},
		{"now", Explicit{}, false},
		{"=1", Explicit{}, false},
	} {
		got, err := ParseExplicit(tt.text)
		if got != tt.want || (err == nil) != tt.ok || err != nil && !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("ParseExplicit(%q) = %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
}
