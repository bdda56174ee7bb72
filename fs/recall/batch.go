package recall

import (
	"context"
	"iter"

	"github.com/thawfs/thawfs/backend"
)

// A Target is one object of a Batch. If Object is zero the store is asked for it.
type Target struct {
	Ref    backend.Ref
	Object backend.Object
}

// BatchOptions modify Batch.
type BatchOptions struct {
	Explicit
	DryRun   bool           // only look and count
	Wait     bool           // until everything is readable or has failed, or the context ends
	Rate     int            // restores a second at most; 0 is 100, more than 1,000 is 1,000
	Parallel int            // requests at once; 0 is 16
	Each     func(Result)   // told of each object when its outcome is known or changes; one call at a time
	Progress func(Progress) // told at most once a second, and at the end; one call at a time
}

// Outcome is how one object of a Batch stands.
type Outcome string

const (
	IsReadable Outcome = "readable"
	IsPending  Outcome = "pending"
	IsArchived Outcome = "archived" // in a dry run: would be asked for
	IsRefused  Outcome = "refused"
	IsFailed   Outcome = "failed"
)

// A Result is what became of one Target.
type Result struct {
	Target
	Outcome Outcome
	Err     error // of IsRefused and IsFailed
}

// Tally counts objects and their bytes.
type Tally struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Progress is how a Batch stands.
type Progress struct {
	Readable Tally `json:"readable"`
	Pending  Tally `json:"pending"`
	Archived Tally `json:"archived"` // in a dry run: what it would ask for
	Refused  Tally `json:"refused"`
	Failed   Tally `json:"failed"`
	Asked    Tally `json:"asked"` // restores that this run began

	Cost     float64 `json:"cost"`         // estimate of Asked; of Archived in a dry run
	Currency string  `json:"currency"`     // of Cost
	Unpriced int     `json:"unpriced"`     // objects that the price table does not know
	ETA      string  `json:"eta,omitzero"` // RFC 3339; when the last pending one is due
}

// Batch asks for all targets that are archived. It can be interrupted and begun again: what
// is on its way or readable is not asked for again. A refusal or a failure of one object
// does not stop it; an error from targets or ctx does, and it is the only error returned.
func (m *Manager) Batch(ctx context.Context, targets iter.Seq2[Target, error], o BatchOptions) (Progress, error) {
	return Progress{}, backend.ErrUnsupported
}

// Tree yields what is stored below prefix, from one listing.
func (m *Manager) Tree(ctx context.Context, bucket, prefix string) iter.Seq2[Target, error] {
	return func(yield func(Target, error) bool) {}
}
