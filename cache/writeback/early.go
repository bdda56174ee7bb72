package writeback

import (
	"context"
	"errors"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// early is the sending of parts of a file that is still being written. Nobody tells us which
// ranges a writer changes later: the checksum of each part is compared with the file again
// before the upload is completed.
type early struct {
	cancel context.CancelFunc
	done   chan struct{}
	stop   bool // no more parts; guarded by Queue.mu
}

// pollWriters looks at the files that somebody may be writing: the kernel does not tell what it
// writes by itself.
func (q *Queue) pollWriters() {
	for sleep(q.ctx, q.tune.poll) == nil {
		q.mu.Lock()
		if len(q.writers) == 0 {
			opened := q.opened
			q.mu.Unlock()
			select {
			case <-opened:
			case <-q.ctx.Done():
				return
			}
			continue
		}
		writers := make([]*File, 0, len(q.writers))
		for f := range q.writers {
			writers = append(writers, f)
		}
		q.mu.Unlock()
		for _, f := range writers {
			q.pollWriter(f)
		}
	}
}

func (q *Queue) pollWriter(f *File) {
	s, err := f.stampNow()
	if err != nil || f.sparse != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.entry == nil && f.refs == 0 || q.closed {
		return
	}
	q.recountLocked(f, s.size)
	if f.wantsEarlyLocked(s) {
		q.startEarlyLocked(f)
	}
}

// wantsEarlyLocked reports whether f is a new file that has grown beyond some parts and is
// still growing.
func (f *File) wantsEarlyLocked(s stamp) bool {
	e := f.entry
	grown := s.size > f.polled
	f.polled = s.size
	return e != nil && f.fresh && grown && !(f.stored.ok && f.stored.stamp == s) && f.early == nil && s.size >= 3*f.q.tune.partSize &&
		e.want != content && e.job == nil && f.refs > 0 && !f.q.health.down() && !f.q.heldLocked(e.ref) &&
		time.Now().After(f.notBefore)
}

func (q *Queue) startEarlyLocked(f *File) {
	ctx, cancel := context.WithCancel(q.ctx)
	f.early = &early{cancel: cancel, done: make(chan struct{})}
	f.pins++ // the descriptor is open: somebody writes
	ref, a := f.ref, cloneAttrs(f.attrsLocked())
	ea := f.early
	q.wg.Go(func() {
		err := q.sendEarly(ctx, f, ea, ref, a)
		cancel()
		q.mu.Lock()
		if err != nil {
			f.notBefore = time.Now().Add(earlyPause)
		}
		f.early = nil
		close(ea.done)
		f.pins--
		f.idleLocked()
		q.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			q.o.Log.Debug("parts are not sent early", "key", ref.String(), "err", err)
		}
	})
}

// earlyPause is how long a file that could not be sent early is left alone.
const earlyPause = 5 * time.Second

// sendEarly sends the parts that lie well behind the end of f, until it has caught up.
func (q *Queue) sendEarly(ctx context.Context, f *File, ea *early, ref backend.Ref, a backend.Attrs) error {
	store, err := q.store(ctx, ref.Bucket)
	if err != nil {
		return err
	}
	pu, ok := store.raw.(backend.PartUploader)
	if _, copies := store.raw.(backend.Copier); !ok || !copies {
		return backend.ErrUnsupported // without copies the attributes at the end could not be set
	}
	q.mu.Lock()
	u := f.upload
	q.mu.Unlock()
	if u == nil {
		if u, err = q.beginUpload(ctx, f, ref, a, growingParts(q.tune.partSize, pu.PartLimits()), pu); err != nil {
			return err
		}
	}
	defer q.useUpload(u)()
	for {
		number, ok := q.nextEarly(f, ea, u)
		if !ok || !q.takeSlot(ctx) {
			return ctx.Err()
		}
		err := q.sendEarlyPart(ctx, f, u, number, pu)
		q.freeSlot()
		if errors.Is(err, backend.ErrNotExist) {
			q.dropUpload(u)
		}
		if err != nil {
			return err
		}
	}
}

// nextEarly is the number of the first part that can go, if the file is not committed yet.
func (q *Queue) nextEarly(f *File, ea *early, u *upload) (int, bool) {
	s, err := f.stampNow()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil || ea.stop || u.abort || f.upload != u {
		return 0, false
	}
	_, last := u.layout.span(u.layout.parts(s.size), 1<<62)
	for number := u.layout.whole(s.size - last); number > 0; number-- {
		if _, ok := u.parts[number]; ok {
			if number == u.layout.whole(s.size-last) {
				return 0, false
			}
			return number + 1, true
		}
	}
	return 1, u.layout.whole(s.size-last) > 0
}

func (q *Queue) sendEarlyPart(ctx context.Context, f *File, u *upload, number int, pu backend.PartUploader) error {
	off, n := u.layout.span(number, 1<<62)
	r := f.reader(ctx)
	crc, err := r.crc(off, n)
	if err != nil {
		return err
	}
	p, err := q.sendPart(ctx, pu, u, number, r, off, n, crc)
	if err == nil {
		q.confirmPart(u, sentPart{Part: p, at: stamp{size: -1}})
	}
	return err
}

// stopEarly ends the early sending of f, letting the part under way arrive.
func (q *Queue) stopEarly(ctx context.Context, f *File) error {
	q.mu.Lock()
	ea := f.early
	if ea != nil {
		ea.stop = true
	}
	q.mu.Unlock()
	if ea == nil {
		return nil
	}
	select {
	case <-ea.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
