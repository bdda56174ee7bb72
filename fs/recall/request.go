package recall

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// Explicit is how somebody asks for an object by name, through an xattr or a command.
type Explicit struct {
	UID        uint32
	Tier       string // Expedited, Standard, Bulk or the store's own word; "" is Standard, Bulk in a Batch
	Days       int    // how long the copy shall stay readable; 0 is Options.Days
	OverBudget bool   // go beyond the budget of the day
}

// ParseExplicit reads a request as people write it into an xattr: words with commas between
// them, like "tier=Bulk,days=5" or "over-budget"; the empty text asks for what is usual. It
// fails with backend.ErrInvalid.
func ParseExplicit(text string) (Explicit, error) {
	var e Explicit
	for word := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		switch days, err := strconv.Atoi(value); {
		case name == "" && value == "":
		case name == "tier" && value != "":
			e.Tier = value
		case name == "days" && err == nil && days > 0:
			e.Days = days
		case name == "over-budget" && value == "":
			e.OverBudget = true
		default:
			return Explicit{}, fmt.Errorf("%w: %q asks for no restore: write tier=TIER, days=NUMBER, over-budget", backend.ErrInvalid, word)
		}
	}
	return e, nil
}

// Request asks for ref and returns what its job is then; it does not wait for the object.
// The zero Job means that no job is needed: the object is readable. The burst limit does not
// bind it and no back-off either; the budget does unless e.OverBudget. A running restore
// becomes a faster one if e.Tier is faster; a copy that exists is kept for e.Days from now if
// it would end before. It fails with ErrRefused, ErrFailed, backend.ErrInvalid for a tier
// that the class does not have, backend.ErrUnsupported if the restore of somebody else would
// have to be made faster, or as Open does.
func (m *Manager) Request(ctx context.Context, ref backend.Ref, obj backend.Object, e Explicit) (Job, error) {
	if e.Days < 0 {
		return Job{}, fmt.Errorf("recall %q: %w: %d days", ref, backend.ErrInvalid, e.Days)
	}
	j, err := m.engage(ctx, ref, obj, ask{Explicit: e})
	if err != nil {
		return Job{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.gone {
		return Job{}, j.end
	}
	return j.showLocked(), nil
}
