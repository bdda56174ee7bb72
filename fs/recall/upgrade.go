package recall

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// upgrade makes a running restore a faster one if a wants that: the same request again,
// with the same days and a faster tier (S3 user guide, "Upgrading the speed of an in-progress
// restore"). It is paid for again, so the budget is asked.
func (m *Manager) upgrade(j *job, store backend.Store, a ask) error {
	m.mu.Lock()
	r := j.rec
	m.mu.Unlock()
	if a.Tier == "" || a.Tier == r.Tier || r.Tier != "" && !faster(a.Tier, r.Tier) {
		return nil
	}
	restorer, ok := store.(backend.Restorer)
	if !ok {
		return nil
	}
	if r.Foreign && a.tree {
		return nil // it comes back, if not as fast as it might
	}
	if r.Foreign {
		return fmt.Errorf("recall %q: %w: it is on its way already, and only who asked for it knows for how many days, which must be the same",
			j.ref, backend.ErrUnsupported)
	}
	if _, err := tierFor(r.Class, a.Tier, false); err != nil {
		return fmt.Errorf("recall %q: %w", j.ref, err)
	}
	if err := m.payUpgrade(j, a); err != nil {
		return err
	}
	err := m.again(restorer, j, a.Tier, r.Days)
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	cost, _ := m.o.Prices.Estimate(r.Class, a.Tier, 1, r.Size, 0)
	if err != nil {
		m.chargeLocked(dayOf(now), -1, r.Size, cost)
		return fmt.Errorf("recall %q: %w: it goes on as %s: %v", j.ref, ErrFailed, r.Tier, err)
	}
	j.rec.Tier, j.rec.Since, j.rec.Cost = a.Tier, now, r.Cost+cost
	j.born, j.tried, j.expect = now, now, m.expectLocked(store, j.ref, r.Class, a.Tier)
	m.journal.putJob(j.ref, j.rec)
	m.wakeLocked(j, now)
	return nil
}

// payUpgrade takes an upgrade from the budget, durably. The journal keeps the slower tier
// until the faster one has been asked for: after a crash in between it can be asked again.
func (m *Manager) payUpgrade(j *job, a ask) error {
	now := time.Now()
	m.mu.Lock()
	r := m.guards.check(a, j.rec.Size, now)
	if r == nil {
		cost, _ := m.o.Prices.Estimate(j.rec.Class, a.Tier, 1, j.rec.Size, 0)
		m.chargeLocked(dayOf(now), 1, j.rec.Size, cost)
		a.markSent()
	}
	m.mu.Unlock()
	if r != nil {
		return m.explain(j.ref, a, r)
	}
	return m.journal.commit()
}

// again sends another request for an object that is on its way or there.
func (m *Manager) again(restorer backend.Restorer, j *job, tier string, days int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.life), sendTime)
	defer cancel()
	if err := m.take(ctx); err != nil {
		return err
	}
	defer m.give()
	return restorer.Restore(ctx, j.ref.Key, backend.RestoreOptions{Tier: tier, Keep: time.Duration(days) * day})
}

// stayFor keeps a copy for as long as a wants, if it would end before. A request of ours
// for as many days that was made within a day is not repeated: stores differ in when they
// begin to count.
func (m *Manager) stayFor(j *job, store backend.Store, obj backend.Object, a ask) error {
	left := time.Until(obj.Until)
	m.mu.Lock()
	since := time.Since(j.rec.Since)
	asked := !j.rec.Foreign && j.rec.Days >= a.Days && since < day+j.expect.most
	m.mu.Unlock()
	if a.Days > 0 && (left >= time.Duration(a.Days)*day || asked) || a.Days <= 0 && left >= keepAhead {
		return nil
	}
	return m.extend(j, store, daysFor(obj.Class, a.Days, m.o.Days))
}

// extend asks for a copy that exists to stay for days from now. That costs a request, but
// no retrieval; shortly before the end, when it might, it is left.
func (m *Manager) extend(j *job, store backend.Store, days int) error {
	m.mu.Lock()
	r := j.rec
	j.extended = time.Now()
	m.mu.Unlock()
	restorer, ok := store.(backend.Restorer)
	if !ok || time.Until(r.Until) < keepAtMost {
		return nil
	}
	tier, err := tierFor(r.Class, r.Tier, false)
	if err != nil {
		return err
	}
	if err := m.again(restorer, j, tier, days); err != nil {
		m.o.Log.Warn("a restored copy could not be kept longer", slog.String("key", j.ref.String()),
			slog.Time("until", r.Until), slog.Any("err", err))
		return fmt.Errorf("recall %q: %w: its copy ends at %s: %v", j.ref, ErrFailed, r.Until.UTC().Format(time.RFC3339), err)
	}
	m.mu.Lock()
	if !j.rec.Foreign {
		j.rec.Days = max(j.rec.Days, days)
		m.journal.putJob(j.ref, j.rec)
	}
	m.mu.Unlock()
	_, obj, err := m.head(m.life, j)
	if err != nil {
		return nil // the poller will see
	}
	if m.show(j, store, obj) != goesOn {
		m.finish(j, obj.State.Readable(), nil)
	}
	return nil
}
