package glaciertest

import (
	"crypto/sha256"
	"encoding/hex"
)

const mib = 1 << 20

// TreeHash is the tree hash of data by definition (developer guide, "Computing Checksums"):
// the leaves are the SHA-256 of each MiB, a node that of its two children, and a node
// without a neighbour goes up as it is. It shares no code with the driver.
func TreeHash(data []byte) string {
	sum := treeHash(data)
	return hex.EncodeToString(sum[:])
}

func treeHash(data []byte) [sha256.Size]byte {
	if len(data) <= mib {
		return sha256.Sum256(data)
	}
	// The left subtree is the largest whole one: a power of two of leaves, less than all.
	left := mib
	for 2*left < len(data) {
		left *= 2
	}
	l, r := treeHash(data[:left]), treeHash(data[left:])
	return sha256.Sum256(append(l[:], r[:]...))
}

// isNode reports whether bytes [from, to) of size bytes are what a node of the tree stands
// for, by walking down from the root.
func isNode(from, to, size int64) bool {
	lo, hi := int64(0), size
	for {
		switch {
		case from == lo && to == hi:
			return true
		case hi-lo <= mib:
			return false
		}
		left := int64(mib)
		for 2*left < hi-lo {
			left *= 2
		}
		switch {
		case to <= lo+left:
			hi = lo + left
		case from >= lo+left:
			lo += left
		default:
			return false
		}
	}
}
