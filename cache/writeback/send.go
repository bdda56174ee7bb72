package writeback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// errSupersede ends an attempt whose content was overtaken: the next one sends the newer.
var errSupersede = errors.New("overtaken by a newer change")

// run makes one attempt at an entry and takes note of what came of it.
func (q *Queue) run(j *job) {
	q.finish(j, q.attempt(j))
	if j.file != nil {
		j.file.unpin()
	}
	q.compactIfWorth(false)
}

// attempt does the work of a job. Its file stays pinned.
func (q *Queue) attempt(j *job) outcome {
	if j.file != nil {
		if err := j.file.pinned(); errors.Is(err, os.ErrNotExist) && j.want == content {
			return q.sendMissing(j, err)
		} else if err != nil && j.want != attrs {
			return outcome{err: err}
		}
	}
	switch j.want {
	case content:
		return q.sendContent(j)
	case attrs:
		return q.sendAttrs(j)
	}
	return q.checkStored(j)
}

// noteTry remembers, before it is sent, content whose arrival we may never hear of.
func (q *Queue) noteTry(j *job, t try, a backend.Attrs) {
	q.mu.Lock()
	var seq uint64
	tried := j.e.base.addTry(t)
	if tried = j.e.base.addMeta(a.Meta) || tried; tried && q.entries[j.e.ref] == j.e {
		seq = q.j.append(j.e.setOrDrop())
	}
	j.base = j.e.base
	q.mu.Unlock()
	q.flushQuietly(seq)
}

// setBase notes what the store was found to hold.
func (q *Queue) setBase(j *job, b base) {
	q.mu.Lock()
	j.e.base, j.base = b, b
	var seq uint64
	if q.entries[j.e.ref] == j.e {
		seq = q.j.append(j.e.setOrDrop())
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
}

// flushQuietly writes lines that repeat what the store knows: losing them costs requests,
// not data.
func (q *Queue) flushQuietly(seq uint64) {
	if seq == 0 {
		return
	}
	if err := q.j.flush(seq); err != nil {
		q.o.Log.Warn("journal is not written", "err", err)
	}
}

// sendContent sends the content of an entry.
func (q *Queue) sendContent(j *job) outcome {
	store, err := q.store(j.ctx, j.e.ref.Bucket)
	if err != nil {
		return outcome{err: err}
	}
	out := q.sendBytes(j, store)
	if j.file.sparse == nil {
		return out
	}
	if out.theirs != nil { // under another name it has no base: what it needs of that must be here
		if err := q.fill(j); err != nil {
			out = outcome{err: err}
		}
	}
	if baseless(out) {
		return q.strand(j, store, out.err)
	}
	return out
}

func (q *Queue) sendBytes(j *job, store *bucketStore) outcome {
	if err := q.stopEarly(j.ctx, j.file); err != nil {
		return outcome{err: err}
	}
	s, err := j.file.stampNow()
	if err != nil {
		return outcome{err: err}
	}
	if q.halfWritten(j, s) {
		return outcome{err: errHalfWritten}
	}
	pu, inParts := store.raw.(backend.PartUploader)
	whole := q.tune.wholeMax
	if inParts && pu.PartLimits().MaxPut > 0 {
		whole = min(whole, pu.PartLimits().MaxPut)
	}
	inParts = inParts && s.size > whole
	_, copies := store.raw.(backend.PartCopier)
	if j.file.sparse != nil && !(inParts && copies) {
		if err := q.fill(j); err != nil {
			return outcome{err: err}
		}
	}
	if inParts {
		return q.sendParts(j, store, pu)
	}
	q.mu.Lock()
	var seq uint64
	if recs := q.cancelUploadLocked(j.file); len(recs) > 0 { // it was larger before
		seq = q.j.append(recs...)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
	return q.sendWhole(j, store)
}

// fill fetches what is missing of a sparse file.
func (q *Queue) fill(j *job) error {
	f := j.file
	err := f.fill(j.ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.recountLocked(f, f.sparse.staged())
	return err
}

// requestTime bounds a request that carries n bytes: even 64 KiB/s are fast enough.
func requestTime(n int64) time.Duration {
	return 2*time.Minute + time.Duration(n>>16)*time.Second
}

// sendWhole sends content in one Put.
func (q *Queue) sendWhole(j *job, store *bucketStore) outcome {
	snap, err := j.file.snapshot(j.ctx)
	if err != nil {
		return outcome{err: err}
	}
	if q.halfWritten(j, snap.stamp) {
		return outcome{err: errHalfWritten}
	}
	ctx, cancel := context.WithTimeout(j.ctx, requestTime(snap.stamp.size))
	defer cancel()
	out := outcome{stamp: snap.stamp, crc: &snap.crc, attrs: j.attrs}
	q.settle(ctx, j, store, sendable{
		size: snap.stamp.size, crc: &snap.crc, attrs: j.attrs, plain: &store.plainPut,
		send: func(cond backend.Cond) (backend.Object, error) {
			return store.raw.Put(ctx, j.e.ref.Key, snap.body, backend.PutOptions{Attrs: j.attrs, Cond: cond, CRC64NVME: &snap.crc})
		},
	}, &out)
	if errors.Is(out.err, backend.ErrCorrupt) {
		out.err = j.file.explainCorrupt(snap.stamp, out.err)
	}
	return out
}

// explainCorrupt tells whether bytes were spoiled on their way or changed by a writer while
// they were being sent, which is no error.
func (f *File) explainCorrupt(sent stamp, err error) error {
	if now, statErr := f.stampNow(); statErr == nil && now != sent {
		return errSupersede
	}
	return fmt.Errorf("%w: %w", backend.ErrUnavailable, err) // the next transfer may be sound
}

// checkStored looks whether a file that was sent while somebody had it open is still what was
// sent; then it may be handed over.
func (q *Queue) checkStored(j *job) outcome {
	f := j.file
	q.mu.Lock()
	stored := f.stored
	q.mu.Unlock()
	var crc uint64
	s, err := f.steadily(j.ctx, func(s stamp) (err error) {
		if stored.crc != nil {
			crc, err = f.reader(j.ctx).crc(0, s.size)
		}
		return err
	})
	if err != nil {
		return outcome{err: err}
	}
	if s == stored.stamp && (stored.crc == nil || crc == *stored.crc) {
		q.mu.Lock()
		f.stored.open = f.refs > 0 || f.opened != j.opened
		q.mu.Unlock()
		return outcome{obj: stored.obj, stamp: s, attrs: stored.attrs}
	}
	q.o.Log.Info("file changed after its last commit", "key", j.e.ref.String())
	return q.commitFound(j, s)
}

// commitFound commits content that was changed without a Commit, by a mapping that outlived
// its descriptor for instance.
func (q *Queue) commitFound(j *job, s stamp) outcome {
	q.mu.Lock()
	e := j.e
	var seq uint64
	if e.file == j.file && e.want == clean {
		seq = q.contentLocked(e, s, nil, j.file.attrs, nil)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
	return outcome{err: errSupersede}
}
