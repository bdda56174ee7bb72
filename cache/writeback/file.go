package writeback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// A File is staged content: what somebody writes, or wrote and the store does not hold yet.
// All who open a name share one. It is good as long as its opener, or who has called
// Retain, has not closed it; methods may be called concurrently.
type File struct {
	q  *Queue
	id uint64

	fd      atomic.Pointer[os.File] // open while somebody needs it; nil with inline content
	inline  []byte                  // content that is in the journal; constant
	sparse  *sparse                 // nil when the whole content is in the staged file
	begun   atomic.Uint64           // writes and truncates that came to us
	ended   atomic.Uint64
	counted atomic.Int64 // bytes of Queue.staged that are ours

	committing chan struct{} // holds a token while a Commit is under way

	// Guarded by Queue.mu:
	entry     *entry // whose content it is; nil once unlinked, replaced or handed over
	ref       backend.Ref
	linked    bool // ref is still its name
	refs      int  // of callers
	pins      int  // of our own
	opened    int  // OpenFile calls ever
	given     bool // Fd was called: the kernel may write
	journaled bool // some line of the journal names it
	attrs     backend.Attrs
	mark      stamp // of the content at the last Commit, or at the beginning
	begin     bool  // mark is of a beginning that is no version in the store: anything is a change
	committed bool
	size      int64         // at the last Commit
	crc       *uint64       // of the content at mark, if known
	gen       uint64        // of the last Commit
	confirmed uint64        // the newest gen that the store has
	err       error         // of a commit that will not be confirmed as it was meant
	untold    bool          // no Sync has told err
	failures  int           // errors so far
	changed   chan struct{} // closed and replaced when the fields above say something new to Sync
	stored    storedAs
	upload    *upload
	early     *early
	missing   bool      // the staged file was not found; the store has the content
	fresh     bool      // began empty: worth sending while it grows
	polled    int64     // its size at the last look
	notBefore time.Time // of the next attempt to send parts early
}

// storedAs says that the content with a stamp is in the store.
type storedAs struct {
	ok    bool
	stamp stamp
	obj   backend.Object
	attrs backend.Attrs // as they were sent, or base's
	crc   *uint64
	open  bool // sent while somebody might write: mmap could have changed it without a trace
}

// Ref returns the current name, which renames move. It is false once the file is unlinked
// or replaced.
func (f *File) Ref() (backend.Ref, bool) {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	return f.ref, f.linked
}

// Attrs returns the attributes of the last Commit or SetAttrs.
func (f *File) Attrs() backend.Attrs {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	return cloneAttrs(f.attrsLocked())
}

func (f *File) attrsLocked() backend.Attrs {
	if f.entry != nil && f.entry.want != clean {
		return f.entry.attrs
	}
	return f.attrs
}

// Retain adds a reference, for a reader. It is paired with Close.
func (f *File) Retain() {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	f.refs++
	if _, err := f.openLocked(); err != nil {
		f.q.o.Log.Error("staged file cannot be opened", "key", f.ref.String(), "err", err)
	}
}

// openLocked returns the descriptor, opening the staged file if it has to. It is nil for
// inline content.
func (f *File) openLocked() (*os.File, error) {
	if fd := f.fd.Load(); fd != nil {
		return fd, nil
	}
	if f.inline != nil {
		return nil, nil
	}
	fd, err := os.OpenFile(f.q.stagedPath(f.id), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f.fd.Store(fd)
	return fd, nil
}

// pin keeps the descriptor open until unpin.
func (f *File) pin() (*os.File, error) {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	fd, err := f.openLocked()
	if err != nil {
		return nil, fmt.Errorf("open staged file: %w", err)
	}
	f.pins++
	return fd, nil
}

// pinned pins f even if that fails to open the staged file.
func (f *File) pinned() error {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	f.pins++
	_, err := f.openLocked()
	return err
}

func (f *File) unpin() {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	f.pins--
	f.idleLocked()
}

// use calls do with the descriptor. Who holds a reference has it open; for others it is
// opened as long as do takes.
func (f *File) use(do func(fd *os.File) error) error {
	if fd := f.fd.Load(); fd != nil {
		if err := do(fd); !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	fd, err := f.pin()
	if err != nil {
		return err
	}
	defer f.unpin()
	return do(fd)
}

// idleLocked lets go of what nobody needs: the descriptor, because pending files can be many
// more than a process may have open, and the staged file itself if it has no name.
func (f *File) idleLocked() {
	if f.refs > 0 || f.pins > 0 {
		return
	}
	if fd := f.fd.Swap(nil); fd != nil {
		_ = fd.Close() // fsync is what tells errors of staged data, not close
	}
	delete(f.q.writers, f)
	f.given = false
	if f.entry == nil {
		f.q.discardLocked(f)
	}
}

// ReadAt fills p from off. It returns less than len(p) without an error only at the end.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if f.inline != nil {
		return copy(p, f.inline[min(off, int64(len(f.inline))):]), nil
	}
	err = f.use(func(fd *os.File) error {
		if f.sparse != nil {
			n, err = f.readSparse(ctx, fd, p, off)
			return err
		}
		n, err = fd.ReadAt(p, off)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	return n, err
}

// WriteAt writes p at off. Beyond the capacity it waits a while for uploads to make room,
// then fails with ErrFull.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	fd := f.fd.Load()
	if fd == nil {
		return 0, fmt.Errorf("write to staged file: %w", os.ErrClosed)
	}
	if err := f.account(f.grown(off, len(p))); err != nil {
		return 0, err
	}
	f.begun.Add(1)
	defer f.ended.Add(1)
	if f.sparse != nil {
		n, err := f.sparse.writeAt(fd, p, off)
		return n, errors.Join(err, f.noteSparse(&sparseRec{ID: f.id, From: off, To: off + int64(n)}))
	}
	return fd.WriteAt(p, off)
}

// grown estimates the staged bytes after a write.
func (f *File) grown(off int64, n int) int64 {
	if f.sparse != nil {
		return f.sparse.staged() + int64(n)
	}
	return off + int64(n)
}

// Truncate sets the size; what is new is zero.
func (f *File) Truncate(_ context.Context, size int64) error {
	fd := f.fd.Load()
	if fd == nil {
		return fmt.Errorf("truncate staged file: %w", os.ErrClosed)
	}
	f.begun.Add(1)
	defer f.ended.Add(1)
	if f.sparse != nil {
		f.sparse.truncate(size)
		return f.noteSparse(&sparseRec{ID: f.id, Cut: true, To: size})
	}
	return fd.Truncate(size)
}

// noteSparse journals a change of a sparse file that is pending. Otherwise, after the death
// of the process, its last Commit would be found mixed with a part of what was written
// after that; so it is followed by all of it, as it is with other files.
func (f *File) noteSparse(r *sparseRec) error {
	q := f.q
	q.mu.Lock()
	var seq uint64
	if e := f.entry; e != nil && e.want == content && r.To >= r.From {
		seq = q.j.append(record{Sparse: r})
		q.unsynced[f] = struct{}{} // no line may say that it is on the disk before it is
	}
	q.mu.Unlock()
	if seq == 0 {
		return nil
	}
	kick(q.dirty)
	return q.j.flush(seq)
}

// Fd returns the descriptor of the staged file, for reading and writing by the kernel, if
// it holds the whole content. It is valid while the File is referenced.
func (f *File) Fd() (int, bool) {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	fd := f.fd.Load()
	if fd == nil || f.sparse != nil {
		return -1, false
	}
	f.given = true
	return int(fd.Fd()), true
}

// Stat returns the size and the time of the last change of the content, and whether it has
// changed since the last Commit. A file that was created or truncated at its opening is
// changed until it is committed.
func (f *File) Stat() (size int64, mtime time.Time, changed bool) {
	s, err := f.stampNow()
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	if err != nil {
		f.q.o.Log.Error("staged file cannot be examined", "key", f.ref.String(), "err", err)
		return f.size, time.Time{}, false
	}
	changed = f.changedLocked(s)
	mtime = time.Unix(0, s.mtime)
	if s.mtime == 0 && f.entry != nil {
		mtime = f.entry.mod
	}
	return s.size, mtime, changed
}

func (f *File) changedLocked(s stamp) bool { return f.begin || s != f.mark }

// Stored returns the object in the store if it equals the content as it is now.
func (f *File) Stored() (backend.Object, bool) {
	s, err := f.stampNow()
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	if err != nil || !f.stored.ok || f.stored.stamp != s || (f.entry != nil && f.entry.want != clean) {
		return backend.Object{}, false
	}
	return f.stored.obj, true
}

// record is f as the journal has it.
func (f *File) record() *fileRec {
	f.journaled = true
	if f.inline != nil {
		return &fileRec{ID: f.id, Held: true, Inline: f.inline, Size: f.size, CRC: f.crc}
	}
	r := &fileRec{ID: f.id, Size: f.size, Mtime: f.mark.mtime, CRC: f.crc}
	if f.sparse != nil {
		f.sparse.record(r)
	}
	return r
}

// failLocked has Sync tell err: to all that wait now, else to the next.
func (f *File) failLocked(err error) {
	f.err, f.untold = err, true
	f.failures++
	f.notifyLocked()
}

// notifyLocked wakes Sync callers; they look for themselves.
func (f *File) notifyLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}
