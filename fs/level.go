package fs

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/thawfs/thawfs/backend"
)

// levelPage bounds the listing that a lookup makes, in entries: one page of S3.
const levelPage = 1000

// levels remembers which directories are too large to be learnt by a lookup.
type levels struct {
	flight singleflight.Group // by directory

	mu    sync.Mutex
	large map[backend.Ref]time.Time // when that was found. Guarded by mu
	pages []firstPage               // oldest first. Guarded by mu
}

// learn lists a directory that a name is looked up in, so that its other names, and all that
// it does not have, cost no request: programs that look up one name mostly look up more, and
// each new file is looked up before it is made. A level of more than a page is left to be
// asked name by name, as is one that cannot be listed.
func (f *FS) learn(ctx context.Context, store backend.Store, at backend.Ref) {
	if !f.levels.worth(at, f.o.TTL) {
		return
	}
	learnt := f.levels.flight.DoChan(at.String(), func() (any, error) {
		// Who is first takes the others along if interrupted: they ask by name.
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, _ = f.listLevel(ctx, store, at) // what is not learnt is asked for by name
		return nil, nil
	})
	select {
	case <-learnt: // no result to look at
	case <-ctx.Done():
	}
}

// listLevel lists a page of a level, and learns the level if that is all of it.
func (f *FS) listLevel(ctx context.Context, store backend.Store, at backend.Ref) ([]backend.Entry, error) {
	page := firstPage{at: at, stamp: f.entries.Stamp(), read: time.Now()}
	for e, err := range store.List(ctx, at.Key, "", backend.ListOptions{Delimited: true, PageSize: levelPage}) {
		if err != nil {
			return nil, err
		}
		f.answered(nil)
		page.entries = append(page.entries, e)
		if len(page.entries) == levelPage { // there may be more: to look would be another request
			f.levels.note(at)
			f.levels.keep(page)
			return page.entries, nil
		}
	}
	f.answered(nil)
	f.entries.LearnDir(at, page.entries, page.stamp)
	return page.entries, nil
}

// worth reports whether at may be small enough.
func (l *levels) worth(at backend.Ref, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, large := l.large[at]
	if large && time.Since(found) > ttl {
		delete(l.large, at)
		large = false
	}
	return !large
}

// maxLarge bounds levels.large; beyond it all is forgotten, which costs a listing each.
const maxLarge = 10_000

func (l *levels) note(at backend.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.large == nil || len(l.large) >= maxLarge {
		l.large = map[backend.Ref]time.Time{}
	}
	l.large[at] = time.Now()
}
