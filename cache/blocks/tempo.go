package blocks

import (
	"sync"
	"time"
)

// tempo finds how many ranges of read-ahead in flight pay, for the mount as a whole.
//
// A store on this machine is fastest with two, more only take processor time from each other;
// a store 30 ms away gains with each one up to sixteen, because each connection has its own
// latency and rate. The first guess comes from the latency of the first byte. After that it
// is measured: each whole range tells the throughput of all that were in flight beside it
// (how many there were on average, times its own rate, so that a slow consumer does not
// matter). Now and then the level is doubled or halved for one round: twice as many in flight
// have to bring 15 % more to be kept, half as many may bring 15 % less. A trial that changes
// nothing makes the next one come later.
type tempo struct {
	limit  int // in flight at most, however many streams there are; constant
	ranges int // highest level; constant

	mu       sync.Mutex // leaf
	level    int
	near     time.Duration // least latency seen, 0 before the first
	measured bool          // level is no longer guessed from near

	flying int       // ranges in flight
	area   float64   // integral of flying over time, in seconds
	moved  time.Time // when area was last brought up to date

	epoch  int     // number of changes of level
	n      int     // samples since the last one
	sum    float64 // of their throughputs, bytes/s
	trial  int     // the level before the trial that is on, 0 if none is
	base   float64 // throughput at that level
	rest   int     // samples before the next trial
	pause  int     // factor by which that is longer because trials were in vain
	upward bool    // direction of the next trial
}

const (
	minLevel   = 2 // the next range is asked for while one arrives
	maxLevel   = 16
	worthwhile = 1.15
	leastRound = 6 // samples that are averaged
	// A trial with more in flight costs little; one with fewer costs half of a round's time
	// if it was wrong.
	upPause     = 32   // ranges
	downPause   = 128  // ranges
	longPause   = 1024 // ranges
	levelMillis = 1    // a level for each millisecond of latency, as a first guess
)

func newTempo(requests int) *tempo {
	return &tempo{limit: max(1, requests*3/4), ranges: min(maxLevel, max(1, requests*3/4)), moved: time.Now()}
}

// A mark is a moment in the life of tempo.
type mark struct {
	at    time.Time
	area  float64
	epoch int
}

func (t *tempo) now() mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moveLocked()
	return mark{t.moved, t.area, t.epoch}
}

func (t *tempo) moveLocked() {
	now := time.Now()
	t.area += float64(t.flying) * now.Sub(t.moved).Seconds()
	t.moved = now
}

// parallel is the number of ranges that should be in flight.
func (t *tempo) parallel() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.levelLocked()
}

func (t *tempo) levelLocked() int {
	if t.level == 0 {
		return min(minLevel, t.ranges)
	}
	return t.level
}

// begin admits a range of read-ahead to a stream that has own of them in flight. Each stream
// may have one, whatever the others do.
func (t *tempo) begin(own int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flying >= t.limit || own > 0 && t.flying >= t.levelLocked() {
		return false
	}
	t.moveLocked()
	t.flying++
	return true
}

func (t *tempo) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moveLocked()
	t.flying--
}

// latency notes how long a request took to its first byte.
func (t *tempo) latency(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.near != 0 && d >= t.near || t.measured {
		return
	}
	t.near = d
	t.level = minLevel
	for t.level < t.ranges && time.Duration(t.level)*levelMillis*time.Millisecond < d {
		t.level *= 2
	}
	t.level = min(t.level, t.ranges)
	t.restLocked()
}

// sample notes a range of n bytes that was asked for at begun and has arrived now.
func (t *tempo) sample(begun mark, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moveLocked()
	took := t.moved.Sub(begun.at).Seconds()
	if n < rangeSize/2 || took <= 0 || begun.epoch != t.epoch {
		return
	}
	beside := (t.area - begun.area) / took
	if level := float64(t.levelLocked()); beside < 0.85*level || beside > 1.2*level {
		return
	}
	t.n++
	t.sum += beside * float64(n) / took
	t.rest--
	if t.n >= max(leastRound, t.level/2) {
		t.considerLocked(t.sum / float64(t.n))
	}
}

// considerLocked decides what a round of samples means.
func (t *tempo) considerLocked(rate float64) {
	t.measured = true
	t.n, t.sum = 0, 0
	switch {
	case t.trial == 0 && t.rest <= 0:
		t.trial, t.base = t.level, rate
		if t.upward {
			t.setLocked(min(2*t.level, t.ranges))
		} else {
			t.setLocked(max(t.level/2, 1))
		}
	case t.trial == 0:
		return
	case t.level > t.trial && rate > t.base*worthwhile,
		t.level < t.trial && rate > t.base/worthwhile:
		t.trial, t.pause = 0, 0 // kept: go on in this direction if there is a way
		if up := t.upward; t.turnLocked() == up {
			t.rest = 0
		} else {
			t.restLocked()
		}
	default:
		t.setLocked(t.trial)
		t.trial, t.upward = 0, !t.upward
		t.pause = min(max(1, 2*t.pause), longPause)
		t.restLocked()
	}
}

// turnLocked makes sure that the next trial is possible, and returns whether it is upward.
func (t *tempo) turnLocked() bool {
	if t.level <= minLevel {
		t.upward = true
	} else if t.level == t.ranges {
		t.upward = false
	}
	return t.upward
}

// restLocked lets some time pass before the next trial, more after each that was in vain.
func (t *tempo) restLocked() {
	least := downPause
	if t.turnLocked() {
		least = upPause
	}
	t.rest = min(least*max(1, t.pause), longPause)
}

func (t *tempo) setLocked(level int) {
	t.level = level
	t.epoch++
}
