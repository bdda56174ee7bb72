package recall

import (
	"cmp"
	"slices"
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
	By      string      `json:"by,omitempty"`    // program that asked; "" for an explicit request
	UID     uint32      `json:"uid"`
	Foreign bool        `json:"foreign,omitempty"` // this Manager did not ask for it
	Cost    float64     `json:"cost,omitempty"`    // estimate, in Prices.Currency
	Waiters int         `json:"waiters,omitempty"` // opens that wait for it
}

// Job returns the job of ref, if there is one; also what became of a recent refusal.
func (m *Manager) Job(ref backend.Ref) (Job, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.jobs[ref]; j != nil && j.rec.Phase != "" {
		return j.showLocked(), true
	}
	r, ok := m.guards.refused[ref]
	if !ok || time.Since(r.at) > recentFor {
		return Job{}, false
	}
	return Job{Ref: ref, Phase: Refused, Since: r.at, Err: r.why}, true
}

// Jobs returns all jobs, sorted by Ref.
func (m *Manager) Jobs() []Job {
	m.mu.Lock()
	all := make([]Job, 0, len(m.jobs))
	for _, j := range m.jobs {
		if j.rec.Phase != "" {
			all = append(all, j.showLocked())
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b Job) int {
		return cmp.Or(cmp.Compare(a.Ref.Bucket, b.Ref.Bucket), cmp.Compare(a.Ref.Key, b.Ref.Key))
	})
	return all
}

// A job is one object on its way back, or one that somebody is about to ask for. All but ref
// is guarded by Manager.mu.
type job struct {
	ref backend.Ref
	rec record

	// busy is set while one goroutine talks to the store about the object. It alone
	// changes rec then.
	busy    bool
	changed chan struct{} // closed and replaced when busy ends
	waiters int

	// gone is set when the job has left the table: readable, or for the reason end.
	gone     bool
	readable bool
	end      error

	born     time.Time // Since on the monotonic clock
	looked   time.Time // when the store last told of it
	tried    time.Time // when it was last asked to
	extended time.Time // when its copy was last asked to stay
	retry    time.Time // RetryAt on the monotonic clock
	expect   span      // how long the store takes
	tree     bool      // of a Batch: not worth single requests at first
	note     string    // why the last look failed

	shown backend.State // what Changed was told last, or the caller knew
	until time.Time     // and the end of the copy in it
}

func newJob(ref backend.Ref, obj backend.Object) *job {
	return &job{
		ref: ref, changed: make(chan struct{}), shown: obj.State, until: obj.Until,
		rec: record{ETag: obj.ETag, Class: obj.Class, Size: obj.Size},
	}
}

// adoptedJob is a job from the journal. Clocks may have been set since: the age that they
// tell is only believed within reason.
func adoptedJob(ref backend.Ref, r record, now time.Time) *job {
	j := &job{ref: ref, rec: r, changed: make(chan struct{}), until: r.Until, expect: usual(r.Class, r.Tier)}
	j.born = now.Add(-max(0, now.Sub(r.Since)))
	j.retry = now.Add(min(max(0, r.RetryAt.Sub(now)), maxBackOff))
	switch r.Phase {
	case Restored:
		j.shown = backend.Restored
	case Restoring:
		j.shown = backend.Restoring
	default:
		j.shown = backend.Archived
	}
	return j
}

func (j *job) showLocked() Job {
	r := &j.rec
	show := Job{
		Ref: j.ref, Phase: r.Phase, Class: r.Class, Size: r.Size, Tier: r.Tier, Days: r.Days, Since: r.Since,
		Err: cmp.Or(r.Err, j.note), By: r.By, UID: r.UID, Foreign: r.Foreign, Cost: r.Cost, Waiters: j.waiters,
	}
	switch r.Phase {
	case Asked, Restoring:
		show.ETA = j.etaLocked()
	case Restored:
		show.Until = r.Until
	case Failed:
		show.RetryAt = r.RetryAt
	}
	return show
}

// etaLocked is when the job is due at the latest.
func (j *job) etaLocked() time.Time { return j.rec.Since.Add(j.expect.most) }

// releaseLocked ends the turn of the goroutine that has made j busy.
func (j *job) releaseLocked() {
	j.busy = false
	close(j.changed)
	j.changed = make(chan struct{})
}

// standing is what a job means to those who want to read.
type standing uint8

const (
	onItsWay standing = iota
	isReadable
	isFailed
	isOver // it left without the object becoming readable
)

func (j *job) standingLocked() standing {
	switch {
	case j.gone && j.readable, !j.gone && j.rec.Phase == Restored:
		return isReadable
	case j.gone:
		return isOver
	case j.rec.Phase == Failed:
		return isFailed
	}
	return onItsWay
}
