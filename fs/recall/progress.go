package recall

import "time"

// Tally counts objects and their bytes.
type Tally struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (t *Tally) add(size int64) {
	t.Objects++
	t.Bytes += size
}

// Progress is how a Batch stands.
type Progress struct {
	Readable Tally `json:"readable"`
	Pending  Tally `json:"pending"`
	Archived Tally `json:"archived"` // in a dry run: what it would ask for
	Refused  Tally `json:"refused"`
	Failed   Tally `json:"failed"`
	Asked    Tally `json:"asked"` // of Pending and Readable: restores that this run began

	Cost     float64   `json:"cost"`         // estimate of Asked, or of Archived
	Currency string    `json:"currency"`     // of Cost
	Unpriced int       `json:"unpriced"`     // of Asked or Archived: not in the price table
	ETA      time.Time `json:"eta,omitzero"` // when the last of Pending or Archived is due
}

func (p *Progress) of(o Outcome) *Tally {
	switch o {
	case IsReadable:
		return &p.Readable
	case IsPending:
		return &p.Pending
	case IsArchived:
		return &p.Archived
	case IsRefused:
		return &p.Refused
	}
	return &p.Failed
}

// count adds a result.
func (p *Progress) count(f found) {
	size := f.Object.Size
	p.of(f.Outcome).add(size)
	if f.begun {
		p.Asked.add(size)
	}
	if f.begun || f.Outcome == IsArchived {
		p.Cost += f.cost
		if !f.price {
			p.Unpriced++
		}
	}
	if (f.Outcome == IsPending || f.Outcome == IsArchived) && f.due.After(p.ETA) {
		p.ETA = f.due
	}
}

// move makes a pending result the one it has become.
func (p *Progress) move(f found) {
	p.Pending.Objects--
	p.Pending.Bytes -= f.Object.Size
	p.of(f.Outcome).add(f.Object.Size)
}
