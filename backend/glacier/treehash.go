package glacier

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
)

const mib = 1 << 20 // bytes of a leaf

// A sum is the hash of a node of the tree over an archive: of a leaf the SHA-256 of its MiB
// (the last one may be shorter), of an inner node that of its two children in a row
// (developer guide, "Computing Checksums").
type sum [sha256.Size]byte

func (s sum) String() string { return hex.EncodeToString(s[:]) }

// parseSum reads a hash as the service writes it.
func parseSum(text string) (s sum, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(s) {
		return s, false
	}
	copy(s[:], b)
	return s, true
}

// join is the node over two.
func join(left, right sum) sum {
	var pair [2 * sha256.Size]byte
	copy(pair[:], left[:])
	copy(pair[sha256.Size:], right[:])
	return sha256.Sum256(pair[:])
}

// A tree takes leaves in their order and holds one node for each bit of their number: 40 TiB
// need 26.
type tree struct {
	leaves int64
	nodes  []sum // whole subtrees, the largest first
}

// add takes the next leaf.
func (t *tree) add(leaf sum) {
	t.leaves++
	for n := t.leaves; n&1 == 0; n >>= 1 { // the leaf completes a subtree, which may complete another
		last := len(t.nodes) - 1
		leaf = join(t.nodes[last], leaf)
		t.nodes = t.nodes[:last]
	}
	t.nodes = append(t.nodes, leaf)
}

// root is the hash of all leaves so far: nodes without a neighbour go up as they are.
func (t *tree) root() sum {
	if len(t.nodes) == 0 {
		return sha256.Sum256(nil)
	}
	s := t.nodes[len(t.nodes)-1]
	for i := len(t.nodes) - 2; i >= 0; i-- {
		s = join(t.nodes[i], s)
	}
	return s
}

// rootOf is the hash over leaves.
func rootOf(leaves []sum) sum {
	var t tree
	for _, l := range leaves {
		t.add(l)
	}
	return t.root()
}

// treeHash hashes what is in memory.
func treeHash(b []byte) sum {
	var t tree
	for ; len(b) > mib; b = b[mib:] {
		t.add(sha256.Sum256(b[:mib]))
	}
	t.add(sha256.Sum256(b))
	return t.root()
}

// leavesOf reads r to its end and returns the hash of every MiB, telling see of the bytes.
func leavesOf(r io.Reader, see func([]byte)) ([]sum, error) {
	var leaves []sum
	buf := make([]byte, mib)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			see(buf[:n])
			leaves = append(leaves, sha256.Sum256(buf[:n]))
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return leaves, nil
		default:
			return nil, err
		}
	}
}

// leafCount is the number of leaves of size bytes.
func leafCount(size int64) int64 { return (size + mib - 1) / mib }

// isNode reports whether leaves [from, to) of n are below one node of the tree. The service
// tells the hash of ranges that are. The guide's formula is damaged; this rule was
// compared with all ranges of trees of up to 70 leaves.
func isNode(from, to, n int64) bool {
	size := to - from
	if size <= 0 || from < 0 || to > n {
		return false
	}
	if size&(size-1) == 0 && from%size == 0 {
		return true
	}
	return to == n && from%ceilPower(size) == 0
}

// ceilPower is the smallest power of two that is not less than n.
func ceilPower(n int64) int64 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len64(uint64(n-1))
}

// nodeAt is the end of the largest node of at most limit leaves (a power of two) that begins
// at leaf from, of n in all.
func nodeAt(from, limit, n int64) int64 {
	for size := limit; size > 1; size /= 2 {
		if to := min(from+size, n); from%size == 0 && isNode(from, to, n) {
			return to
		}
	}
	return from + 1
}

// partSizeFor is the size in bytes of the parts of an upload: a MiB times a power of two, at
// least, and large enough that size fits into the 10,000 parts that are allowed.
func partSizeFor(size, least int64) int64 {
	return max(ceilPower(leafCount((size+maxParts-1)/maxParts)), ceilPower(leafCount(least))) * mib
}

const (
	maxParts  = 10_000
	maxObject = maxParts * 4 << 30 // bytes
)

// mismatch says that bytes are not those that a hash is of.
func mismatch(what string, got, want sum) error {
	return fmt.Errorf("%s: tree hash %s, want %s", what, got, want)
}
