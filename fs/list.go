package fs

import (
	"context"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/cache/writeback"
)

// lister yields one level of the tree: what the store lists, with the queue's changes laid
// over it, in byte order of keys. Prefixes end in "/".
type lister struct {
	fs *FS
	at backend.Ref

	index string // ETag of the directory's index, when all has come so far and there is one
	last  string // the last key that all has yielded
}

func newLister(f *FS, at backend.Ref) *lister { return &lister{fs: f, at: at} }

// maxListing bounds the listings that are remembered whole, in entries.
const maxListing = 100_000

// all yields the entries below l.at one by one as the store's pages arrive; the marker of
// the directory itself is left out unless it has data, and so is its index. A listing that was read to its end
// and is not too long is remembered.
func (l *lister) all(ctx context.Context) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		over := l.overlay()
		for e, err := range l.store(ctx) {
			if err != nil {
				yield(e, err)
				return
			}
			if l.last = e.Key; l.isIndex(e) {
				l.index = e.ETag
				continue
			}
			for len(over) > 0 && over[0].Key < e.Key {
				if l.shows(over[0]) && !yield(over[0].Entry, nil) {
					return
				}
				over = over[1:]
			}
			if len(over) > 0 && over[0].Key == e.Key {
				if over[0].gone && !(e.Prefix && l.survives(ctx, e.Key)) {
					over = over[1:]
					continue
				}
				if !over[0].gone {
					e = over[0].over(e)
				}
				over = over[1:]
			}
			if l.shows(overlayEntry{Entry: e}) && !yield(e, nil) {
				return
			}
		}
		for _, o := range over {
			if l.shows(o) && !yield(o.Entry, nil) {
				return
			}
		}
	}
}

// shows reports whether e is a name in the directory: its own marker only with data.
func (l *lister) shows(e overlayEntry) bool {
	return !e.gone && e.attrs == nil && (e.Key != l.at.Key || e.Size > 0)
}

func (l *lister) isIndex(e backend.Entry) bool {
	return !e.Prefix && e.Key == attrindex.Key(l.at.Key)
}

// store yields the level as the store has it, from memory if it is remembered.
func (l *lister) store(ctx context.Context) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		if listed, ok := l.fs.entries.Dir(l.at); ok {
			for _, e := range listed {
				if !yield(e, nil) {
					return
				}
			}
			return
		}
		store, err := l.fs.stores.open(ctx, l.at.Bucket)
		if err != nil {
			yield(backend.Entry{}, err)
			return
		}
		stamp, after := l.fs.entries.Stamp(), ""
		var whole []backend.Entry
		if page, ok := l.fs.takePage(l.at); ok {
			whole, stamp, after = page.entries, page.stamp, page.entries[len(page.entries)-1].Key
			for _, e := range page.entries {
				if !yield(e, nil) {
					return
				}
			}
		}
		for e, err := range store.List(ctx, l.at.Key, after, backend.ListOptions{Delimited: true}) {
			if err == nil && len(whole) <= maxListing {
				whole = append(whole, e)
			}
			if err != nil && after == "" && len(whole) == 0 && l.fs.away(err) {
				if listed, ok := l.fs.entries.Dir(l.at); ok {
					for _, e := range listed {
						if !yield(e, nil) {
							return
						}
					}
					return
				}
			}
			l.fs.answered(err)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if len(whole) <= maxListing {
			l.fs.entries.LearnDir(l.at, whole, stamp)
		}
	}
}

// overlayEntry is a name that waiting changes make or take away.
type overlayEntry struct {
	backend.Entry
	gone  bool
	attrs *writeback.Pending // only attributes wait, which make no name
}

// over is what the store lists with the change laid over it.
func (o overlayEntry) over(listed backend.Entry) backend.Entry {
	if o.attrs == nil {
		return o.Entry
	}
	listed.Object = laidOver(*o.attrs, listed.Object)
	return listed
}

// overlay rolls the queue's changes below l.at up to one level, in byte order. A prefix is
// gone if changes below it only delete.
func (l *lister) overlay() []overlayEntry {
	var over []overlayEntry
	for p := range l.fs.queue.List(l.at.Bucket, l.at.Key, "") {
		rest := p.Ref.Key[len(l.at.Key):]
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			over = append(over, overlayEntry{Entry: backend.Entry{Object: p.Object}, gone: p.Gone})
			over[len(over)-1].Key = p.Ref.Key
			if !p.Gone && !makes(p) {
				over[len(over)-1].attrs = &p
			}
			continue
		}
		if !p.Gone && !makes(p) {
			continue
		}
		prefix := l.at.Key + rest[:i+1]
		if n := len(over); n > 0 && over[n-1].Key == prefix {
			over[n-1].gone = over[n-1].gone && p.Gone
			continue
		}
		over = append(over, overlayEntry{Entry: backend.Entry{Object: backend.Object{Key: prefix}, Prefix: true}, gone: p.Gone})
	}
	slices.SortStableFunc(over, func(a, b overlayEntry) int { return strings.Compare(a.Key, b.Key) })
	return over
}

// survives reports whether a prefix below which keys wait for their deletion has others.
// When the store cannot be asked it says yes: a name too many harms less than one too few.
func (l *lister) survives(ctx context.Context, prefix string) bool {
	store, err := l.fs.stores.open(ctx, l.at.Bucket)
	if err != nil {
		return true
	}
	_, err = l.fs.directory(ctx, store, backend.Ref{Bucket: l.at.Bucket, Key: prefix})
	return err == nil || !isNotExist(err)
}

// inListing finds key in a listing in byte order.
func inListing(listed []backend.Entry, key string) (e backend.Entry, ok bool) {
	i := sort.Search(len(listed), func(i int) bool { return listed[i].Key >= key })
	if ok = i < len(listed) && listed[i].Key == key; ok {
		e = listed[i]
	}
	return e, ok
}
