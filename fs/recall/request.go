package recall

import (
	"context"

	"github.com/thawfs/thawfs/backend"
)

// Explicit is how somebody asks for an object by name, through an xattr or a command.
type Explicit struct {
	UID        uint32
	Tier       string // Expedited, Standard, Bulk or the store's own word; "" is Standard, Bulk in a Batch
	Days       int    // how long the copy shall stay readable; 0 is Options.Days
	OverBudget bool   // go beyond the budget of the day
}

// Request asks for ref and returns what its job is then; it does not wait for the object.
// The burst limit does not bind it and no back-off either; the budget does unless
// e.OverBudget. A running restore becomes a faster one if e.Tier is faster; a copy that
// exists is kept for e.Days from now if it would end before. It fails with ErrRefused,
// ErrFailed, backend.ErrInvalid for a tier that the class does not have, or as Open does.
func (m *Manager) Request(ctx context.Context, ref backend.Ref, obj backend.Object, e Explicit) (Job, error) {
	return Job{}, backend.ErrUnsupported
}
