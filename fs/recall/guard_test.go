package recall

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

// lines counts the log lines that hold what.
func (w *world) lines(what string) int { return strings.Count(w.log.String(), what) }

func TestGrepStopsAtTheBurstLimit(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		grep := Caller{UID: 1000, Exe: "/bin/grep"}
		refs, objs := w.archiveMany(200)
		w.store.ResetCounts()
		for i, ref := range refs {
			err := w.Open(t.Context(), ref, objs[i], grep)
			if want := backend.ErrArchived; i < 20 && !errors.Is(err, want) {
				t.Fatalf("open %d: %v, want %v", i, err, want)
			}
			if i >= 20 && !errors.Is(err, ErrRefused) {
				t.Fatalf("open %d: %v, want ErrRefused", i, err)
			}
			time.Sleep(100 * time.Millisecond) // in all, twice the window
		}
		w.wantRestores(20)
		if n := w.lines("/bin/grep"); n != 1+20 || w.lines("recalls refused") != 1 { // 20 begun
			t.Errorf("the log names it %d times:\n%s", n, w.log.String())
		}
		for _, want := range []string{"20 restores within 10s", "thawfs restore"} {
			if !strings.Contains(w.log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, w.log.String())
			}
		}
		if j := w.wantPhase(refs[150], Refused); !strings.Contains(j.Err, "20 restores within 10s") {
			t.Errorf("the job says %q", j.Err)
		}
		if _, listed := w.Job(refs[5]); !listed || len(w.Jobs()) != 20 {
			t.Errorf("%d jobs", len(w.Jobs()))
		}
		// Others are not concerned, nor are explicit requests, nor what is on its way.
		if err := w.open(refs[100], objs[100]); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open by another program: %v", err)
		}
		_, err := w.Request(t.Context(), refs[101], objs[101], Explicit{UID: 1000})
		must(t, err)
		if err := w.Open(t.Context(), refs[3], objs[3], grep); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open of what is on its way: %v", err)
		}
		time.Sleep(11 * time.Second) // quiet
		if err := w.Open(t.Context(), refs[102], objs[102], grep); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open after a quiet while: %v", err)
		}
	})
}

func (w *world) archiveMany(n int) (refs []backend.Ref, objs []backend.Object) {
	for i := range n {
		ref, obj := w.archive(fmt.Sprintf("dir/%04d", i), 1)
		refs, objs = append(refs, ref), append(objs, obj)
	}
	return refs, objs
}

func TestRefusalsCostNoRequests(t *testing.T) {
	bubble(t, func(o *Options) { o.Burst = 1 }, func(t *testing.T, w *world) {
		refs, objs := w.archiveMany(50)
		_ = w.open(refs[0], objs[0])
		w.store.ResetCounts()
		for i := range 49 {
			_ = w.open(refs[i+1], objs[i+1])
		}
		if n := w.store.Count(""); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestBudgetOfObjects(t *testing.T) {
	bubble(t, func(o *Options) { o.DayObjects, o.Burst = 3, -1 }, func(t *testing.T, w *world) {
		pass(time.Until(time.Now().UTC().Truncate(day).Add(25 * time.Hour))) // an hour into a day
		refs, objs := w.archiveMany(12)
		for i := range 6 {
			want := backend.ErrArchived
			if i >= 3 {
				want = ErrRefused
			}
			if err := w.open(refs[i], objs[i]); !errors.Is(err, want) {
				t.Errorf("open %d: %v, want %v", i, err, want)
			}
		}
		if w.lines("recalls refused") != 1 {
			t.Errorf("log:\n%s", w.log.String())
		}
		w.restart() // and it is remembered
		if b := w.Budget(); b.Objects != 3 || b.Bytes != 3 || b.MaxObjects != 3 || b.Cost <= 0 {
			t.Errorf("budget after a restart: %+v", b)
		}
		if _, err := w.Request(t.Context(), refs[6], objs[6], Explicit{}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--over-budget") {
			t.Errorf("request: %v, want ErrRefused and the remedy", err)
		}
		_, err := w.Request(t.Context(), refs[6], objs[6], Explicit{OverBudget: true})
		must(t, err)
		w.wantRestores(4)
		pass(22*time.Hour + 50*time.Minute) // not midnight yet
		if err := w.open(refs[7], objs[7]); !errors.Is(err, ErrRefused) {
			t.Errorf("open before midnight: %v, want ErrRefused", err)
		}
		pass(20 * time.Minute)
		if err := w.open(refs[7], objs[7]); !errors.Is(err, backend.ErrArchived) {
			t.Errorf("open on the next day: %v, want ErrArchived", err)
		}
	})
}

func TestBudgetOfBytes(t *testing.T) {
	bubble(t, func(o *Options) { o.DayBytes = 100 }, func(t *testing.T, w *world) {
		for _, tt := range []struct {
			size int
			want error
		}{{60, backend.ErrArchived}, {60, ErrRefused}, {40, backend.ErrArchived}, {1, ErrRefused}, {101, ErrRefused}} {
			ref, obj := w.archive(fmt.Sprint("o", tt.size, tt.want), tt.size)
			if err := w.open(ref, obj); !errors.Is(err, tt.want) {
				t.Errorf("open of %d bytes: %v, want %v", tt.size, err, tt.want)
			}
		}
		w.wantRestores(2)
	})
}

func TestNoLimits(t *testing.T) {
	none := func(o *Options) { o.DayObjects, o.DayBytes, o.Burst = -1, -1, -1 }
	bubble(t, none, func(t *testing.T, w *world) {
		refs, objs := w.archiveMany(100)
		for i := range refs {
			if err := w.open(refs[i], objs[i]); !errors.Is(err, backend.ErrArchived) {
				t.Fatalf("open %d: %v", i, err)
			}
		}
		w.wantRestores(100)
	})
}

// What was not served is not charged.
func TestFailuresAreGivenBack(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		ref, obj := w.archive("a", 10)
		w.store.Inject(backendtest.Fault{Op: backendtest.OpRestore, Err: backend.ErrPermission})
		if err := w.open(ref, obj); !errors.Is(err, ErrFailed) {
			t.Errorf("open: %v, want ErrFailed", err)
		}
		if b := w.Budget(); b.Objects != 0 || b.Bytes != 0 || b.Cost != 0 {
			t.Errorf("budget is %+v", b)
		}
	})
}

func TestBudgetSurvivesTheClock(t *testing.T) {
	b := budget{objects: 5, bytes: -1, days: map[string]spent{}}
	today := time.Date(2026, 8, 1, 1, 0, 0, 0, time.UTC)
	for range 5 {
		b.charge(dayOf(today), 1, 1, 0)
	}
	far := today.AddDate(70, 0, 0) // the clock was wrong for a while
	b.charge(dayOf(far), 1, 1, 0)
	b.forget(dayOf(far))
	if b.exceeded(today, 1) == "" {
		t.Error("the clock was set forth and back, and the budget was forgotten")
	}
	for i := range 30 {
		b.charge(dayOf(today.AddDate(0, 0, i)), 1, 1, 0)
		b.forget(dayOf(today.AddDate(0, 0, i)))
	}
	if len(b.days) > keptDays+1 {
		t.Errorf("%d days are kept", len(b.days))
	}
}

func TestGuardsStayBounded(t *testing.T) {
	now := time.Now()
	g := newGuards(Options{Burst: 2, BurstWindow: time.Minute, DayObjects: 0, DayBytes: -1})
	for i := range maxRemembered + 50 {
		p := program{uid: uint32(i)}
		g.burst.count(p, now)
		g.burst.refuses(p, now)
		g.check(ask{implicit: true, by: Caller{UID: uint32(i)}}, 1, now)
	}
	if n := max(len(g.burst.sprees), len(g.told)); n > maxRemembered {
		t.Errorf("%d programs are remembered, want at most %d", n, maxRemembered)
	}
}
