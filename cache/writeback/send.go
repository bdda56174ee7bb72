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

// An outcome is what an attempt achieved at the store.
type outcome struct {
	obj   backend.Object
	stamp stamp // of the content that was sent
	crc   *uint64
	attrs backend.Attrs // that were sent with it
	up    *upload       // that became obj
	err   error
	// theirs is the object of somebody else that stands in the way; ETag "" if somebody
	// deleted what the change was for.
	theirs *backend.Object
}

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

// finish takes note of an outcome. A success is told in this order: the journal, Stored,
// those who wait. Until the last step e.job stands, so that nothing else is sent for the
// key; and a file that is handed over gets no new writers.
func (q *Queue) finish(j *job, out outcome) {
	if out.err != nil {
		q.finishFailed(j, out)
		return
	}
	q.mu.Lock()
	path, seq := q.succeededLocked(j, out)
	q.mu.Unlock()
	q.flushQuietly(seq)
	if j.want != clean {
		q.o.Stored(j.e.ref, out.obj, path)
	} else if path != "" {
		q.o.Unused(j.e.ref, out.obj, path)
	}
	q.mu.Lock()
	q.endLocked(j, path)
	q.mu.Unlock()
}

// succeededLocked brings the entry up to date. The path is that of a staged file to be
// handed over.
func (q *Queue) succeededLocked(j *job, out outcome) (path string, seq uint64) {
	e, f := j.e, j.file
	if j.want != clean {
		q.answeredLocked()
	}
	q.countLocked(j, out)
	recs := q.newBaseLocked(j, out)
	if e.file != nil && e.want == clean && q.handOverLocked(j) {
		path = q.stagedPath(f.id)
		e.leaving = true
		recs = append(recs, q.cancelUploadLocked(f)...) // begun early for a change that never came
	}
	if f != nil && f.journaled && f.inline == nil && e.file == f && f.stored.ok && (e.want == clean || e.want == attrs) {
		recs = append(recs, f.spare())
	}
	if len(recs) > 0 {
		seq = q.j.append(recs...)
	}
	return path, seq
}

func (q *Queue) countLocked(j *job, out outcome) {
	switch j.want {
	case content:
		q.sent.Objects++
		q.sent.Bytes += out.stamp.size
	case attrs:
		q.sent.Attrs++
	}
}

// newBaseLocked notes that the store holds out.obj, and works out what is left to do.
func (q *Queue) newBaseLocked(j *job, out outcome) (recs []record) {
	e, f := j.e, j.file
	if j.want == clean {
		return nil
	}
	q.rememberLocked(e.ref, e.base.obj, out.obj)
	e.base = knownBase(out.obj)
	e.err, e.fatal, e.fails = nil, false, 0
	if out.up != nil {
		recs = append(recs, q.endUploadLocked(out.up)...)
	}
	if f != nil && j.want == content {
		f.stored = storedAs{
			ok: true, stamp: out.stamp, obj: out.obj, attrs: out.attrs, crc: out.crc,
			open: j.writers || f.refs > 0 || f.opened != j.opened,
		}
		f.confirmed = max(f.confirmed, j.fileGen)
		if f.sparse != nil {
			f.sparse.rebase(out.obj, q.storeReader(e.ref.Bucket, out.obj))
		}
	}
	if j.want == attrs && e.file != nil {
		e.file.baseChangedLocked(out)
		e.file.confirmed = max(e.file.confirmed, j.fileGen)
	}
	q.restLocked(j, out)
	return append(recs, e.setOrDrop())
}

// baseChangedLocked notes that the object f began from, or was stored as, has new attributes
// and maybe another ETag.
func (f *File) baseChangedLocked(out outcome) {
	if f.stored.ok {
		f.stored.obj, f.stored.attrs = out.obj, out.attrs
	}
	if f.sparse != nil {
		f.sparse.rebase(out.obj, f.q.storeReader(f.ref.Bucket, out.obj))
	}
}

// restLocked sets what e still wants when the store holds out.obj.
func (q *Queue) restLocked(j *job, out outcome) {
	e := j.e
	switch {
	case e.want == gone:
		return
	case e.want == content && (j.want != content || e.file != j.file || e.file.mark != out.stamp) && !sentLater(j):
		return // newer content is to be sent
	}
	if sameAttrs(e.attrs, out.attrs) {
		e.want = clean
		if f := e.file; f != nil {
			f.confirmed = f.gen
		}
		return
	}
	if e.gen == j.gen { // the upload could not carry them
		e.since = time.Now()
	}
	e.want = attrs
}

// sentLater reports whether what was sent contains the last Commit: it was read after that.
func sentLater(j *job) bool {
	return j.want == content && j.e.file == j.file && j.file.gen == j.fileGen
}

// handOverLocked reports whether the staged file can leave: the store has its content,
// and nobody can have changed it since.
func (q *Queue) handOverLocked(j *job) bool {
	f := j.file
	return f != nil && j.e.file == f && f.refs == 0 && !f.missing && f.inline == nil && f.sparse == nil &&
		f.stored.ok && !f.stored.open
}

// spare is the record that the store has what f holds.
func (f *File) spare() record {
	r := &freeRec{ID: f.id, Size: f.stored.stamp.size, Mtime: f.stored.stamp.mtime}
	if f.sparse != nil {
		r.Size = -1
	}
	return record{Free: r}
}

// endLocked lets go of the key after a success.
func (q *Queue) endLocked(j *job, path string) {
	e, f := j.e, j.file
	e.job, e.leaving = nil, false
	j.cancel()
	q.running--
	if path != "" && e.file == f { // the callee may have it now
		e.file, f.entry = nil, nil
		f.idleLocked()
	}
	switch {
	case e.want != clean:
		q.scheduleLocked(e, e.due)
	case e.file == nil:
		q.forgetLocked(e)
	case e.file.refs == 0:
		if seq := q.retireLocked(e); seq != 0 {
			kick(q.dirty)
		}
	}
	if f != nil {
		f.notifyLocked()
	}
	q.settleLocked()
	kick(q.wake)
	kick(q.dirty)
}

// finishFailed takes note of a failed attempt.
func (q *Queue) finishFailed(j *job, out outcome) {
	switch {
	case out.theirs == nil:
	case out.theirs.ETag != "":
		q.o.Stored(j.e.ref, *out.theirs, "")
	default:
		q.o.Removed(j.e.ref)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := j.e
	interrupted := j.ctx.Err() != nil || errors.Is(out.err, errSupersede)
	if errors.Is(out.err, errSupersede) {
		if soon := time.Now().Add(supersedePause); e.due.Before(soon) {
			e.due = soon
		}
	}
	e.job = nil
	if out.theirs != nil {
		q.conflictLocked(j, *out.theirs)
		j.cancel()
		q.running--
		kick(q.wake)
		return
	}
	j.cancel()
	q.running--
	defer kick(q.wake)
	defer q.settleLocked()
	if interrupted {
		q.health.probing = false
		q.resumeLocked(e)
		return
	}
	if j.want == attrs && errors.Is(out.err, backend.ErrArchived) {
		q.answeredLocked()
		e.base.obj.State = backend.Archived
		q.resumeLocked(e) // parked, unless something else is wanted by now
		return
	}
	if e.gen != j.gen && !transient(out.err) { // the newer change shall have its own try
		q.answeredLocked()
		q.resumeLocked(e)
		return
	}
	q.failedLocked(e, out.err)
	q.o.Log.Warn("upload failed", "op", j.want.String(), "key", e.ref.String(), "err", out.err)
	q.scheduleLocked(e, e.due)
}

// supersedePause keeps a file that is changed all the time from being sent in vain all the time.
const supersedePause = 100 * time.Millisecond

// resumeLocked goes on with an entry whose job was interrupted.
func (q *Queue) resumeLocked(e *entry) {
	if q.entries[e.ref] != e {
		return
	}
	if e.want == gone && e.base.absent() { // nothing had been sent
		e.want = clean
		q.j.append(e.setOrDrop())
		kick(q.dirty)
		if e.file == nil {
			q.forgetLocked(e)
		}
		return
	}
	switch {
	case e.want == clean && e.file == nil:
		q.forgetLocked(e)
	case e.want != clean || e.file.refs == 0:
		q.scheduleLocked(e, e.due)
	}
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
	if s := j.file.sparse; s != nil && out.theirs != nil {
		// Under another name it has no base: what it needs of that must be here.
		if err := q.fill(j); err != nil {
			return outcome{err: fmt.Errorf("%w: %w", backend.ErrChanged, err)}
		}
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
