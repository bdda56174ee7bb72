package blocks

import (
	"context"
	"slices"
	"time"
)

const (
	// Read-ahead leaves this share of the budget to readers that wait.
	demandShare = 4
	// Read ahead of a reader that did not come within this time is worth no more than
	// what was read.
	patience = 5 * time.Second
)

// A wish is a stretch of granules around the one that is needed.
type wish struct {
	key      granuleKey // the one that is needed
	from, to int64      // granules [from, to); key.g is one of them
	nice     int64      // granules [to, nice) would be nice to have, too
}

// demand returns the granule a reader needs, pinned: held already or on its way by f, which
// then has granules. It waits for buffers if need be.
func (m *memory) demand(ctx context.Context, f *fetch, w wish) (*granule, error) {
	for f.ctx.Err() == nil {
		gr, wait := m.begin(f, w)
		if gr != nil {
			return gr, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			m.giveUp(wait)
			return nil, ctx.Err()
		case <-f.ctx.Done():
			m.giveUp(wait)
		}
	}
	return nil, errClosed
}

// begin is one try of demand. If there is no buffer, wait is closed when it may try again.
func (m *memory) begin(f *fetch, w wish) (gr *granule, wait <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if gr := m.attachLocked(w.key); gr != nil {
		m.wakeLocked() // in case it was this reader's turn to reserve
		return gr, nil
	}
	from := w.key.g
	for from > w.from && m.held[granuleKey{w.key.id, from - 1}] == nil {
		from--
	}
	got := 0
	if w.nice > w.to {
		got = m.reserveLocked(m.gapLocked(w.key.id, from, w.nice), false)
	}
	if got == 0 {
		got = m.reserveLocked(m.gapLocked(w.key.id, from, w.to), true)
	}
	if got == 0 {
		c := make(chan struct{})
		m.queue = append(m.queue, c)
		return nil, c
	}
	if from+int64(got) <= w.key.g { // not enough to get there
		from = w.key.g
		surplus := max(0, got-m.gapLocked(w.key.id, from, w.to))
		got -= surplus
		m.taken -= surplus
	}
	m.enterLocked(f, w.key.id, from, got)
	return m.attachLocked(w.key), nil
}

// beginAhead puts granules from k up to end on their way by f, as far as they are not held
// and there are buffers to spare; f has no granules if not.
func (m *memory) beginAhead(f *fetch, k granuleKey, end int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.gapLocked(k.id, k.g, end); n > 0 {
		m.enterLocked(f, k.id, k.g, m.reserveLocked(n, false))
	}
}

// gapLocked is the number of granules from from that are not held, up to end.
func (m *memory) gapLocked(i id, from, end int64) int {
	g := from
	for g < end && m.held[granuleKey{i, g}] == nil {
		g++
	}
	return int(g - from)
}

func (m *memory) enterLocked(f *fetch, i id, from int64, n int) {
	for g := range int64(n) {
		gr := &granule{granuleKey: granuleKey{i, from + g}, fetch: f, ahead: f.ahead, done: make(chan struct{})}
		m.held[gr.granuleKey] = gr
		f.granules = append(f.granules, gr)
	}
}

// holds reports whether a granule is here or on its way.
func (m *memory) holds(k granuleKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[k] != nil
}

// reserveLocked takes up to n buffers, dropping what was read, then what was read ahead in
// vain. Read-ahead gets all or nothing of a small wish, demand gets at least one if need be
// at the cost of what was read ahead for others.
func (m *memory) reserveLocked(n int, demand bool) int {
	limit := m.total
	if !demand {
		limit -= m.spare
	}
	for m.taken+n > limit {
		_, old, ok := m.spent.GetOldest()
		if !ok {
			if _, old, ok = m.ahead.GetOldest(); !ok || time.Since(old.since) < patience {
				break
			}
		}
		m.dropLocked(old)
	}
	got := max(min(n, limit-m.taken), 0)
	if demand && got == 0 {
		if _, old, ok := m.ahead.GetOldest(); ok {
			m.dropLocked(old)
			got = 1
		}
	}
	if !demand && got < min(n, blockGranules) {
		return 0
	}
	m.taken += got
	return got
}

// wakeLocked lets the reader that has waited longest try again.
func (m *memory) wakeLocked() {
	if len(m.queue) > 0 {
		close(m.queue[0])
		m.queue = m.queue[1:]
	}
}

// giveUp is for a reader that no longer waits for c.
func (m *memory) giveUp(c <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.queue {
		if m.queue[i] == c {
			m.queue = slices.Delete(m.queue, i, i+1)
			return
		}
	}
	m.wakeLocked() // it was this reader's turn
}
