package writeback

import "time"

// account makes sure that size staged bytes of f fit, waiting a while for uploads to make
// room.
func (f *File) account(size int64) error {
	q := f.q
	if size <= f.counted.Load() {
		return nil
	}
	fits := func() bool {
		grow := max(0, size-f.counted.Load())
		if q.staged+grow > q.o.Capacity && q.o.Capacity > 0 {
			return false
		}
		f.counted.Add(grow)
		q.staged += grow
		return true
	}
	return q.waitRoom(fits)
}

// recountLocked notes how much a file that others write takes up.
func (q *Queue) recountLocked(f *File, size int64) {
	grow := size - f.counted.Load()
	if grow == 0 || q.files[f.id] != f {
		return
	}
	f.counted.Add(grow)
	q.staged += grow
	if grow < 0 {
		q.roomLocked()
	}
}

// releaseLocked takes f out of the account.
func (q *Queue) releaseLocked(f *File) {
	q.staged -= f.counted.Swap(0)
	q.roomLocked()
}

func (q *Queue) roomLocked() {
	close(q.room)
	q.room = make(chan struct{})
}

// waitRoom returns when fits, called under the lock, is true, or ErrFull after a while.
func (q *Queue) waitRoom(fits func() bool) error {
	var limit, look <-chan time.Time
	for {
		q.mu.Lock()
		if fits() {
			q.mu.Unlock()
			return nil
		}
		q.hurryLocked()
		room := q.room
		q.mu.Unlock()
		if limit == nil {
			t, again := time.NewTimer(q.tune.makeRoom), time.NewTicker(hurryPause)
			defer t.Stop()
			defer again.Stop()
			limit, look = t.C, again.C
		}
		select {
		case <-room:
		case <-look:
		case <-limit:
			return ErrFull
		case <-q.ctx.Done():
			return errClosed
		}
	}
}

// pressedLocked reports whether space is short: nothing is delayed then.
func (q *Queue) pressedLocked() bool {
	return q.o.Capacity > 0 && q.staged > q.o.Capacity/4*3
}
