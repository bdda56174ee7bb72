package fs

import (
	"hash/fnv"
	"io"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// inoTable hands out inode numbers: a hash of the key, so that a file keeps its number
// over mounts for tar and rsync, moved aside when a node that is still alive (renamed away,
// unlinked but open) holds it.
type inoTable struct {
	mu   sync.Mutex
	used map[uint64]struct{} // guarded by mu; numbers of live nodes
}

// firstAutomaticIno keeps go-fuse's own numbers apart from ours.
const firstAutomaticIno = 1 << 63

// take reserves a number for a new node of ref.
func (t *inoTable) take(ref backend.Ref) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used == nil {
		t.used = map[uint64]struct{}{}
	}
	for ino := hashIno(ref); ; ino = nextIno(ino) {
		if _, ok := t.used[ino]; !ok {
			t.used[ino] = struct{}{}
			return ino
		}
	}
}

func (t *inoTable) drop(ino uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.used, ino)
}

// hashIno is the same on every mount.
func hashIno(ref backend.Ref) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, ref.Bucket+"\x00"+ref.Key) // never fails
	return clampIno(h.Sum64())
}

func nextIno(ino uint64) uint64 { return clampIno(ino + 1) }

// clampIno keeps clear of 0, of the root's 1, and of go-fuse's own numbers.
func clampIno(h uint64) uint64 {
	h &= firstAutomaticIno - 1
	return max(h, 2)
}
