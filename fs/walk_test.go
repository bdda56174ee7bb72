package fs

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

// Programs that go through a directory find nearly all files fetched; those that pick some do
// not cause much.
func TestWalks(t *testing.T) {
	const n = 500
	at := backend.Ref{Bucket: "b", Key: "d/"}
	var names []backend.Entry
	for i := range n {
		names = append(names, backend.Entry{Object: backend.Object{Key: fmt.Sprintf("d/f%04d", i), ETag: "e"}})
		if i%50 == 7 {
			key := fmt.Sprintf("d/f%04d/", i)
			names = append(names, backend.Entry{Object: backend.Object{Key: key}, Prefix: true})
		}
	}
	var files []string
	for _, e := range names {
		if !e.Prefix {
			files = append(files, e.Key)
		}
	}
	byInode := slices.SortedFunc(slices.Values(files), func(a, b string) int {
		return cmp.Compare(hashIno(backend.Ref{Bucket: "b", Key: a}), hashIno(backend.Ref{Bucket: "b", Key: b}))
	})
	random := slices.Clone(files)
	rand.New(rand.NewPCG(5, 6)).Shuffle(n, func(i, j int) { random[i], random[j] = random[j], random[i] })
	everyTwentieth := []string{}
	for i := 0; i < n; i += 20 {
		everyTwentieth = append(everyTwentieth, files[i])
	}
	for _, tt := range []struct {
		name          string
		steps         []string
		least, wasted int // files found fetched; files fetched in vain
	}{
		{"in the order of the listing", files, n - 2, 0},
		{"in the order of inode numbers", byInode, n - 50, 0},
		{"every third", every(files, 3), n/3 - 2, n},
		{"two files", files[10:12], 0, firstWalk},
		{"at random", random, 0, 2 * walkTrial},
		{"far apart", everyTwentieth, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &walk{level: at, window: firstWalk}
			fetched, hits := map[string]bool{}, 0
			for _, key := range tt.steps {
				if fetched[key] {
					hits++
				}
				if !k.stepTo(key) {
					continue
				}
				for _, e := range k.next(names) {
					if e.Prefix {
						t.Fatalf("the directory %s is fetched", e.Key)
					}
					if !slices.Contains(tt.steps[:slices.Index(tt.steps, key)+1], e.Key) {
						fetched[e.Key] = true
					}
					k.fetched(e.Key)
				}
			}
			if wasted := len(fetched) - hits; hits < tt.least || wasted > tt.wasted {
				t.Errorf("of %d files %d were fetched ahead and %d in vain, want at least %d and at most %d", len(tt.steps), hits, wasted, tt.least, tt.wasted)
			}
		})
	}
}

func every(list []string, n int) (some []string) {
	for i := 0; i < len(list); i += n {
		some = append(some, list[i])
	}
	return some
}

func BenchmarkWalkStep(b *testing.B) {
	names := make([]backend.Entry, 10_000)
	for i := range names {
		names[i] = backend.Entry{Object: backend.Object{Key: fmt.Sprintf("d/f%05d", i), ETag: "e"}}
	}
	k := &walk{level: backend.Ref{Bucket: "b", Key: "d/"}, window: firstWalk}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if k.stepTo(names[i%len(names)].Key) {
			for _, e := range k.next(names) {
				k.fetched(e.Key)
			}
		}
	}
}
