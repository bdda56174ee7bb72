package recall

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// spent is what the restores of one day have taken.
type spent struct {
	Objects int     `json:"objects"`
	Bytes   int64   `json:"bytes"`
	Cost    float64 `json:"cost,omitempty"`
}

// A budget bounds what is restored in a day of UTC. It remembers some days, so that a clock
// that is set forth and back finds what it had spent. Guarded by Manager.mu.
type budget struct {
	objects int   // a day; negative: no limit
	bytes   int64 // a day; negative: no limit
	days    map[string]spent
}

const keptDays = 8

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// remember takes a day from the journal.
func (b *budget) remember(name string, s spent) { b.days[name] = s }

// exceeded says which limit another restore of size bytes would pass; "" if none.
func (b *budget) exceeded(now time.Time, size int64) string {
	s := b.days[dayOf(now)]
	switch {
	case b.objects >= 0 && s.Objects >= b.objects:
		return fmt.Sprintf("the budget of %d objects a day is spent until midnight UTC", b.objects)
	case b.bytes >= 0 && s.Bytes+size > b.bytes && size > b.bytes:
		return fmt.Sprintf("%d bytes are more than the budget of %d bytes a day", size, b.bytes)
	case b.bytes >= 0 && s.Bytes+size > b.bytes:
		return fmt.Sprintf("%d bytes are more than what is left until midnight UTC of the budget of %d bytes a day", size, b.bytes)
	}
	return ""
}

// charge takes a restore from the budget of a day, or gives it back if objects is -1. It
// returns the day as it is now.
func (b *budget) charge(name string, objects int, size int64, cost float64) spent {
	s := b.days[name]
	s.Objects = max(0, s.Objects+objects)
	s.Bytes = max(0, s.Bytes+int64(objects)*size)
	s.Cost = max(0, s.Cost+float64(objects)*cost)
	b.days[name] = s
	return s
}

// forget drops the oldest days and returns their names. Days of a clock that went wrong
// leave when it has been right for a week.
func (b *budget) forget(today string) []string {
	old := slices.Sorted(maps.Keys(b.days))
	old = slices.DeleteFunc(old, func(name string) bool { return name == today })
	old = old[:max(0, len(old)-keptDays)]
	for _, name := range old {
		delete(b.days, name)
	}
	return old
}

// Budget is what the restores of a day have taken, and may take.
type Budget struct {
	Day        string  `json:"day"` // UTC, as 2006-01-02
	Objects    int     `json:"objects"`
	Bytes      int64   `json:"bytes"`
	Cost       float64 `json:"cost"`        // estimate, in Prices.Currency
	MaxObjects int     `json:"max_objects"` // negative: no limit
	MaxBytes   int64   `json:"max_bytes"`   // negative: no limit
}

// Budget returns the budget of today.
func (m *Manager) Budget() Budget {
	today := dayOf(time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &m.guards.budget
	s := b.days[today]
	return Budget{Day: today, Objects: s.Objects, Bytes: s.Bytes, Cost: s.Cost, MaxObjects: b.objects, MaxBytes: b.bytes}
}
