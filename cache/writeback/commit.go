package writeback

import (
	"fmt"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// Commit journals the content and attrs as they are now and queues what has changed. When it
// returns, they survive the death of the process. Of an unlinked file it does nothing.
func (f *File) Commit(attrs backend.Attrs) error {
	f.committing <- struct{}{}
	defer func() { <-f.committing }()
	s, crc, err := f.examine()
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	q := f.q
	q.mu.Lock()
	e := f.entry
	if q.closed || e == nil {
		f.attrs = cloneAttrs(attrs)
		if e == nil {
			f.mark, f.begin = s, false
		}
		closed := q.closed
		q.mu.Unlock()
		if closed && e != nil {
			return errClosed
		}
		return nil
	}
	seq := q.commitLocked(e, s, crc, cloneAttrs(attrs))
	q.mu.Unlock()
	if seq == 0 {
		return nil
	}
	return q.commitLog(seq)
}

// examine returns a stamp that holds for one state of the content and, if that is small,
// its checksum. Of a file that never rests it takes what there is; the sender will insist.
func (f *File) examine() (stamp, *uint64, error) {
	var crc *uint64
	s, err := f.steadily(f.q.ctx, func(s stamp) error {
		crc = nil
		if s.size > f.q.tune.crcMax || f.sparse != nil {
			return nil
		}
		sum, err := f.reader(f.q.ctx).crc(0, s.size)
		crc = &sum
		return err
	})
	if err == errUnsteady || f.q.ctx.Err() != nil {
		s, err = f.stampNow()
		crc = nil
	}
	return s, crc, err
}

// commitLocked decides what a Commit asks of the store.
func (q *Queue) commitLocked(e *entry, s stamp, crc *uint64, a backend.Attrs) uint64 {
	f := e.file
	same := f.stored.ok && f.stored.stamp == s && e.base.known && e.base.obj.ETag == f.stored.obj.ETag
	switch {
	case same && e.want == clean && sameAttrs(a, f.stored.attrs):
		return 0
	case same && (e.want == clean || e.want == attrs):
		f.gen = q.attrsLocked(e, a)
		return q.j.append(e.setOrDrop())
	}
	return q.contentLocked(e, s, crc, a, nil)
}

// contentLocked queues the content of e.file as it is, with attributes a. recs go into the same
// transaction.
func (q *Queue) contentLocked(e *entry, s stamp, crc *uint64, a backend.Attrs, recs []record) uint64 {
	f := e.file
	f.mark, f.begin, f.committed, f.size, f.crc = s, false, true, s.size, crc
	f.attrs, e.attrs = a, a
	q.changedLocked(e, content)
	f.gen = e.gen
	q.recountLocked(f, f.stagedSize(s))
	if f.inline == nil {
		q.unsynced[f] = struct{}{}
	}
	seq := q.j.append(append(recs, e.setOrDrop())...)
	kick(q.dirty)
	return seq
}

func (f *File) stagedSize(s stamp) int64 {
	if f.sparse != nil {
		return f.sparse.staged()
	}
	return s.size
}

func (q *Queue) attrsLocked(e *entry, a backend.Attrs) uint64 {
	w := e.want
	if w == clean {
		w = attrs
	}
	e.attrs = a
	if e.file != nil {
		e.file.attrs = a
	}
	q.changedLocked(e, w)
	kick(q.dirty)
	return e.gen
}

// Put makes content the new state of ref, replacing what was pending; base is what the store
// holds if nothing was. It is for small whole files: symlinks, directory markers. When it
// returns, they survive the death of the process.
func (q *Queue) Put(ref backend.Ref, data []byte, a backend.Attrs, b backend.Object) error {
	if !backend.ValidKey(ref.Key) {
		return fmt.Errorf("put %q: %w", ref.Key, backend.ErrInvalid)
	}
	f, err := q.holding(ref, data)
	if err != nil {
		return err
	}
	s, err := f.stampNow()
	if err != nil {
		return err
	}
	crc := crc64nvme.Checksum(data)
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosed
	}
	b, _ = q.newestLocked(ref, b)
	e := q.entryLocked(ref, knownBase(b))
	recs := q.replaceFileLocked(e, f)
	f.refs = 0
	seq := q.contentLocked(e, s, &crc, cloneAttrs(a), recs)
	f.idleLocked()
	q.mu.Unlock()
	return q.commitLog(seq)
}

// holding makes a File with data, in the journal if it is small.
func (q *Queue) holding(ref backend.Ref, data []byte) (*File, error) {
	if len(data) <= q.tune.inline {
		f := q.newFile(ref)
		f.inline = append(make([]byte, 0, len(data)), data...) // never nil
		return f, nil
	}
	f, err := q.newStaged(ref)
	if err != nil {
		return nil, err
	}
	if _, err := f.fd.Load().WriteAt(data, 0); err != nil {
		q.abandonStaged(f)
		return nil, err
	}
	return f, nil
}

// SetAttrs gives ref new attributes. They become part of what is pending; if nothing is,
// they apply to obj, the version in the store, whose bytes stay.
func (q *Queue) SetAttrs(ref backend.Ref, obj backend.Object, a backend.Attrs) error {
	if !backend.ValidKey(ref.Key) {
		return fmt.Errorf("set attributes of %q: %w", ref.Key, backend.ErrInvalid)
	}
	q.mu.Lock()
	e := q.entries[ref]
	obj, _ = q.newestLocked(ref, obj)
	switch {
	case q.closed:
		q.mu.Unlock()
		return errClosed
	case e == nil && obj.ETag == "", e != nil && e.want == gone && e.file == nil:
		q.mu.Unlock()
		return fmt.Errorf("set attributes of %s: %w", ref, backend.ErrNotExist)
	case e != nil && e.file != nil && e.want != content && e.want != attrs && (e.file.begin || e.base.absent() || e.want == gone):
		e.file.attrs = cloneAttrs(a) // open, to be committed: the Commit brings them
		q.mu.Unlock()
		return nil
	}
	e = q.entryLocked(ref, knownBase(obj))
	if e.want == attrs && e.base.obj.ETag == obj.ETag {
		e.base.obj.State, e.base.obj.Until = obj.State, obj.Until
	}
	q.attrsLocked(e, cloneAttrs(a))
	seq := q.j.append(e.setOrDrop())
	q.mu.Unlock()
	return q.commitLog(seq)
}

// Delete removes ref. A creation that was never sent goes with it; anything else is deleted in
// the store, whatever version that holds by then.
func (q *Queue) Delete(ref backend.Ref, obj backend.Object) error {
	if !backend.ValidKey(ref.Key) {
		return fmt.Errorf("delete %q: %w", ref.Key, backend.ErrInvalid)
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosed
	}
	e := q.entries[ref]
	if e == nil {
		b := knownBase(obj)
		b.known = obj.ETag != "" // a name that somebody deletes exists: absence would be a mistake
		e = q.entryLocked(ref, b)
	}
	seq := q.goneLocked(e, nil)
	q.mu.Unlock()
	return q.commitLog(seq)
}

// goneLocked unlinks what e has and asks for the deletion of what the store may have.
func (q *Queue) goneLocked(e *entry, recs []record) uint64 {
	recs = append(recs, q.unlinkLocked(e)...)
	return q.j.append(append(recs, q.emptyLocked(e))...)
}

// emptyLocked makes e, which has no file any more, a delete, or nothing if there is nothing
// to delete. It returns the record of that.
func (q *Queue) emptyLocked(e *entry) record {
	if e.job == nil && e.base.absent() {
		e.want = clean
		q.forgetLocked(e)
		return e.setOrDrop()
	}
	if e.job != nil && e.job.want != gone && !e.job.final {
		e.job.cancel()
	}
	e.conflict = false
	if e.want != gone {
		q.changedLocked(e, gone)
	}
	e.since = time.Now()
	kick(q.dirty)
	return e.setOrDrop()
}
