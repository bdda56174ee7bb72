package writeback

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thawfs/thawfs/backend"
)

// abandonMove journals that a move failed. A move of one key leaves nothing to undo: the
// destination was to be replaced anyhow, and the source is as it was.
func (q *Queue) abandonMove(m *move) {
	q.mu.Lock()
	var seq uint64
	if m.tree {
		m.undo = true
		seq = q.j.append(m.record())
	} else {
		seq = q.j.append(record{MoveEnd: m.id})
		q.dismissLocked(m)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
}

// undoMove removes the copies of a failed tree, for as long as that takes.
func (q *Queue) undoMove(m *move) {
	for try := 0; m.tree; try++ {
		err := q.undoOnce(m)
		if err == nil {
			break
		}
		if q.ctx.Err() != nil {
			return // the journal has it
		}
		q.o.Log.Warn("copies of a failed rename are not removed yet", "key", m.to, "err", err)
		if sleep(q.ctx, backoff(try)) != nil {
			return
		}
		if !transient(err) && try >= 3 {
			break // the store will not have it: said in the log
		}
	}
	q.mu.Lock()
	var seq uint64
	if q.moves[m.id] == m {
		seq = q.j.append(record{MoveEnd: m.id})
		m.undo = false // whoever waits in the source area, too, may go on
		q.dismissLocked(m)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
}

func (q *Queue) undoOnce(m *move) error {
	ctx, cancel := context.WithTimeout(q.ctx, deleteTime)
	defer cancel()
	store, err := q.store(ctx, m.bucket)
	if err != nil {
		return err
	}
	m.mu.Lock()
	unsure := m.unsure
	m.mu.Unlock()
	q.mu.Lock()
	var keys []string
	for key := range m.copied {
		keys = append(keys, key)
	}
	q.mu.Unlock()
	for to, src := range unsure {
		_, ours, err := q.isCopy(ctx, store.raw, src, to)
		switch {
		case errors.Is(err, backend.ErrNotExist):
		case err != nil:
			return err
		case ours:
			keys = append(keys, to)
		}
	}
	slices.Sort(keys)
	for chunk := range slices.Chunk(keys, batchMax) {
		for key, err := range q.deleteKeys(ctx, m.bucket, chunk) {
			if err != nil {
				return fmt.Errorf("delete %q: %w", key, err)
			}
		}
	}
	return nil
}
