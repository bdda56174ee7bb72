package blocks

// note enters a read into the stream it belongs to. Small objects, which come as a whole,
// have only one.
func (r *Reader) note(off, n int64) *stream {
	full := min(int64(r.c.tempo.parallel())*rangeSize, maxWindow)
	trusted := r.c.memory.trusted()
	r.mu.Lock()
	defer r.mu.Unlock()
	i, follows := r.streams.find(off)
	if r.size <= leastRange {
		i, follows = 0, r.streams.all[0] != nil
	}
	if !follows {
		r.endLocked(r.streams.all[i])
		r.streams.all[i] = &stream{next: off + n, run: n, head: granules(off + n), flying: map[*fetch]struct{}{}, ended: r.closed}
	} else if r.size > leastRange {
		r.streams.all[i].note(off, n, full, trusted)
	}
	s := r.streams.all[i]
	s.used = r.streams.clock
	return s
}

// endLocked ends s, which may be nil. Its fetches go on if somebody waits for them.
func (r *Reader) endLocked(s *stream) {
	if s == nil || s.ended {
		return
	}
	s.ended = true
	for f := range s.flying {
		r.c.memory.leave(f)
	}
	r.c.memory.demote(r.id, s.next/granuleSize, s.head)
}

// ahead is the size in granules of a range of s's read-ahead; 0 while there is none.
func (r *Reader) ahead(s *stream) int64 {
	parallel := r.c.tempo.parallel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.window == 0 {
		return 0
	}
	return s.piece(parallel) / granuleSize
}

func (r *Reader) readAhead(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readAheadLocked(s)
}

// readAheadLocked begins as many ranges ahead of s as its window, the mount's memory and
// tempo allow. It is called on each read and when a range has arrived.
func (r *Reader) readAheadLocked(s *stream) {
	end := granules(r.size)
	for s.window > 0 && !s.ended && r.c.ctx.Err() == nil {
		piece := s.piece(r.c.tempo.parallel()) / granuleSize
		limit := min(end, (s.next+s.window)/granuleSize+piece)
		s.head = r.firstMissing(max(s.head, s.next/granuleSize), limit)
		// Ranges end at multiples of their size, so that readers at different places of
		// one object share them.
		to := min(s.head-s.head%piece+piece, end)
		if s.head >= end || to > limit || !r.beginAheadLocked(s, to) {
			return
		}
	}
}

// firstMissing is the first granule from g on that is neither here nor on its way, or limit.
func (r *Reader) firstMissing(g, limit int64) int64 {
	for g < limit && (r.c.memory.holds(granuleKey{r.id, g}) || r.onDisk(g)) {
		g++
	}
	return g
}

func (r *Reader) onDisk(g int64) bool {
	return !r.noDisk && r.c.disk != nil && r.c.disk.missing(r.source, g, 1) == 0
}

// beginAheadLocked begins a range from s.head to at most to. It reports whether it could.
func (r *Reader) beginAheadLocked(s *stream, to int64) bool {
	if !r.noDisk && r.c.disk != nil {
		to = s.head + r.c.disk.missing(r.source, s.head, to-s.head)
	}
	if to <= s.head || !r.c.tempo.begin(s.ahead) {
		return false
	}
	f := r.newFetch(true)
	r.c.memory.beginAhead(f, granuleKey{r.id, s.head}, to)
	if len(f.granules) == 0 {
		f.cancel()
		r.c.tempo.end()
		return false
	}
	r.launchLocked(s, f)
	return true
}

// launchLocked starts a fetch for s.
func (r *Reader) launchLocked(s *stream, f *fetch) {
	last := f.granules[len(f.granules)-1].g
	s.head = max(s.head, last+1)
	f.ended = func(err error) { r.ended(s, f, err) }
	if s.ended {
		r.c.memory.leave(f) // its reader still wants it
	}
	s.flying[f] = struct{}{}
	if f.ahead {
		s.ahead++
	}
	r.c.launch(f)
}

// ended is told when f is over. A failure of read-ahead is nobody's business until a reader
// wants those bytes; only the stream proves itself again before it goes on.
func (r *Reader) ended(s *stream, f *fetch, err error) {
	if f.ahead {
		r.c.tempo.end()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(s.flying, f)
	if f.ahead {
		s.ahead--
	}
	if err != nil {
		s.window = 0
	}
	r.readAheadLocked(s)
}
