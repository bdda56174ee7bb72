package fs

import (
	"context"
	"fmt"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A slowLister lists as a distant store does: what it says is some time old when it arrives.
type slowLister struct{ backend.Service }

type slowListed struct {
	backend.Store
	backend.BatchDeleter
}

func (s slowLister) Open(ctx context.Context, name string) (backend.Store, error) {
	store, err := s.Service.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return slowListed{store, store.(backend.BatchDeleter)}, nil
}

func (s slowListed) List(ctx context.Context, prefix, after string, o backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		type item struct {
			e   backend.Entry
			err error
		}
		var items []item
		for e, err := range s.Store.List(ctx, prefix, after, o) {
			items = append(items, item{e, err})
		}
		time.Sleep(100 * time.Millisecond) // meanwhile deletes are confirmed
		for _, i := range items {
			if !yield(i.e, i.err) {
				return
			}
		}
	}
}

// rm -rf unlinks and removes the directory at once, while the deletes are on their way.
func TestRmdirWhileDeletesAreConfirmed(t *testing.T) {
	m := mountOn(t, slowLister{newStore(t)})
	for round := range 3 {
		dir := m.path(fmt.Sprint("d", round))
		must(t, os.Mkdir(dir, 0o755))
		for i := range 20 {
			must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o644))
		}
		m.drain()
		must(t, os.RemoveAll(dir))
	}
}
