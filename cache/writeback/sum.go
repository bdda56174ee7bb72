package writeback

import "github.com/thawfs/thawfs/backend"

// Commit computes the checksum of small content only: who closes a file does not wait for
// the whole of it to be read. The group commit computes the others. From then on damage by
// the disk is noticed before the content is sent; and after a loss of power a file that was
// being changed in place is not taken for what it was when it was committed.

// sumUnsynced journals the checksums of committed files that have none.
func (q *Queue) sumUnsynced() {
	q.mu.Lock()
	var files []*File
	for f := range q.unsynced {
		if f.lacksSumLocked() {
			f.pins++
			files = append(files, f)
		}
	}
	q.mu.Unlock()
	each(files, 2, func(f *File) {
		if err := f.sum(); err != nil && q.ctx.Err() == nil {
			q.o.Log.Warn("committed content has no checksum", "key", f.ref.String(), "err", err)
		}
		f.unpin()
	})
}

func (f *File) lacksSumLocked() bool {
	e := f.entry
	return e != nil && e.file == f && e.want == content && f.crc == nil && f.sparse == nil && f.inline == nil
}

// sum takes the checksum of the content if that is still as it was at the last Commit.
func (f *File) sum() error {
	q := f.q
	s, err := f.stampNow()
	if err != nil {
		return err
	}
	q.mu.Lock()
	mark := f.mark
	q.mu.Unlock()
	if s != mark {
		return nil // a Commit will follow
	}
	crc, err := f.reader(q.ctx).crc(0, s.size)
	if err != nil {
		return err
	}
	after, err := f.stampNow()
	if err != nil || after != s {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.mark == s && f.lacksSumLocked() {
		f.crc = &crc
		q.j.append(f.entry.setOrDrop())
	}
	return nil
}

// spoils reports whether a change of a sparse file that was not on the disk when power was
// lost went over what had been committed: nobody knows then what is there now.
func (r *fileRec) spoils(c *sparseRec) bool {
	if c.Cut {
		return false // it leaves the staged file alone
	}
	for _, x := range ranges(r.Ranges).split(c.From, c.To) {
		if x.in {
			return true
		}
	}
	return false
}

// spoil takes note of a line that is left out because power was lost.
func (m *image) spoil(l line) {
	for _, r := range l.recs {
		if r.Sparse == nil {
			continue
		}
		if f := m.files[r.Sparse.ID]; f != nil && f.Sparse && f.spoils(r.Sparse) {
			m.spoiled[r.Sparse.ID] = true
		}
	}
}

// setAsideSpoiled describes a spoiled sparse file for whoever finds it in lost+found.
func (q *Queue) setAsideSpoiled(r *entryRec) {
	d := strandedFile{
		Bucket: r.Bucket, Key: r.Key, Size: r.File.Size, Ranges: r.File.Ranges, BaseN: r.File.BaseN, Attrs: r.Attrs.attrs(),
	}
	if b := r.File.Base; b != nil {
		d.Base = strandedBase{b.ETag, b.Size}
	}
	q.o.Log.Error("a file was being changed in place when power was lost; it is kept in lost+found",
		"key", r.ref().String(), "path", q.strandedPath(r.File.ID), "err", backend.ErrCorrupt)
	if err := q.writeStranded(r.File.ID, d); err != nil {
		q.o.Log.Warn("it is not described there", "err", err)
	}
}
