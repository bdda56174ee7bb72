package recall

import (
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A record is a job as the journal keeps it.
type record struct {
	Phase   Phase     `json:"phase"` // "" before it was asked for: never in the journal
	ETag    string    `json:"etag"`
	Class   string    `json:"class"`
	Size    int64     `json:"size"`
	Tier    string    `json:"tier,omitempty"`
	Days    int       `json:"days,omitempty"` // 0: not known, or left to the store
	Since   time.Time `json:"since"`
	Day     string    `json:"day,omitempty"`    // whose budget paid for it
	Seen    bool      `json:"seen,omitempty"`   // the store has shown it as restoring
	Waited  bool      `json:"waited,omitempty"` // an open has waited for it
	Until   time.Time `json:"until,omitzero"`
	By      string    `json:"by,omitempty"`
	UID     uint32    `json:"uid,omitempty"`
	Foreign bool      `json:"foreign,omitempty"`
	Cost    float64   `json:"cost,omitempty"`
	Err     string    `json:"err,omitempty"`
	Fails   int       `json:"fails,omitempty"` // in a row
	RetryAt time.Time `json:"retry,omitzero"`
}

// fate is what the store's answer means for a job.
type fate uint8

const (
	goesOn   fate = iota
	done          // readable for good, as far as the store says
	unasked       // archived, and nothing is on its way
	lapsed        // archived again: the copy has served its time, or is of another version
	dropped       // archived again though it should be on its way
	noEffect      // archived still, long after it was asked for
)

// grace is how long a store may show an object as archived after it took the request. Some
// begin a restore late; none is known that does not say so within minutes.
const grace = 15 * time.Minute

// meet returns what becomes of r when the store shows obj, age after it was asked for. A
// fate other than goesOn leaves r as it was.
func (r record) meet(obj backend.Object, age time.Duration, now time.Time) (record, fate) {
	switch obj.State {
	case backend.Restoring:
		return r.underWay(obj, now), goesOn
	case backend.Archived:
		return r, r.archived(obj, age)
	}
	if obj.State == backend.Online || obj.Until.IsZero() {
		return r, done
	}
	if r.Phase == "" {
		r.Since, r.Foreign = now, true
	}
	r.Phase, r.Until, r.Err, r.Fails = Restored, obj.Until, "", 0
	r.ETag, r.Class, r.Size = obj.ETag, obj.Class, obj.Size
	return r, goesOn
}

// underWay is r once the store shows a restore. Who finds one without having asked, or long
// after, does not know who did.
func (r record) underWay(obj backend.Object, now time.Time) record {
	if r.Phase != Restoring && r.Phase != Asked {
		r = record{Since: now, Foreign: true}
	}
	r.Phase, r.Seen, r.Err, r.Fails = Restoring, true, "", 0
	r.ETag, r.Class, r.Size = obj.ETag, obj.Class, obj.Size
	return r
}

func (r record) archived(obj backend.Object, age time.Duration) fate {
	switch {
	case r.Phase == Restored:
		return lapsed
	case (r.Phase == Asked || r.Phase == Restoring) && r.ETag != obj.ETag:
		return lapsed // what was asked for was another version
	case r.Phase != Restoring:
		return unasked
	case r.Days > 0 && age >= time.Duration(r.Days)*day:
		return lapsed // it came and went while nobody looked
	case r.Seen:
		return dropped
	case age >= grace:
		return noEffect
	}
	return goesOn
}

// failed is r after a failure, to be tried again at the earliest when its back-off is over.
func (r record) failed(why string, now time.Time) record {
	r.Phase, r.Err, r.Seen = Failed, why, false
	r.Fails++
	r.RetryAt = now.Add(backOff(r.Fails))
	return r
}

const (
	firstBackOff = time.Minute
	maxBackOff   = time.Hour
)

func backOff(fails int) time.Duration {
	return min(firstBackOff<<min(fails-1, 10), maxBackOff)
}
