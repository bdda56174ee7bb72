package recall

import (
	"context"
	"time"
)

// take counts a result and passes it on.
func (b *batch) take(f found) {
	b.p.count(f)
	if f.Outcome == IsPending {
		b.pending = append(b.pending, f)
	}
	b.o.Each(f.Result)
	b.progress()
}

func (b *batch) progress() {
	if time.Since(b.told) >= time.Second {
		b.told = time.Now()
		b.o.Progress(b.p)
	}
}

// wait returns when nothing is pending any more. The poller says when to look.
func (b *batch) wait(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		b.m.mu.Lock()
		moved := b.m.moved
		b.m.mu.Unlock()
		b.settle()
		if len(b.pending) == 0 {
			return nil
		}
		if err := b.untilMoved(ctx, moved, tick.C); err != nil {
			return err
		}
	}
}

// untilMoved returns when the poller has been round, and tells of the progress meanwhile.
func (b *batch) untilMoved(ctx context.Context, moved <-chan struct{}, tick <-chan time.Time) error {
	for {
		b.progress()
		select {
		case <-moved:
			return nil
		case <-tick:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.m.life.Done():
			return ErrClosed
		}
	}
}

// settle tells of those that are pending no more.
func (b *batch) settle() {
	var still, over []found
	b.m.mu.Lock()
	for _, f := range b.pending {
		if f.Outcome, f.Err = outcomeLocked(f.j); f.Outcome == IsPending {
			still = append(still, f)
		} else {
			over = append(over, f)
		}
	}
	b.m.mu.Unlock()
	b.pending = still
	for _, f := range over {
		b.p.move(f)
		b.o.Each(f.Result)
	}
}
