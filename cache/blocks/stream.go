package blocks

const (
	// What is read ahead when a second read follows the first, for each range that should be
	// in flight: a distant store costs more time to ask than bytes to ask for in vain.
	firstShare = 256 << 10 // bytes
	maxWindow  = 128 << 20 // bytes ahead of one reader at most, enough for 1 GB/s from 50 ms away
	leastRange = 1 << 20   // bytes; a growing window is split into ranges of at least this
	windows    = 2         // of a reader: two interleaved sequential reads are told apart
)

// A stream is one sequence of reads within a reader, and what was fetched ahead of it. The
// reader's mutex guards it. A stream that another one has replaced may still be in the hands
// of reads under way.
type stream struct {
	used   uint64              // reader's clock at the last read
	next   int64               // bytes; where the read that continues it begins
	run    int64               // bytes read in sequence
	window int64               // bytes to be ahead of next; 0 while it is not known to be sequential
	head   int64               // granule; everything from next up to it was fetched or is here
	flying map[*fetch]struct{} // fetches begun for it and not over
	ahead  int                 // of these, read-ahead
	ended  bool                // replaced by another stream, or the reader is closed
}

// follows reports whether a read at off continues s. The kernel reads ahead with several
// requests at a time, which arrive in any order: once s is known to be sequential, a read
// may be off by what the kernel has in flight.
func (s *stream) follows(off int64) bool {
	slack := int64(granuleSize)
	if s.window > 0 {
		slack = min(max(s.window, leastRange), rangeSize)
	}
	return off >= s.next-slack && off <= s.next+slack
}

// note enters a read of [off, off+n) that follows s. full is the largest window that is of
// use now; trusted tells that read-ahead has paid on this mount, so that a small beginning
// need not prove it again.
func (s *stream) note(off, n, full int64, trusted bool) {
	grown := off + n - s.next
	if grown <= 0 {
		return
	}
	before := s.run / leastRange
	s.run += grown
	s.next += grown
	switch {
	case s.window == 0 && trusted:
		s.window = full
	case s.window == 0:
		s.window = max(full/rangeSize*firstShare, leastRange)
	default:
		for range s.run/leastRange - before {
			s.window = min(2*s.window, full)
		}
	}
	s.window = min(s.window, full)
}

// piece is the size in bytes of the next range of read-ahead: the window shared out to as
// many requests as should be in flight.
func (s *stream) piece(parallel int) int64 {
	n := s.window / int64(parallel) / leastRange * leastRange
	return min(max(n, leastRange), rangeSize)
}

// streams are the windows of a reader.
type streams struct {
	clock uint64
	all   [windows]*stream
}

// find returns where the stream is that a read at off continues, or, if none does, the one
// used least recently, which the caller replaces.
func (t *streams) find(off int64) (i int, follows bool) {
	t.clock++
	for j, s := range t.all {
		switch {
		case s == nil:
			if !follows {
				i = j
			}
		case s.follows(off) && (!follows || distance(s.next, off) < distance(t.all[i].next, off)):
			i, follows = j, true
		case !follows && t.all[i] != nil && s.used < t.all[i].used:
			i = j
		}
	}
	return i, follows
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
