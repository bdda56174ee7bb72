package glacier

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/thawfs/thawfs/backend/glacier/glaciertest"
)

// TestTreeHash compares ours with the double's, which follows the definition and shares no code.
func TestTreeHash(t *testing.T) {
	data := make([]byte, 9*mib+5)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	for _, size := range []int{0, 1, mib - 1, mib, mib + 1, 2 * mib, 3*mib - 7, 4 * mib, 5*mib + 1, 7 * mib, 8 * mib, 9*mib + 5} {
		want := glaciertest.TreeHash(data[:size])
		if got := treeHash(data[:size]).String(); got != want {
			t.Errorf("treeHash of %d bytes = %s, want %s", size, got, want)
		}
		leaves, err := leavesOf(bytes.NewReader(data[:size]), func([]byte) {})
		if err != nil || rootOf(leaves).String() != want {
			t.Errorf("leavesOf %d bytes: root %s, %v, want %s", size, rootOf(leaves), err, want)
		}
	}
}

// bounds are all nodes of a tree over n leaves, by definition: pairs, a lone one goes up.
func bounds(n int64) map[[2]int64]bool {
	nodes := map[[2]int64]bool{}
	var level [][2]int64
	for i := range n {
		level = append(level, [2]int64{i, i + 1})
	}
	for len(level) > 0 {
		var up [][2]int64
		for i := 0; i < len(level); i += 2 {
			nodes[level[i]] = true
			if i+1 == len(level) {
				up = append(up, level[i])
				continue
			}
			nodes[level[i+1]] = true
			up = append(up, [2]int64{level[i][0], level[i+1][1]})
		}
		if len(level) == 1 {
			break
		}
		level = up
	}
	return nodes
}

func TestIsNode(t *testing.T) {
	for n := int64(1); n <= 70; n++ {
		nodes := bounds(n)
		for from := range n {
			for to := from + 1; to <= n; to++ {
				if got, want := isNode(from, to, n), nodes[[2]int64{from, to}]; got != want {
					t.Fatalf("isNode(%d, %d, %d) = %v, want %v", from, to, n, got, want)
				}
			}
			if to := nodeAt(from, 4, n); !nodes[[2]int64{from, to}] || to-from > 4 {
				t.Fatalf("nodeAt(%d, 4, %d) = %d, which is no node of up to 4 leaves", from, n, to)
			}
		}
	}
}

func TestPartSizes(t *testing.T) {
	for _, tt := range []struct{ size, least, want int64 }{
		{1, mib, mib},
		{200 * mib, 16 * mib, 16 * mib},
		{10_000 * 16 * mib, 16 * mib, 16 * mib},
		{10_000*16*mib + 1, 16 * mib, 32 * mib},
		{40 << 40, 16 * mib, 8 << 30}, // more than the service takes: maxObject refuses it before
		{maxObject, 16 * mib, 4 << 30},
	} {
		got := partSizeFor(tt.size, tt.least)
		if got != tt.want || (tt.size+got-1)/got > maxParts {
			t.Errorf("partSizeFor(%d, %d) = %d, want %d", tt.size, tt.least, got, tt.want)
		}
	}
}
