package recall

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// guards decide whether a restore may begin. All of it is guarded by Manager.mu.
type guards struct {
	burst   burst
	budget  budget
	told    map[program]string     // the day on which a program's refusal was last logged
	refused map[backend.Ref]recent // refusals
}

// recent is a refusal that somebody may yet ask about.
type recent struct {
	why string
	at  time.Time
}

const (
	maxRemembered = 4096             // programs, and refusals
	recentFor     = 10 * time.Minute // of refusals
)

func newGuards(o Options) guards {
	return guards{
		burst:   burst{limit: o.Burst, window: o.BurstWindow, sprees: map[program]*spree{}},
		budget:  budget{objects: o.DayObjects, bytes: o.DayBytes, days: map[string]spent{}},
		told:    map[program]string{},
		refused: map[backend.Ref]recent{},
	}
}

// A program is who opens files, as the guards see it.
type program struct {
	uid uint32
	exe string
}

// A burst bounds how many restores the opens of one program begin in a window of time. A
// program that has passed the limit is refused for as long as it goes on trying: a scan of
// an archive stops for good, not twenty objects at a time.
type burst struct {
	limit  int // negative: none
	window time.Duration
	sprees map[program]*spree
}

type spree struct {
	begun   []time.Time // within the window, oldest first; never more than the limit
	tripped bool
	last    time.Time // attempt
}

// refuses reports whether p is past the limit; first is set when it has just passed it.
func (b *burst) refuses(p program, now time.Time) (refused, first bool) {
	s := b.sprees[p]
	if b.limit < 0 || s == nil {
		return false, false
	}
	if s.tripped && now.Sub(s.last) < b.window {
		s.last = now
		return true, false
	}
	for len(s.begun) > 0 && now.Sub(s.begun[0]) >= b.window {
		s.begun = s.begun[1:]
	}
	s.tripped, s.last = len(s.begun) >= b.limit, now
	return s.tripped, s.tripped
}

// count notes that a restore for p begins.
func (b *burst) count(p program, now time.Time) {
	if b.limit < 0 {
		return
	}
	s := b.sprees[p]
	if s == nil {
		b.makeRoom(now)
		s = &spree{}
		b.sprees[p] = s
	}
	s.begun, s.last = append(s.begun, now), now
}

// makeRoom forgets programs that are quiet, and any if all are busy.
func (b *burst) makeRoom(now time.Time) {
	if len(b.sprees) < maxRemembered {
		return
	}
	for p, s := range b.sprees {
		if now.Sub(s.last) >= b.window {
			delete(b.sprees, p)
		}
	}
	for p := range b.sprees {
		if len(b.sprees) < maxRemembered {
			return
		}
		delete(b.sprees, p)
	}
}

// A refusal is why a guard lets no restore begin.
type refusal struct {
	why, remedy string
	log         bool // for the first time
}

func (r *refusal) Error() string { return ErrRefused.Error() + ": " + r.why + "; " + r.remedy }
func (r *refusal) Unwrap() error { return ErrRefused }

const (
	burstRemedy  = "name what is needed with `thawfs restore`, or wait a while"
	quotaRemedy  = "another tier may be allowed, or the store lets it through later"
	budgetRemedy = "use `thawfs restore --over-budget`, or raise --recall-budget-objects and --recall-budget-bytes"
)

// check returns why a may not begin a restore of size bytes, nil if it may.
func (g *guards) check(a ask, size int64, now time.Time) *refusal {
	if a.implicit {
		if refused, first := g.burst.refuses(a.program(), now); refused {
			why := fmt.Sprintf("the program began %d restores within %v", g.burst.limit, g.burst.window)
			return &refusal{why, burstRemedy, first}
		}
	}
	if a.OverBudget {
		return nil
	}
	if why := g.budget.exceeded(now, size); why != "" {
		first := g.told[a.program()] != dayOf(now)
		if len(g.told) >= maxRemembered {
			clear(g.told)
		}
		g.told[a.program()] = dayOf(now)
		return &refusal{why, budgetRemedy, first}
	}
	return nil
}

// refuse remembers and logs a refusal of ref.
func (m *Manager) refuse(ref backend.Ref, a ask, r *refusal) {
	m.mu.Lock()
	refused := m.guards.refused
	for old := range refused {
		if len(refused) < maxRemembered {
			break
		}
		delete(refused, old)
	}
	refused[ref] = recent{r.Error(), time.Now()}
	m.mu.Unlock()
	if r.log {
		m.o.Log.Warn("recalls refused", slog.String("program", a.by.Exe), slog.Uint64("uid", uint64(a.program().uid)),
			slog.String("limit", r.why), slog.String("remedy", r.remedy), slog.String("key", ref.String()))
	}
}
