package recall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// begin asks the store for an archived object, if the guards let it.
func (m *Manager) begin(j *job, store backend.Store, obj backend.Object, a ask) error {
	restorer, ok := store.(backend.Restorer)
	if !ok {
		return m.fail(j, errors.New("the store cannot restore objects"))
	}
	tier, err := tierFor(obj.Class, a.Tier, a.tree)
	if err != nil {
		err = m.explain(j.ref, a, err)
		m.refused(j, err)
		return err
	}
	if err := m.admit(j, store, obj, a, tier); err != nil {
		err = m.explain(j.ref, a, err)
		m.refused(j, err)
		return err
	}
	// From here on the request counts as sent, until the store says otherwise.
	if err := m.journal.commit(); err != nil {
		m.takeBack(j)
		return m.fail(j, err)
	}
	return m.send(j, restorer, store, a)
}

// admit passes the guards and puts the intent into the journal.
func (m *Manager) admit(j *job, store backend.Store, obj backend.Object, a ask, tier string) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.admissibleLocked(obj.Size, a, now); err != nil {
		return err
	}
	days := daysFor(obj.Class, a.Days, m.o.Days)
	cost, _ := m.o.Prices.Estimate(obj.Class, tier, 1, obj.Size, days)
	j.rec = record{
		Phase: Asked, ETag: obj.ETag, Class: obj.Class, Size: obj.Size, Tier: tier, Days: days, Since: now, Day: dayOf(now),
		UID: a.program().uid, By: a.program().exe, Cost: cost, Fails: j.rec.Fails,
	}
	j.born, j.tree, j.expect = now, a.tree, m.expectLocked(store, j.ref, obj.Class, tier)
	if a.implicit {
		m.guards.burst.count(a.program(), now)
	}
	delete(m.guards.refused, j.ref)
	m.journal.putJob(j.ref, j.rec)
	m.chargeLocked(j.rec.Day, 1, obj.Size, cost)
	a.markSent()
	return nil
}

func (a ask) markSent() {
	if a.sent != nil {
		*a.sent = true
	}
}

// chargeLocked takes from the budget of a day or gives back.
func (m *Manager) chargeLocked(name string, objects int, size int64, cost float64) {
	m.journal.putDay(name, m.guards.budget.charge(name, objects, size, cost))
	for _, old := range m.guards.budget.forget(dayOf(time.Now())) {
		m.journal.removeDay(old)
	}
}

// takeBack gives back what a request took that has not been served.
func (m *Manager) takeBack(j *job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := &j.rec; r.Day != "" {
		m.chargeLocked(r.Day, -1, r.Size, r.Cost)
		r.Day = ""
	}
}

// send asks the store and looks what came of it. It is not interrupted. Of a tree it
// believes the store for now: the poller looks at many at once.
func (m *Manager) send(j *job, restorer backend.Restorer, store backend.Store, a ask) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.life), sendTime)
	defer cancel()
	if err := m.take(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	r := j.rec
	m.mu.Unlock()
	err := restorer.Restore(ctx, j.ref.Key, backend.RestoreOptions{Tier: r.Tier, Keep: time.Duration(r.Days) * day})
	m.give()
	if err == nil && j.tree {
		m.believe(j)
		return nil
	}
	_, obj, headErr := m.head(context.WithoutCancel(m.life), j)
	switch {
	case headErr == nil && obj.State != backend.Archived:
		m.sent(j, obj, store)
		return nil
	case err == nil:
		m.believe(j)
		return nil
	case headErr != nil && perhaps(err):
		m.unknown(j, err)
		return nil
	}
	m.takeBack(j)
	if errors.Is(err, backend.ErrNotExist) {
		m.finish(j, false, err)
		return err
	}
	if errors.Is(err, backend.ErrQuota) {
		err = m.explain(j.ref, a, &refusal{why: err.Error(), remedy: quotaRemedy, log: true})
		m.refused(j, err)
		return err
	}
	if r.Tier == expedited && errors.Is(err, backend.ErrUnavailable) {
		err = fmt.Errorf("the store has no room for expedited restores at present, ask again or with another tier: %w", err)
	}
	return m.fail(j, err)
}

// perhaps reports whether a request that failed with err may have arrived.
func perhaps(err error) bool {
	return errors.Is(err, backend.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// sent notes that the store shows what was asked for.
func (m *Manager) sent(j *job, obj backend.Object, store backend.Store) {
	if m.show(j, store, obj) == done {
		m.finish(j, true, nil)
		return
	}
	m.mu.Lock()
	r, eta := j.rec, j.etaLocked()
	m.mu.Unlock()
	m.o.Log.Log(m.life, j.level(), "recall begun", slog.String("key", j.ref.String()), slog.String("class", r.Class),
		slog.String("tier", r.Tier), slog.Int64("n", r.Size), slog.Time("due", eta), slog.String("program", r.By))
}

// believe notes that the store took the request, though it does not show that yet.
func (m *Manager) believe(j *job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j.rec.Phase = Restoring
	j.tried = time.Now()
	m.journal.putJob(j.ref, j.rec)
	m.wakeLocked(j, j.tried)
}

// unknown leaves it to the poller to find out whether the request arrived, and to send it
// if not.
func (m *Manager) unknown(j *job, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j.tried, j.note = time.Now(), err.Error()
	m.wakeLocked(j, j.tried)
}
