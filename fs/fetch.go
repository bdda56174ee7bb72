package fs

import (
	"context"
	"log/slog"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// fetches bring objects into the cache that somebody has waited for, and may have given up to:
// a restored copy ends after some days, and what is here stays.
type fetches struct {
	fs    *FS
	ctx   context.Context
	end   context.CancelFunc
	work  sync.WaitGroup
	slots chan struct{} // holds a token for each that runs
}

const fetchesAtOnce = 2

func newFetches(f *FS) *fetches {
	x := &fetches{fs: f, slots: make(chan struct{}, fetchesAtOnce)}
	x.ctx, x.end = context.WithCancel(context.Background())
	return x
}

// begin fetches obj when there is time. What would take more than half of the cache is left in
// the store.
func (x *fetches) begin(ref backend.Ref, obj backend.Object) {
	if !obj.State.Readable() || obj.Size > x.fs.o.CacheSize/2 || x.fs.blocks.Whole(ref, obj) {
		return
	}
	x.work.Go(func() {
		select {
		case x.slots <- struct{}{}:
		case <-x.ctx.Done():
			return
		}
		defer func() { <-x.slots }()
		if err := x.fetch(ref, obj); err != nil && x.ctx.Err() == nil {
			x.fs.log.Info("a recalled file is not cached: it has to be read before its copy ends",
				slog.String("key", ref.String()), slog.Time("until", obj.Until), slog.Any("err", err))
		}
	})
}

func (x *fetches) fetch(ref backend.Ref, obj backend.Object) error {
	store, err := x.fs.stores.open(x.ctx, ref.Bucket)
	if err != nil {
		return err
	}
	if _, own := store.(backend.Fetcher); own {
		return nil // the bringer has it
	}
	whole, err := x.fs.blocks.Fill(x.ctx, store, ref, obj)
	if err != nil {
		return err
	}
	return whole.Close()
}

// close ends all of them. The recall manager, which begins them, is closed.
func (x *fetches) close() {
	x.end()
	x.work.Wait()
}
