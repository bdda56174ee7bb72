package writeback

import (
	"errors"
	"time"

	"github.com/thawfs/thawfs/backend"
)

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
	// stranded content cannot even be sent under another name; see strand.
	stranded bool
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
	e.asked = e.asked && e.want != clean // who asked for a later Commit still waits
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
	interrupted := j.ctx.Err() != nil || errors.Is(out.err, errSupersede) || errors.Is(out.err, errHalfWritten)
	if pause := pauseAfter(out.err); pause > 0 && !(e.asked && errors.Is(out.err, errHalfWritten)) {
		if soon := time.Now().Add(pause); e.due.Before(soon) {
			e.due = soon
		}
	}
	e.job = nil
	q.health.probing = false
	if out.theirs != nil {
		q.answeredLocked()
		q.conflictLocked(j, out)
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

func pauseAfter(err error) time.Duration {
	switch {
	case errors.Is(err, errSupersede):
		return supersedePause
	case errors.Is(err, errHalfWritten):
		return halfWrittenPause
	}
	return 0
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
