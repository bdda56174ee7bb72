package recall

import (
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Phase is how far a job is.
type Phase string

const (
	Asked     Phase = "asked"     // journalled; the store has not confirmed it yet
	Restoring Phase = "restoring" // on its way
	Restored  Phase = "restored"  // readable until Job.Until
	Failed    Phase = "failed"    // Job.Err says why
	Refused   Phase = "refused"   // a guard refused it, Job.Err says which: there is no job
)

// A Job is what is known of one object on its way back.
type Job struct {
	Ref     backend.Ref `json:"ref"`
	Phase   Phase       `json:"phase"`
	Class   string      `json:"class,omitempty"`
	Size    int64       `json:"size"`           // bytes
	Tier    string      `json:"tier,omitempty"` // "" if somebody else asked
	Days    int         `json:"days,omitempty"`
	Since   time.Time   `json:"since"`           // when it was asked for, or first seen
	ETA     time.Time   `json:"eta,omitzero"`    // when it is due at the latest; of Asked and Restoring
	Until   time.Time   `json:"until,omitzero"`  // when the copy ends; of Restored
	RetryAt time.Time   `json:"retry,omitzero"`  // when an open may try again; of Failed
	Err     string      `json:"error,omitempty"` // of Failed and Refused, or why the last look failed
	By      string      `json:"by,omitempty"`    // program that asked, "" for an explicit request
	UID     uint32      `json:"uid"`
	Foreign bool        `json:"foreign,omitempty"` // this Manager did not ask for it
	Cost    float64     `json:"cost,omitempty"`    // estimate, in Prices.Currency
	Waiters int         `json:"waiters,omitempty"` // opens that wait for it
}

// Job returns the job of ref, if there is one; also what became of a recent refusal.
func (m *Manager) Job(ref backend.Ref) (Job, bool) { return Job{}, false }

// Jobs returns all jobs, sorted by Ref.
func (m *Manager) Jobs() []Job { return nil }

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
func (m *Manager) Budget() Budget { return Budget{} }
