package recall

import (
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func TestWhatTheStoreSaysDecides(t *testing.T) {
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	until := now.Add(3 * day)
	object := func(s backend.State) backend.Object {
		o := backend.Object{ETag: "v1", State: s}
		if s == backend.Restored {
			o.Until = until
		}
		return o
	}
	ours := func(p Phase) record { return record{Phase: p, ETag: "v1", Tier: standard, Days: 3, Since: now} }
	seen := ours(Restoring)
	seen.Seen = true
	older := seen
	older.ETag = "v0"
	for _, tt := range []struct {
		name  string
		rec   record
		shows backend.State
		age   time.Duration
		want  fate
		phase Phase
	}{
		{"new, archived", record{}, backend.Archived, 0, unasked, ""},
		{"new, on its way", record{}, backend.Restoring, 0, goesOn, Restoring},
		{"new, restored", record{}, backend.Restored, 0, goesOn, Restored},
		{"new, online", record{}, backend.Online, 0, done, ""},
		{"asked, never arrived", ours(Asked), backend.Archived, 0, unasked, Asked},
		{"asked, replaced", record{Phase: Asked, ETag: "v0"}, backend.Archived, 0, lapsed, Asked},
		{"asked, on its way", ours(Asked), backend.Restoring, 0, goesOn, Restoring},
		{"asked, restored", ours(Asked), backend.Restored, 0, goesOn, Restored},
		{"sent, not shown yet", ours(Restoring), backend.Archived, time.Minute, goesOn, Restoring},
		{"sent, never shown", ours(Restoring), backend.Archived, time.Hour, noEffect, Restoring},
		{"on its way", seen, backend.Restoring, 9 * time.Hour, goesOn, Restoring},
		{"given up", seen, backend.Archived, time.Hour, dropped, Restoring},
		{"came and went", seen, backend.Archived, 3 * day, lapsed, Restoring},
		{"replaced", older, backend.Archived, time.Hour, lapsed, Restoring},
		{"arrived", seen, backend.Restored, 9 * time.Hour, goesOn, Restored},
		{"arrived for good", seen, backend.Online, 9 * time.Hour, done, Restoring},
		{"still there", ours(Restored), backend.Restored, 9 * time.Hour, goesOn, Restored},
		{"lapsed", ours(Restored), backend.Archived, 9 * time.Hour, lapsed, Restored},
		{"lapsed and asked again", ours(Restored), backend.Restoring, 9 * time.Hour, goesOn, Restoring},
		{"failed, archived", ours(Failed), backend.Archived, time.Hour, unasked, Failed},
		{"failed, on its way", ours(Failed), backend.Restoring, time.Hour, goesOn, Restoring},
		{"failed, restored", ours(Failed), backend.Restored, time.Hour, goesOn, Restored},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, f := tt.rec.meet(object(tt.shows), tt.age, now)
			if f != tt.want || got.Phase != tt.phase {
				t.Errorf("meet(%v) after %v = %v, fate %d, want %v, fate %d", tt.shows, tt.age, got.Phase, f, tt.phase, tt.want)
			}
			if f != goesOn && got != tt.rec {
				t.Errorf("a fate changed the record: %+v, was %+v", got, tt.rec)
			}
			if got.Phase == Restored && f == goesOn && !got.Until.Equal(until) && tt.shows == backend.Restored {
				t.Errorf("until %v, want %v", got.Until, until)
			}
		})
	}
}

func TestWhoFindsARestoreDidNotAskForIt(t *testing.T) {
	now := time.Now()
	for _, r := range []record{{}, {Phase: Failed, Tier: bulk}, {Phase: Restored, Tier: bulk}} {
		if got, _ := r.meet(backend.Object{State: backend.Restoring}, 0, now); !got.Foreign || got.Tier != "" || got.Since != now {
			t.Errorf("%q met a restore and became %+v", r.Phase, got)
		}
	}
	asked := record{Phase: Asked, Tier: bulk, Since: now.Add(-time.Minute)}
	if got, _ := asked.meet(backend.Object{State: backend.Restoring}, 0, now); got.Foreign || got.Tier != bulk || got.Since != asked.Since {
		t.Errorf("what was asked for became %+v", got)
	}
}

func TestBackOffGrowsToItsBound(t *testing.T) {
	last := time.Duration(0)
	for fails := 1; fails < 100; fails++ {
		d := backOff(fails)
		if d < last || d < firstBackOff || d > maxBackOff {
			t.Fatalf("backOff(%d) = %v after %v", fails, d, last)
		}
		last = d
	}
	if last != maxBackOff {
		t.Errorf("it ends at %v, want %v", last, maxBackOff)
	}
}
