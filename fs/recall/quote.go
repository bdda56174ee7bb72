package recall

import (
	"context"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A Lot is objects that a restore treats alike.
type Lot struct{ Bucket, Class string }

// A Quote is what a restore would take with one tier.
type Quote struct {
	Tier     string        `json:"tier"`
	Possible Tally         `json:"possible"` // of classes that have this tier
	Cost     float64       `json:"cost"`     // estimate, in Prices.Currency
	Unpriced int           `json:"unpriced"` // of Possible: objects that the price table lacks
	Within   time.Duration `json:"within_ns"`
}

// Tiers are the words that S3 has for how fast a restore is, the fastest first.
func Tiers() []string { return []string{expedited, standard, bulk} }

// TreeTier is the tier that a Batch asks for if nothing else is said.
const TreeTier = bulk

// Quote estimates a Batch over what is wanted, with tier and for days (0: as Options say).
func (m *Manager) Quote(ctx context.Context, want map[Lot]Tally, tier string, days int) Quote {
	q := Quote{Tier: tier}
	for lot, t := range want {
		asked, err := tierFor(lot.Class, tier, true)
		if err != nil {
			continue
		}
		q.Possible.Objects += t.Objects
		q.Possible.Bytes += t.Bytes
		cost, known := m.o.Prices.Estimate(lot.Class, asked, t.Objects, t.Bytes, daysFor(lot.Class, days, m.o.Days))
		if !known {
			q.Unpriced += t.Objects
		}
		q.Cost += cost
		q.Within = max(q.Within, m.expects(ctx, backend.Ref{Bucket: lot.Bucket}, lot.Class, asked).most)
	}
	return q
}

// Prices is the table that costs are estimated with.
func (m *Manager) Prices() *Prices { return m.o.Prices }
