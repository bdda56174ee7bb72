package fs

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Most objects in the world carry no attributes. A directory in which nobody stored any is found
// out by a sample: when none of it carries metadata, the other files are shown as their listing tells,
// with a Meta that is nil, which says that it was not asked for. Whoever needs all of an object
// (open, chmod, xattrs) asks for it; what looks only (glance) does not. One file with metadata,
// whenever it is met, has all of them asked for.

const (
	sampleFirst = 16 // files of the first batch of a listing that are asked for
	sampleMore  = 4  // of later ones, ever fewer of them; of the first where the bucket is known
	knownPlain  = 64 // samples without metadata that make a bucket known
	maxJudged   = 10_000
)

// A plainTable remembers which directories carry attributes.
type plainTable struct {
	mu      sync.Mutex
	dirs    map[backend.Ref]judgement // guarded by mu
	without map[string]int            // objects without metadata seen since the last with some, by bucket; guarded by mu
}

type judgement struct {
	plain bool
	at    time.Time
}

// saw notes what a complete object in dir carries.
func (t *plainTable) saw(dir backend.Ref, obj backend.Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(obj.Meta) > 0 {
		t.judgeLocked(dir, judgement{at: time.Now()})
		delete(t.without, dir.Bucket)
		return
	}
	if t.without == nil {
		t.without = map[string]int{}
	}
	t.without[dir.Bucket]++
}

// believe notes that a sample of dir had no attributes.
func (t *plainTable) believe(dir backend.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j, ok := t.dirs[dir]; !ok || j.plain {
		t.judgeLocked(dir, judgement{true, time.Now()})
	}
}

func (t *plainTable) judgeLocked(dir backend.Ref, j judgement) {
	if t.dirs == nil || len(t.dirs) >= maxJudged {
		t.dirs = map[backend.Ref]judgement{}
	}
	t.dirs[dir] = j
}

// plain reports whether dir was found to carry none, less than ttl ago.
func (t *plainTable) plain(dir backend.Ref, ttl time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.dirs[dir]
	return j.plain && time.Since(j.at) < ttl
}

// attributed reports whether a file in dir is known to carry some.
func (t *plainTable) attributed(dir backend.Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	j, ok := t.dirs[dir]
	return ok && !j.plain
}

// need is how many files of a batch of a listing, counted from 1, are to be asked for.
func (t *plainTable) need(bucket string, batch int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case batch == 1 && t.without[bucket] < knownPlain:
		return sampleFirst
	case batch&(batch-1) == 0:
		return sampleMore
	}
	return 0
}

// sample parts files, as they are listed, into n to be asked for and the rest: among the n are
// the newest, since programs that store attributes may have come lately, the smallest, which can be
// links, and some from all over.
func sample(files []backend.Object, n int) (ask, rest []backend.Object) {
	if len(files) <= n {
		return files, nil
	}
	if n == 0 {
		return nil, files
	}
	bySize := slices.Clone(files)
	slices.SortStableFunc(bySize, func(a, b backend.Object) int { return cmp.Compare(a.Size, b.Size) })
	newest := slices.MaxFunc(files, func(a, b backend.Object) int { return a.ModTime.Compare(b.ModTime) })
	picked := map[string]bool{newest.Key: true}
	for _, obj := range bySize[:n/4] {
		picked[obj.Key] = true
	}
	for i := 0; len(picked) < n; i++ { // the first, the last, the middle, then what is left of them
		picked[files[spread(i, len(files))].Key] = true
	}
	for _, obj := range files {
		if picked[obj.Key] {
			ask = append(ask, obj)
		} else {
			rest = append(rest, obj)
		}
	}
	return ask, rest
}

// spread is the i-th place among n, each place once, near ones late.
func spread(i, n int) int {
	const golden = 0.6180339887498949
	x := float64(i) * golden
	if i >= n { // all that is left
		return i % n
	}
	return int((x - float64(int(x))) * float64(n))
}

// saw notes what an object carries; markers of directories say nothing of files.
func (f *FS) saw(ref backend.Ref, obj backend.Object) {
	if at := dirOf(ref.Key); at != ref.Key {
		f.plain.saw(backend.Ref{Bucket: ref.Bucket, Key: at}, obj)
	}
}

// glance is object for what only looks: what it returns of a directory without attributes lacks
// its metadata.
func (f *FS) glance(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, error) {
	at := backend.Ref{Bucket: ref.Bucket, Key: dirOf(ref.Key)}
	if !f.plain.plain(at, f.o.TTL) {
		return f.object(ctx, store, ref)
	}
	if _, pending := f.queue.Find(ref); pending {
		return f.object(ctx, store, ref)
	}
	if _, _, known := f.entries.Get(ref); known {
		return f.object(ctx, store, ref)
	}
	if obj, ok := f.fromListing(ctx, store, ref); ok {
		return obj, nil
	}
	if listed, ok := f.entries.Listed(ref); ok && listed.State == backend.Online {
		return listed, nil
	}
	return f.object(ctx, store, ref)
}
