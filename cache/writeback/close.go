package writeback

import (
	"fmt"
	"time"
)

// replaceFileLocked makes f the content of e, in place of what there was. The records
// belong into the transaction that says so.
func (q *Queue) replaceFileLocked(e *entry, f *File) []record {
	recs := q.unlinkLocked(e)
	e.file = f
	f.entry, f.ref, f.linked = e, e.ref, true
	q.files[f.id] = f
	q.newNames = q.newNames || f.inline == nil
	return recs
}

// unlinkLocked takes the file of e away from it. The staged file goes when its last user
// has closed it.
func (q *Queue) unlinkLocked(e *entry) []record {
	f := e.file
	if f == nil {
		return nil
	}
	q.rescueLocked(f)
	recs := q.cancelUploadLocked(f)
	if f.inline == nil {
		f.journaled = true
		recs = append(recs, record{Free: &freeRec{ID: f.id, Size: -1}})
	}
	e.file, f.entry, f.linked = nil, nil, false
	f.notifyLocked()
	f.idleLocked()
	return recs
}

// discardLocked gives up the disk space of a file that nobody can reach any more.
func (q *Queue) discardLocked(f *File) {
	if q.files[f.id] != f {
		return
	}
	delete(q.files, f.id)
	delete(q.unsynced, f)
	q.releaseLocked(f)
	if f.inline != nil {
		return
	}
	g := garbage{path: q.stagedPath(f.id)}
	if f.journaled { // the line that lets it go may not be written yet: it is among the next
		g.seq = q.j.last() + 1
	}
	q.garbage = append(q.garbage, g)
	kick(q.dirty)
}

// Close drops a reference. The last one of a File with changes that were not committed commits
// them; the last one of a File without a name frees its disk space.
func (f *File) Close() error {
	q := f.q
	var err error
	if f.lastChanged() {
		err = f.Commit(f.Attrs())
	}
	q.mu.Lock()
	f.refs--
	if f.refs < 0 {
		panic(fmt.Sprintf("writeback: File of %s closed more often than opened", f.ref))
	}
	var seq uint64
	if e := f.entry; f.refs == 0 && e != nil && e.want == clean && e.job == nil {
		seq = q.retireLocked(e)
	} else if f.refs == 0 && e != nil && e.want == gone { // over a delete, and never committed
		seq = q.j.append(q.unlinkLocked(e)...)
	}
	f.idleLocked()
	q.mu.Unlock()
	if seq != 0 {
		_ = q.j.flush(seq) // it only saves a look into lost+found
	}
	return err
}

// lastChanged reports whether this is the last reference of a named file with changes
// that nobody has committed. An untouched new file is none: it was never more than open.
func (f *File) lastChanged() bool {
	s, err := f.stampNow()
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	if err != nil || f.refs != 1 || f.entry == nil || f.q.closed {
		return false
	}
	e := f.entry
	emptied := f.begin && (e.want == clean || e.want == attrs) && e.base.obj.ETag != ""
	return s != f.mark || emptied
}

// retireLocked ends an entry that was only there for an open file.
func (q *Queue) retireLocked(e *entry) uint64 {
	f := e.file
	if f.stored.ok && f.sparse == nil && f.inline == nil && !f.missing {
		q.scheduleLocked(e, time.Now()) // a job hands the file over
		return 0
	}
	recs := q.unlinkLocked(e)
	q.forgetLocked(e)
	if len(recs) == 0 {
		return 0
	}
	return q.j.append(recs...)
}
