package writeback

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// OpenOptions of OpenFile. They describe what the store holds; where the queue knows better,
// because something is pending for the key, it goes by what it knows.
type OpenOptions struct {
	Base     backend.Object                                              // version in the store this file begins from; ETag "": the key is absent there
	Truncate bool                                                        // begin empty; Base is only the condition of the upload
	Path     string                                                      // a local file with exactly Base's bytes, taken over by rename; else, unless Truncate:
	ReadBase func(ctx context.Context, p []byte, off int64) (int, error) // bytes of Base on demand, like blocks.Reader.ReadAt
	Attrs    backend.Attrs                                               // of a new file; Class is that of new bytes in any case
}

// OpenFile opens ref for writing: the File that is pending or open, of which it only looks at
// o.Truncate, or else a new one. A new one is seen by Find at once and sent when it has
// been committed. Each call is paired with File.Close. It fails with ErrFull if uploads
// make no room in time.
func (q *Queue) OpenFile(ref backend.Ref, o OpenOptions) (*File, error) {
	if !backend.ValidKey(ref.Key) {
		return nil, fmt.Errorf("open %q: %w", ref.Key, backend.ErrInvalid)
	}
	if err := q.waitRoom(func() bool { return q.o.Capacity <= 0 || q.staged < q.o.Capacity }); err != nil {
		return nil, err
	}
	for {
		f, err := q.reopen(ref, o.Truncate)
		if f != nil || err != nil {
			o.dispose()
			return f, err
		}
		o = q.freshen(ref, o)
		f, err = q.stage(ref, o)
		if err != nil {
			return nil, err
		}
		if q.attach(f, o) {
			return f, nil
		}
		q.unstage(f, o) // Somebody else was faster: theirs is the one, unless that is gone by now.
	}
}

// dispose removes a file that is not needed: it is ours since it was given to us.
func (o *OpenOptions) dispose() {
	if o.Path != "" {
		_ = os.Remove(o.Path) // a copy of what the store has
	}
}

// unstage undoes stage. A file that was taken over is back at its Path: it may be the only
// source of its bytes that the next attempt has.
func (q *Queue) unstage(f *File, o OpenOptions) {
	if o.Path == "" || o.Truncate || os.Rename(q.stagedPath(f.id), o.Path) != nil {
		q.abandonStaged(f)
		return
	}
	_ = f.fd.Load().Close() // nothing was written
}

// reopen returns the File that ref has already, nil if there is none.
func (q *Queue) reopen(ref backend.Ref, truncate bool) (*File, error) {
	f, err := q.borrow(ref)
	if f == nil || err != nil {
		return nil, err
	}
	if f.inline != nil {
		defer f.Close()
		return nil, q.unfold(f)
	}
	if truncate {
		if err := f.Truncate(q.ctx, 0); err != nil {
			_ = f.Close() // not handed out
			return nil, err
		}
	}
	return f, nil
}

// borrow references the File of ref for a writer. One that is being handed over is
// waited for: it is no longer ours to change. So is one in the journal whose content the store
// has: it gets no staged file any more, and goes when the store has its attributes too.
func (q *Queue) borrow(ref backend.Ref) (*File, error) {
	for {
		q.mu.Lock()
		e := q.entries[ref]
		switch {
		case q.closed:
			q.mu.Unlock()
			return nil, errClosed
		case e == nil || e.file == nil:
			q.mu.Unlock()
			return nil, nil
		case e.leaving, e.file.inline != nil && e.want != content:
			settled := q.settled
			q.mu.Unlock()
			<-settled
			continue
		}
		f := e.file
		_, err := f.openLocked()
		if err == nil {
			f.refs++
			f.opened++
			f.stored.open = true
			if f.inline == nil {
				q.writerLocked(f)
			}
		}
		q.mu.Unlock()
		if err != nil {
			return nil, fmt.Errorf("open staged file: %w", err)
		}
		return f, nil
	}
}

// writerLocked has f looked at from time to time.
func (q *Queue) writerLocked(f *File) {
	if len(q.writers) == 0 {
		close(q.opened)
		q.opened = make(chan struct{})
	}
	q.writers[f] = struct{}{}
}

// unfold gives the entry of f, whose content is in the journal, a staged file with the same
// content: writers need one.
func (q *Queue) unfold(f *File) error {
	n, err := q.newStaged(f.ref)
	if err != nil {
		return err
	}
	fd := n.fd.Load()
	if _, err := fd.WriteAt(f.inline, 0); err != nil {
		q.abandonStaged(n)
		return err
	}
	s, err := n.stampNow()
	if err != nil {
		q.abandonStaged(n)
		return err
	}
	q.mu.Lock()
	e := f.entry
	if e == nil || e.file != f || e.want != content {
		q.mu.Unlock()
		q.abandonStaged(n)
		return nil // the caller looks again
	}
	recs := q.replaceFileLocked(e, n)
	n.refs = 0
	seq := q.contentLocked(e, s, f.crc, e.attrs, recs)
	n.idleLocked()
	q.mu.Unlock()
	return q.commitLog(seq)
}

// newStaged makes an empty staged file with one reference.
func (q *Queue) newStaged(ref backend.Ref) (*File, error) {
	f := q.newFile(ref)
	fd, err := os.OpenFile(q.stagedPath(f.id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make staged file: %w", err)
	}
	f.fd.Store(fd)
	return f, nil
}

func (q *Queue) newFile(ref backend.Ref) *File {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lastID++
	return &File{q: q, id: q.lastID, ref: ref, refs: 1, opened: 1, committing: make(chan struct{}, 1), changed: make(chan struct{})}
}

// abandonStaged removes a staged file that was never attached.
func (q *Queue) abandonStaged(f *File) {
	_ = f.fd.Load().Close()           // of no importance
	_ = os.Remove(q.stagedPath(f.id)) // at worst lost+found gets it
}

// stage makes the File that o asks for.
func (q *Queue) stage(ref backend.Ref, o OpenOptions) (*File, error) {
	if o.Path != "" && !o.Truncate {
		return q.stagePath(ref, o)
	}
	f, err := q.newStaged(ref)
	if err != nil {
		return nil, err
	}
	if o.Truncate || o.Base.ETag == "" || o.Base.Size == 0 {
		f.mark, err = f.stampNow()
		f.begin, f.fresh = o.Truncate || o.Base.ETag == "", true
	} else {
		err = f.beSparse(o)
	}
	if err != nil {
		q.abandonStaged(f)
		return nil, err
	}
	return f, nil
}

func (f *File) beSparse(o OpenOptions) error {
	if o.ReadBase == nil {
		return fmt.Errorf("open %s: %w: neither Path nor ReadBase", f.ref, backend.ErrInvalid)
	}
	f.sparse = &sparse{size: o.Base.Size, baseN: o.Base.Size, base: o.Base, read: o.ReadBase}
	f.mark = stamp{size: o.Base.Size}
	return nil
}

func (q *Queue) stagePath(ref backend.Ref, o OpenOptions) (*File, error) {
	f := q.newFile(ref)
	path := q.stagedPath(f.id)
	if err := os.Rename(o.Path, path); err != nil {
		return nil, fmt.Errorf("take staged file: %w", err)
	}
	fd, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("take staged file: %w", err)
	}
	f.fd.Store(fd)
	f.mark, err = f.stampNow()
	if err == nil && f.mark.size != o.Base.Size {
		err = fmt.Errorf("take staged file of %s: %d bytes, not %d: %w", ref, f.mark.size, o.Base.Size, backend.ErrCorrupt)
	}
	if err != nil {
		q.abandonStaged(f)
		return nil, err
	}
	return f, nil
}

// attach makes f the File of its ref, unless that has got another one meanwhile; the caller
// keeps f then.
func (q *Queue) attach(f *File, o OpenOptions) bool {
	q.mu.Lock()
	_, stale := q.newestLocked(f.ref, o.Base)
	if e := q.entries[f.ref]; q.closed || stale || (e != nil && e.file != nil) {
		q.mu.Unlock()
		return false
	}
	e := q.entryLocked(f.ref, knownBase(o.Base))
	f.entry, f.linked, e.file = e, true, f
	f.attrs = cloneAttrs(o.Attrs)
	if o.Base.ETag != "" && e.want != gone {
		if !f.begin {
			f.stored = storedAs{ok: true, stamp: f.mark, obj: o.Base, attrs: o.Base.Attrs, open: true}
		}
		if len(o.Attrs.Meta) == 0 && len(o.Attrs.Header) == 0 {
			f.attrs = cloneAttrs(o.Base.Attrs)
			f.attrs.Class = o.Attrs.Class
		}
	}
	q.files[f.id] = f
	q.writerLocked(f)
	q.newNames = true
	var seq uint64
	switch {
	case f.sparse != nil: // until a Commit says where its ranges lie, nobody can use it
		f.journaled = true
		seq = q.j.append(record{Free: &freeRec{ID: f.id, Size: -1}})
	case f.stored.ok: // as it is, it may be lost
		f.journaled = true
		seq = q.j.append(record{Free: &freeRec{ID: f.id, Size: f.mark.size, Mtime: f.mark.mtime}})
	}
	q.mu.Unlock()
	if seq != 0 {
		if err := q.j.flush(seq); err != nil {
			q.o.Log.Warn("journal is not written", "err", err) // a copy in lost+found too many, at worst
		}
	}
	return true
}
