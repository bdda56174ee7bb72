package main

import (
	"slices"
	"strconv"
)

func quote(s string) string { return strconv.Quote(s) }

// similar returns the word of known that can be made from s with the fewest changed letters,
// if these are at most a third of it; of several the first in the alphabet.
func similar(s string, known []string) (string, bool) {
	best, least := "", len(s)/3+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(s, k); d < least {
			best, least = k, d
		}
	}
	return best, best != ""
}

// distance is the number of bytes to insert, delete, replace or swap with their neighbour.
func distance(a, b string) int {
	var before, row []int
	next := make([]int, len(b)+1)
	for j := range next {
		next[j] = j
	}
	for i := range len(a) {
		before, row = row, next
		next = make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
	}
	return next[len(b)]
}
