package writeback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// sendParts sends content in parts. Parts that the store has already, from an early or an
// interrupted upload, are compared with the file and sent again only if they differ.
func (q *Queue) sendParts(j *job, store *bucketStore, pu backend.PartUploader) outcome {
	f := j.file
	for try := range steadyTries {
		before, err := f.steady(j.ctx)
		if err != nil {
			return outcome{err: err}
		}
		u, err := q.uploadFor(j, before.size, pu)
		if err != nil {
			return outcome{err: err}
		}
		b := &bringing{q: q, j: j, u: u, pu: pu, at: before}
		b.copier, _ = store.raw.(backend.PartCopier)
		release := q.useUpload(u)
		parts, crc, err := b.all()
		release()
		after, statErr := f.stampNow()
		switch {
		case statErr != nil:
			return outcome{err: statErr}
		case errors.Is(err, backend.ErrNotExist): // expired, or swept by somebody
			q.dropUpload(u)
		case before != after && j.ctx.Err() == nil:
		case errors.Is(err, backend.ErrCorrupt): // spoiled on its way
			return outcome{err: fmt.Errorf("%w: %w", backend.ErrUnavailable, err)}
		case err != nil:
			return outcome{err: err}
		case q.halfWritten(j, before):
			return outcome{err: errHalfWritten}
		default:
			return q.complete(j, store, pu, u, before, parts, crc)
		}
		if err := sleep(j.ctx, time.Millisecond<<min(try, 7)); err != nil {
			return outcome{err: err}
		}
	}
	return outcome{err: errUnsteady}
}

// uploadFor returns the upload of the file, begun if there is none that will do.
func (q *Queue) uploadFor(j *job, size int64, pu backend.PartUploader) (*upload, error) {
	lim := pu.PartLimits()
	if lim.MaxObject > 0 && size > lim.MaxObject {
		return nil, fmt.Errorf("%s: %d bytes: %w", j.e.ref, size, backend.ErrTooLarge)
	}
	q.mu.Lock()
	u := j.file.upload
	if u != nil && u.ref == j.e.ref && u.id != "" && u.layout.capacity() >= size {
		q.mu.Unlock()
		return u, nil
	}
	var seq uint64
	if recs := q.cancelUploadLocked(j.file); len(recs) > 0 {
		seq = q.j.append(recs...)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
	return q.beginUpload(j.ctx, j.file, j.e.ref, j.attrs, equalParts(size, q.tune.partSize, lim), pu)
}

// bringing brings the parts of one state of a file to the store.
type bringing struct {
	q      *Queue
	j      *job
	u      *upload
	pu     backend.PartUploader
	copier backend.PartCopier // nil if the store has none
	at     stamp
}

// all returns when the store has every part, with the checksum of the whole if all parts
// have one.
func (b *bringing) all() ([]backend.Part, *uint64, error) {
	ctx, cancel := context.WithCancelCause(b.j.ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	n := b.u.layout.parts(b.at.size)
	for number := 1; number <= n && ctx.Err() == nil; number++ {
		if p, ok := b.have(number); ok && p.at == b.at {
			continue
		}
		if !b.q.takeSlot(ctx) {
			break
		}
		if b.q.overtaken(b.j) {
			cancel(errSupersede)
		}
		wg.Go(func() {
			defer b.q.freeSlot()
			if err := b.one(ctx, number); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return b.collect(n)
}

func (q *Queue) takeSlot(ctx context.Context) bool {
	select {
	case q.parts <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (q *Queue) freeSlot() { <-q.parts }

// overtaken reports whether what j sends is not wanted any more.
func (q *Queue) overtaken(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return j.e.want != content || j.e.file != j.file
}

func (b *bringing) have(number int) (sentPart, bool) {
	b.q.mu.Lock()
	defer b.q.mu.Unlock()
	p, ok := b.u.parts[number]
	return p, ok
}

// one makes sure that the store has a part as the file has it.
func (b *bringing) one(ctx context.Context, number int) error {
	off, n := b.u.layout.span(number, b.at.size)
	old, have := b.have(number)
	have = have && old.Size == n
	if b.clean(off, n) {
		if have && old.copied {
			return nil
		}
		done, err := b.copy(ctx, number, off, n)
		if done || err != nil {
			return err
		}
	}
	r := b.j.file.reader(ctx)
	crc, err := r.crc(off, n)
	if err != nil {
		return err
	}
	if have && !old.copied && old.CRC == crc {
		b.q.markPart(b.u, number, b.at)
		return nil
	}
	p, err := b.q.sendPart(ctx, b.pu, b.u, number, r, off, n, crc)
	if err == nil {
		b.q.confirmPart(b.u, sentPart{Part: p, at: b.at})
	}
	return err
}

// clean reports whether a part is the base's as a whole.
func (b *bringing) clean(off, n int64) bool {
	s := b.j.file.sparse
	return s != nil && b.copier != nil && n > 0 && s.untouched(off, off+n)
}

// copy has the store take a part from the base. done is false if it cannot.
func (b *bringing) copy(ctx context.Context, number int, off, n int64) (done bool, err error) {
	s := b.j.file.sparse
	s.mu.Lock()
	from := s.base
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTime(n))
	defer cancel()
	p, err := b.copier.CopyPart(ctx, b.u.name(), number, from, off, n)
	if errors.Is(err, backend.ErrUnsupported) || errors.Is(err, backend.ErrChanged) || errors.Is(err, backend.ErrArchived) {
		return false, nil // reading the base, which may be cached, is another way
	}
	if err != nil {
		return false, err
	}
	p.CRC = 0
	b.q.confirmPart(b.u, sentPart{Part: p, copied: true, at: b.at})
	return true, nil
}

// partTries bounds the attempts at one part within one attempt at the whole.
const partTries = 4

// sendPart sends one part, with some patience: beginning the whole again is expensive.
func (q *Queue) sendPart(ctx context.Context, pu backend.PartUploader, u *upload, number int, r fileReader, off, n int64, crc uint64) (backend.Part, error) {
	for try := 0; ; try++ {
		p, err := q.sendPartOnce(ctx, pu, u, number, r, off, n, crc)
		if err == nil || !errors.Is(err, backend.ErrUnavailable) || try == partTries-1 || ctx.Err() != nil {
			return p, err
		}
		if err := sleep(ctx, backoff(try)/4); err != nil {
			return p, err
		}
	}
}

func (q *Queue) sendPartOnce(ctx context.Context, pu backend.PartUploader, u *upload, number int, r fileReader, off, n int64, crc uint64) (backend.Part, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime(n))
	defer cancel()
	r.ctx = ctx
	p, err := pu.UploadPart(ctx, u.name(), number, sectionAt(r, off, n), crc)
	if err != nil {
		return p, err
	}
	p.Number, p.Size, p.CRC = number, n, crc
	return p, nil
}

// markPart notes that a part is right for another state of the file.
func (q *Queue) markPart(u *upload, number int, at stamp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p, ok := u.parts[number]; ok {
		p.at = at
		u.parts[number] = p
	}
}

// collect lists the parts for Complete.
func (b *bringing) collect(n int) ([]backend.Part, *uint64, error) {
	b.q.mu.Lock()
	defer b.q.mu.Unlock()
	parts := make([]backend.Part, 0, n)
	var whole uint64
	var joiner crcJoiner
	summed := true
	for number := 1; number <= n; number++ {
		p, ok := b.u.parts[number]
		if !ok {
			return nil, nil, errSupersede // cancelled meanwhile
		}
		parts = append(parts, p.Part)
		summed = summed && !p.copied
		whole = joiner.join(whole, p.CRC, p.Size)
	}
	if !summed {
		return parts, nil, nil
	}
	return parts, &whole, nil
}

// complete makes the parts the object.
func (q *Queue) complete(j *job, store *bucketStore, pu backend.PartUploader, u *upload, at stamp, parts []backend.Part, crc *uint64) outcome {
	out := outcome{stamp: at, crc: crc, attrs: u.attrs}
	if err := j.file.checkSum(at, crc); err != nil {
		out.err = err
		return out
	}
	ctx, cancel := context.WithTimeout(j.ctx, requestTime(at.size))
	defer cancel()
	q.settle(ctx, j, store, sendable{
		size: at.size, crc: crc, attrs: u.attrs, plain: &store.plainComplete,
		send: func(cond backend.Cond) (backend.Object, error) {
			return pu.Complete(ctx, u.name(), parts, backend.PutOptions{Attrs: u.attrs, Cond: cond, CRC64NVME: crc})
		},
	}, &out)
	switch {
	case out.err == nil:
		out.up = u
	case errors.Is(out.err, backend.ErrNotExist), errors.Is(out.err, backend.ErrInvalid), errors.Is(out.err, backend.ErrCorrupt):
		// The upload is gone, or not what we think it is: begin again.
		q.o.Log.Warn("upload is not completed; it is begun again", "key", j.e.ref.String(), "err", out.err)
		q.mu.Lock()
		var seq uint64
		if recs := q.cancelUploadLocked(j.file); len(recs) > 0 {
			seq = q.j.append(recs...)
		}
		q.mu.Unlock()
		q.flushQuietly(seq)
		out.err = fmt.Errorf("%w: %w", backend.ErrUnavailable, out.err)
	}
	return out
}
