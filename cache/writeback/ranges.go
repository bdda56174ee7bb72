package writeback

import "slices"

// ranges is a set of byte positions as ascending, disjoint, non-adjacent [from, to).
type ranges [][2]int64

// add puts [from, to) into the set.
func (r *ranges) add(from, to int64) {
	if from >= to {
		return
	}
	s := *r
	i, _ := slices.BinarySearchFunc(s, from, func(x [2]int64, from int64) int {
		if x[1] < from { // adjacent ones are joined
			return -1
		}
		return 1
	})
	j := i
	for j < len(s) && s[j][0] <= to {
		from, to = min(from, s[j][0]), max(to, s[j][1])
		j++
	}
	*r = slices.Replace(s, i, j, [2]int64{from, to})
}

// cut removes everything from n on.
func (r *ranges) cut(n int64) {
	s := *r
	for len(s) > 0 && s[len(s)-1][0] >= n {
		s = s[:len(s)-1]
	}
	if len(s) > 0 {
		s[len(s)-1][1] = min(s[len(s)-1][1], n)
	}
	*r = s
}

// len is the number of positions in the set.
func (r ranges) len() int64 {
	var n int64
	for _, x := range r {
		n += x[1] - x[0]
	}
	return n
}

// a run is a part of a range that lies wholly inside or wholly outside a set.
type run struct {
	from, to int64
	in       bool
}

// split cuts [from, to) into runs, in order.
func (r ranges) split(from, to int64) []run {
	var out []run
	for _, x := range r {
		if x[1] <= from {
			continue
		}
		if x[0] >= to || from >= to {
			break
		}
		if from < x[0] {
			out = append(out, run{from, x[0], false})
			from = x[0]
		}
		end := min(x[1], to)
		out = append(out, run{from, end, true})
		from = end
	}
	if from < to {
		out = append(out, run{from, to, false})
	}
	return out
}
