package swift

import (
	"context"
	"sync"
	"time"
)

// Swift opens the segments of a large object one after the other while it sends them. Segments
// that are to go therefore stay until those who began to read before are done; readers
// elsewhere find that the version has changed.

// readersLimit bounds how long segments stay for readers.
const readersLimit = 20 * time.Second

// readers counts who reads what.
type readers struct {
	mu   sync.Mutex                            // leaf
	open map[string]map[chan struct{}]struct{} // by container/key. Guarded by mu
}

// enter notes a reader; leave may be called again.
func (r *readers) enter(container, key string) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, done := container+"/"+key, make(chan struct{})
	if r.open == nil {
		r.open = map[string]map[chan struct{}]struct{}{}
	}
	if r.open[name] == nil {
		r.open[name] = map[chan struct{}]struct{}{}
	}
	r.open[name][done] = struct{}{}
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(done)
		if delete(r.open[name], done); len(r.open[name]) == 0 {
			delete(r.open, name)
		}
	})
}

// await waits for those who read now.
func (r *readers) await(ctx context.Context, container, key string) {
	r.mu.Lock()
	var open []chan struct{}
	for done := range r.open[container+"/"+key] {
		open = append(open, done)
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readersLimit)
	defer cancel()
	for _, done := range open {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}
