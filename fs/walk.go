package fs

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

const (
	firstWalk  = 8    // names that are fetched ahead at first, doubled while the walk goes on
	walkStep   = 4    // names further on at most that still continue a walk
	walkLost   = 3    // steps in no order before another order is tried
	walkTrial  = 64   // names after which it must have paid
	walkPays   = 4    // one name used of so many pays
	walkMemory = 1000 // names that its success is measured by; the past fades
)

// A walk is one program's way through a directory, as it seems: in the order of the listing,
// as tar goes and a shell's glob, or in the order of inode numbers, as cp -r and rm -rf do. Two
// steps in order begin it; that few of the names fetched ahead are then used ends it. It has no
// lock of its own.
type walk struct {
	level        backend.Ref
	last, before string // keys of the last steps
	window       int
	lost         int // steps in a row that were in no order

	ahead        map[string]struct{} // keys fetched ahead and not used yet
	sent         []string            // these and some that were used, the oldest first
	issued, used int                 // keys fetched ahead, and those that a step came to

	inodewise bool            // in the order of inode numbers, not of the listing
	inodes    []inodeOf       // names by inode number; nil unless that order was tried
	names     []backend.Entry // that inodes was made of
}

type inodeOf struct {
	ino uint64
	backend.Entry
}

// stepTo notes a step to key and reports whether there may be something to fetch ahead of it.
func (k *walk) stepTo(key string) bool {
	if key == k.last {
		return false
	}
	k.before, k.last = k.last, key
	if _, ok := k.ahead[key]; ok {
		delete(k.ahead, key)
		k.used++
	}
	return k.before != "" && (k.issued < walkTrial || k.used*walkPays >= k.issued)
}

// next is what to fetch now; the next time it is more. names is the listing as far as it is
// known.
func (k *walk) next(names []backend.Entry) []backend.Entry {
	batch := k.nextBy(k.inodewise, names)
	if batch == nil && (k.inodewise || k.inodes != nil || k.lost >= walkLost) {
		if batch = k.nextBy(!k.inodewise, names); batch != nil {
			k.inodewise = !k.inodewise
		}
	}
	if batch == nil {
		k.lost++
		k.window = firstWalk
		return nil
	}
	k.lost = 0
	if len(batch) > 0 {
		k.window = min(2*k.window, mostWalk)
	}
	return batch
}

// fetched notes that key is being fetched. What was fetched long ago is given up.
func (k *walk) fetched(key string) {
	if k.ahead == nil {
		k.ahead = map[string]struct{}{}
	}
	k.ahead[key] = struct{}{}
	k.sent = append(k.sent, key)
	for len(k.sent) > 4*mostWalk {
		delete(k.ahead, k.sent[0])
		k.sent = k.sent[1:]
	}
	if k.issued++; k.issued > walkMemory {
		k.issued, k.used = k.issued/2, k.used/2
	}
}

func (k *walk) nextBy(inode bool, names []backend.Entry) []backend.Entry {
	if inode {
		return k.byInode(names)
	}
	return k.inOrder(names)
}

// inOrder is next for a walk in the order of names; nil if it is none.
func (k *walk) inOrder(names []backend.Entry) []backend.Entry {
	position := func(key string) int { // of the first entry behind key
		return sort.Search(len(names), func(i int) bool { return names[i].Key > key })
	}
	from, to := position(k.before), position(k.last)
	if _, listed := inListing(names, k.last); !listed || to <= from || to-from > walkStep {
		return nil
	}
	return k.behind(len(names), to, func(i int) backend.Entry { return names[i] })
}

// byInode is next for a walk in the order of inode numbers; nil if it is none.
func (k *walk) byInode(names []backend.Entry) []backend.Entry {
	if len(names) == 0 {
		return nil
	}
	if len(k.names) != len(names) || &k.names[0] != &names[0] {
		k.sort(names)
	}
	position := func(key string) int {
		ino := k.inode(key)
		return sort.Search(len(k.inodes), func(i int) bool { return k.inodes[i].ino > ino })
	}
	from, to := position(k.before), position(k.last)
	if to <= from || to-from > walkStep {
		return nil
	}
	return k.behind(len(k.inodes), to, func(i int) backend.Entry { return k.inodes[i].Entry })
}

func (k *walk) sort(names []backend.Entry) {
	k.names, k.inodes = names, make([]inodeOf, len(names))
	for i, e := range names {
		k.inodes[i] = inodeOf{k.inode(e.Key), e}
	}
	slices.SortFunc(k.inodes, func(a, b inodeOf) int { return cmp.Compare(a.ino, b.ino) })
}

// inode is the number that key most likely has (ino.go).
func (k *walk) inode(key string) uint64 {
	return hashIno(backend.Ref{Bucket: k.level.Bucket, Key: key})
}

// behind are the files that are not being fetched of a window from entry i of n on, unless
// these are too few to trouble. It is never nil.
func (k *walk) behind(n, i int, at func(int) backend.Entry) []backend.Entry {
	missing, end := 0, i
	for seen := 0; end < n && seen < k.window; end++ {
		if e := at(end); isFile(e) {
			seen++
			if _, ok := k.ahead[e.Key]; !ok {
				missing++
			}
		}
	}
	if missing == 0 || missing < k.window/2 && end < n {
		return []backend.Entry{}
	}
	batch := make([]backend.Entry, 0, missing)
	for ; i < end; i++ {
		e := at(i)
		if _, ok := k.ahead[e.Key]; !ok && isFile(e) {
			batch = append(batch, e)
		}
	}
	return batch
}

func isFile(e backend.Entry) bool { return !e.Prefix && !strings.HasSuffix(e.Key, "/") }
