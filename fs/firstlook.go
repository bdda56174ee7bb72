package fs

import (
	"context"
	"errors"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/cache/entries"
)

// A firstPage is the beginning of the listing of a large directory. A lookup that lists the
// directory to see whether it is one leaves it to the listing that mostly follows.
type firstPage struct {
	at      backend.Ref
	entries []backend.Entry
	stamp   entries.Stamp
	read    time.Time
}

const (
	maxPages = 8               // first pages that are kept
	pageTime = 5 * time.Second // how long they are
)

// expectsDir reports whether a name is better looked for as a directory first: the kernel
// knows it as one, or it is the first name of a mount, for programs begin at a directory.
func (d *dirNode) expectsDir(name string) bool {
	if c := d.GetChild(name); c != nil {
		return c.IsDir()
	}
	return d.component() == "" && !d.looked.Swap(true)
}

// look is directory for one that is expected to be there. It lists its level at once, and takes
// the attributes of its marker from that and from the index where it can: for a large directory and
// all the attributes in it that is one request more than the pages of its listing. known is false if
// there are changes that wait, or the answer is known anyhow: then it has not looked.
func (f *FS) look(ctx context.Context, store backend.Store, at, dir backend.Ref) (obj backend.Object, known bool, err error) {
	bare := backend.Object{Key: dir.Key}
	if _, whole := f.entries.Dir(at); whole || f.queuedBelow(dir) || len(f.goneBelow(dir)) > 0 {
		return bare, false, nil
	}
	if _, _, known := f.entries.Get(dir); known {
		return bare, false, nil
	}
	waiting, _ := f.queue.Find(dir)
	stamp := f.entries.Stamp()
	level, err := f.listLevel(ctx, store, dir)
	switch {
	case err != nil:
		return bare, false, err
	case len(level) == 0:
		f.entries.LearnAbsent(dir, stamp)
		return bare, true, backend.ErrNotExist
	case level[0].Key != dir.Key:
		f.entries.Learn(dir, bare, stamp)
		return bare, true, nil
	}
	obj, ok := f.entries.Complete(dir, level[0].Object)
	if index, there := inListing(level, attrindex.Key(dir.Key)); there && !ok {
		obj, ok = f.indexed(f.loadIndex(ctx, store, dir, index.ETag), dir, level[0].Object)
	}
	if !ok {
		obj, err = store.Head(ctx, dir.Key)
		if errors.Is(err, backend.ErrNotExist) {
			obj, err = bare, nil
		}
	}
	if err == nil {
		f.entries.Learn(dir, obj, stamp)
	}
	return laidOver(waiting, obj), true, err
}

// keep leaves a page to the next listing of its directory.
func (l *levels) keep(p firstPage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pages) == maxPages {
		l.pages = l.pages[1:]
	}
	l.pages = append(l.pages, p)
}

// takePage returns the first page of at, once, if it is young and nothing has changed since.
func (f *FS) takePage(at backend.Ref) (firstPage, bool) {
	l := &f.levels
	l.mu.Lock()
	var page firstPage
	left := l.pages[:0]
	for _, p := range l.pages {
		switch {
		case time.Since(p.read) > min(pageTime, f.o.TTL):
		case p.at == at:
			page = p
		default:
			left = append(left, p)
		}
	}
	l.pages = left
	l.mu.Unlock()
	return page, page.entries != nil && f.entries.Quiet(at, page.stamp)
}
