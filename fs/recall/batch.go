package recall

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

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
	Rate     int            // restores begun in a second at most; 0 is 100, more than 1,000 is 1,000
	Parallel int            // requests at once; 0 is 16
	Each     func(Result)   // told of each object when its outcome is known or changes; one call at a time
	Progress func(Progress) // told about once a second and at the end; one call at a time
}

// maxRate is what S3 allows an account (S3 user guide, "Restoring an archived object").
const maxRate = 1000

func (o *BatchOptions) defaults() {
	if o.Rate <= 0 {
		o.Rate = 100
	}
	o.Rate = min(o.Rate, maxRate)
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Each == nil {
		o.Each = func(Result) {}
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
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

// A Batch that runs.
type batch struct {
	m       *Manager
	o       BatchOptions
	results chan found
	tick    <-chan time.Time // for the next restore to begin
	p       Progress
	pending []found
	told    time.Time
}

// found is a Result on its way to the caller of Batch.
type found struct {
	Result
	j     *job
	begun bool
	cost  float64
	price bool // cost is known
	due   time.Time
}

// Batch asks for all targets that are archived. It can be interrupted and begun again: what
// is on its way or readable is not asked for again. A refusal or a failure of one object
// does not stop it; an error of targets or of ctx does, and is returned with what was done
// until then.
func (m *Manager) Batch(ctx context.Context, targets iter.Seq2[Target, error], o BatchOptions) (Progress, error) {
	o.defaults()
	if o.Days < 0 {
		return Progress{}, fmt.Errorf("%w: %d days", backend.ErrInvalid, o.Days)
	}
	ticker := time.NewTicker(time.Second / time.Duration(o.Rate))
	defer ticker.Stop()
	b := &batch{m: m, o: o, results: make(chan found), tick: ticker.C}
	b.p.Currency = m.o.Prices.Currency
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(b.results)
		err = b.run(ctx, targets)
	}()
	for f := range b.results {
		b.take(f)
	}
	<-done
	if err == nil && o.Wait {
		err = b.wait(ctx)
	}
	o.Progress(b.p)
	m.o.Log.Info("restored a tree", slog.Int("readable", b.p.Readable.Objects), slog.Int("pending", b.p.Pending.Objects),
		slog.Int("asked", b.p.Asked.Objects), slog.Int("refused", b.p.Refused.Objects), slog.Int("failed", b.p.Failed.Objects))
	return b.p, err
}

// run looks at all targets, several at once.
func (b *batch) run(ctx context.Context, targets iter.Seq2[Target, error]) error {
	var g errgroup.Group
	g.SetLimit(b.o.Parallel)
	var err error
	for t, targetErr := range targets {
		if err = targetErr; err == nil {
			err = ctx.Err()
		}
		if err != nil {
			break
		}
		g.Go(func() error {
			f := b.one(ctx, t)
			if ctx.Err() == nil || f.Outcome != IsFailed {
				b.results <- f
			}
			return nil
		})
	}
	_ = g.Wait() // nothing fails
	return errors.Join(err, ctx.Err())
}

// one looks at a target and asks for it if need be.
func (b *batch) one(ctx context.Context, t Target) found {
	if t.Object.Key == "" || t.Object.State == backend.Unknown {
		obj, err := b.head(ctx, t.Ref)
		if err != nil {
			return found{Result: Result{Target: t, Outcome: IsFailed, Err: err}}
		}
		t.Object = obj
	}
	f := found{Result: Result{Target: t, Outcome: IsReadable}}
	switch {
	case t.Object.State == backend.Online:
		return f
	case t.Object.State == backend.Restored && (b.o.Days == 0 || b.o.DryRun):
		return f
	case b.o.DryRun:
		return b.imagine(ctx, f)
	}
	return b.ask(ctx, f)
}

func (b *batch) head(ctx context.Context, ref backend.Ref) (backend.Object, error) {
	store, err := b.m.o.Open(ctx, ref.Bucket)
	if err != nil {
		return backend.Object{}, err
	}
	return store.Head(ctx, ref.Key)
}

// imagine says what ask would do.
func (b *batch) imagine(ctx context.Context, f found) found {
	f.Outcome = IsPending
	if j, known := b.m.Job(f.Ref); known && j.Phase == Restored {
		f.Outcome = IsReadable
	} else if f.Object.State == backend.Archived && (!known || j.Phase != Restoring && j.Phase != Asked) {
		f.Outcome = IsArchived
		tier, err := tierFor(f.Object.Class, b.o.Tier, true)
		if err != nil {
			f.Outcome, f.Err = IsFailed, err
			return f
		}
		days := daysFor(f.Object.Class, b.o.Days, b.m.o.Days)
		f.cost, f.price = b.m.o.Prices.Estimate(f.Object.Class, tier, 1, f.Object.Size, days)
		f.due = time.Now().Add(b.m.expects(ctx, f.Ref, f.Object.Class, tier).most)
	}
	return f
}

func (b *batch) ask(ctx context.Context, f found) found {
	known := b.m.knows(f.Ref)
	if f.Object.State == backend.Archived && !known && b.m.affords(f.Object.Size, b.o.OverBudget) {
		select {
		case <-b.tick:
		case <-ctx.Done():
		}
	}
	var err error
	if f.Object.State == backend.Restoring && !known {
		f.j, err = b.m.follow(f.Ref, f.Object)
	} else {
		f.j, err = b.m.engage(ctx, f.Ref, f.Object, ask{Explicit: b.o.Explicit, tree: true, sent: &f.begun})
	}
	b.m.mu.Lock() // an act that ctx has left behind writes to f.begun
	defer b.m.mu.Unlock()
	if err != nil {
		f.Outcome, f.Err = IsFailed, err
		if errors.Is(err, ErrRefused) {
			f.Outcome = IsRefused
		}
		return f
	}
	r := &f.j.rec
	f.Outcome, f.Err = outcomeLocked(f.j)
	f.due = f.j.etaLocked()
	if f.begun {
		f.cost = r.Cost
		_, f.price = b.m.o.Prices.Estimate(r.Class, r.Tier, 1, r.Size, r.Days)
	}
	return f
}

// affords reports whether the budget of the day lets one more restore begin.
func (m *Manager) affords(size int64, over bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return over || m.guards.budget.exceeded(time.Now(), size) == ""
}

// knows reports whether ref is on its way as far as this Manager knows.
func (m *Manager) knows(ref backend.Ref) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[ref]
	return j != nil && (j.rec.Phase == Restoring || j.rec.Phase == Asked)
}

// follow makes a job of a restore that a listing has shown and that others asked for.
func (m *Manager) follow(ref backend.Ref, obj backend.Object) (*job, error) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	j := m.jobs[ref]
	if j != nil {
		return j, nil
	}
	if len(m.jobs) >= maxJobs {
		return nil, tooMany()
	}
	j = newJob(ref, obj)
	j.rec, _ = j.rec.meet(obj, 0, now)
	j.born, j.looked, j.tried, j.tree, j.expect = now, now, now, true, usual(obj.Class, "")
	m.jobs[ref] = j
	m.wakeLocked(j, now)
	return j, nil
}

func outcomeLocked(j *job) (Outcome, error) {
	switch j.standingLocked() {
	case isReadable:
		return IsReadable, nil
	case isFailed:
		return IsFailed, j.failureLocked()
	case isOver:
		if j.end != nil {
			return IsFailed, j.end
		}
		return IsFailed, fmt.Errorf("recall %q: %w again", j.ref, backend.ErrArchived)
	}
	return IsPending, nil
}
