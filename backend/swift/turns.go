package swift

import (
	"context"
	"sync"
)

// turns lets one at a time change an object on a condition.
type turns struct {
	mu   sync.Mutex               // leaf
	busy map[string]chan struct{} // by container/key: closed when it is free. Guarded by mu
}

// take waits until nobody has name.
func (t *turns) take(ctx context.Context, name string) (leave func(), err error) {
	for {
		t.mu.Lock()
		busy := t.busy[name]
		if busy == nil {
			if t.busy == nil {
				t.busy = map[string]chan struct{}{}
			}
			free := make(chan struct{})
			t.busy[name] = free
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.busy, name)
				close(free)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
