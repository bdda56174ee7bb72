package writeback

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// readSparse reads a file of which a part is in the store. When the store holds another
// version than the one it began from, that may be our own doing: an upload or a change of
// attributes whose answer has not come.
func (f *File) readSparse(ctx context.Context, fd *os.File, p []byte, off int64) (int, error) {
	for try := 0; ; try++ {
		n, err := f.sparse.readAt(ctx, fd, p, off)
		if err == nil || try == settleTries {
			return n, err
		}
		if err := f.rebase(ctx, err); err != nil {
			return n, err
		}
	}
}

// fill stages all that is missing of f.
func (f *File) fill(ctx context.Context) error {
	return f.use(func(fd *os.File) error {
		for try := 0; ; try++ {
			err := f.sparse.fill(ctx, fd)
			if err == nil || try == settleTries {
				return err
			}
			if err := f.rebase(ctx, err); err != nil {
				return err
			}
		}
	})
}

// rebase returns nil if the failed read of the base is worth another attempt, because what
// the store holds in its place has the same bytes.
func (f *File) rebase(ctx context.Context, err error) error {
	if !errors.Is(err, backend.ErrChanged) && !errors.Is(err, backend.ErrNotExist) {
		return err
	}
	q := f.q
	q.mu.Lock()
	ref, e := f.ref, f.entry
	if e == nil {
		q.mu.Unlock()
		return err
	}
	b, known := e.base, e.base.obj
	q.mu.Unlock()
	store, storeErr := q.store(ctx, ref.Bucket)
	if storeErr != nil {
		return storeErr
	}
	head, headErr := store.raw.Head(ctx, ref.Key)
	switch {
	case errors.Is(headErr, backend.ErrNotExist): // not to be taken for an upload that is gone
		return &backend.Error{Op: "read base", Key: ref.Key, Err: backend.ErrChanged}
	case headErr != nil:
		return headErr
	case head.ETag != known.ETag && !b.ours(head):
		return err
	}
	f.sparse.rebase(head, q.storeReader(ref.Bucket, head))
	return nil
}

// rescueFor bounds the time in which the base of an unlinked file is fetched for those who
// still have it open. Until then it is not deleted.
const rescueFor = 10 * time.Minute

// rescueLocked fetches what an open file, which loses its name now, has only in the store.
func (q *Queue) rescueLocked(f *File) {
	if f.sparse == nil || f.refs == 0 || q.closed {
		return
	}
	ref := f.ref
	q.holdLocked(ref)
	f.pins++ // it is open: so is its descriptor
	q.wg.Go(func() {
		ctx, cancel := context.WithTimeout(q.ctx, rescueFor)
		defer cancel()
		err := q.rescue(ctx, f)
		if err != nil && q.ctx.Err() == nil {
			q.o.Log.Warn("an open file lost its name before all of it was here", "key", ref.String(), "err", err)
		}
		q.mu.Lock()
		f.pins--
		f.idleLocked()
		q.letGoLocked(ref)
		q.mu.Unlock()
	})
}

func (q *Queue) rescue(ctx context.Context, f *File) error {
	for try := 0; ; try++ {
		err := f.fill(ctx)
		if err == nil || !transient(err) {
			return err
		}
		if err := sleep(ctx, backoff(try)); err != nil {
			return err
		}
		q.mu.Lock()
		open := f.refs > 0
		q.mu.Unlock()
		if !open {
			return nil
		}
	}
}
