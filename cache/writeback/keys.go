package writeback

import (
	"slices"
	"sort"
	"strings"
)

// chunkKeys bounds the strings that one insertion moves; 512 of them are 8 KiB.
const chunkKeys = 512

// sortedKeys is a set of strings in byte order. Chunks are never empty.
type sortedKeys struct {
	chunks [][]string
}

// chunk returns the index of the chunk that holds key or would take it.
func (s *sortedKeys) chunk(key string) int {
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i][0] > key })
	return max(i-1, 0)
}

func (s *sortedKeys) add(key string) {
	if len(s.chunks) == 0 {
		s.chunks = [][]string{{key}}
		return
	}
	i := s.chunk(key)
	at, found := slices.BinarySearch(s.chunks[i], key)
	if found {
		return
	}
	c := slices.Insert(s.chunks[i], at, key)
	s.chunks[i] = c
	if len(c) > chunkKeys {
		half := len(c) / 2
		s.chunks = slices.Insert(s.chunks, i+1, slices.Clone(c[half:]))
		clear(c[half:])
		s.chunks[i] = c[:half]
	}
}

func (s *sortedKeys) remove(key string) {
	if len(s.chunks) == 0 {
		return
	}
	i := s.chunk(key)
	at, found := slices.BinarySearch(s.chunks[i], key)
	if !found {
		return
	}
	s.chunks[i] = slices.Delete(s.chunks[i], at, at+1)
	if len(s.chunks[i]) == 0 {
		s.chunks = slices.Delete(s.chunks, i, i+1)
	}
}

// next returns up to n keys that begin with prefix and are greater than after. An empty
// after comes before every key.
func (s *sortedKeys) next(prefix, after string, n int) []string {
	if len(s.chunks) == 0 {
		return nil
	}
	from := max(prefix, after)
	var out []string
	for i := s.chunk(from); i < len(s.chunks); i++ {
		at, _ := slices.BinarySearch(s.chunks[i], from)
		for _, key := range s.chunks[i][at:] {
			if key == after {
				continue
			}
			if !strings.HasPrefix(key, prefix) || len(out) == n {
				return out
			}
			out = append(out, key)
		}
	}
	return out
}
