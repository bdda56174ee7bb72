package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/writeback"
	"github.com/thawfs/thawfs/fs/recall"
)

// maxWhole is the largest object, in bytes, that is fetched as a whole before it is changed,
// so that the kernel can write it itself. Of larger ones only what is changed is staged.
const maxWhole = 64 << 20

// openRead brings in the content for a reader; closeRead ends it.
func (n *fileNode) openRead(ctx context.Context, by recall.Caller) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	n.mu.Lock()
	ready := n.file != nil || n.reader != nil || n.detached != nil
	if ready {
		n.handles++
	}
	n.mu.Unlock()
	if ready {
		return nil
	}
	store, ref, err := n.store(ctx)
	if err != nil {
		return err
	}
	if file, ok, err := n.fs.queue.Reader(ref); ok || err != nil {
		if err == nil {
			n.enter(ref, file)
		}
		return err
	}
	obj, err := n.current(ctx, store, ref, by)
	if err != nil {
		return err
	}
	n.fs.walks.opened(store, ref)
	n.fs.tree.Lock()
	n.fs.live[ref] = n
	n.fs.tree.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reader = n.fs.blocks.Open(store, ref, obj)
	n.unhold, n.lapsed = nil, false
	if !n.fs.blocks.Whole(ref, obj) {
		n.unhold = n.fs.recall.Hold(ref, obj)
	}
	n.handles++
	return nil
}

// current asks for the newest version of a file that is not open: an upload may have
// finished since the kernel looked. What is archived is asked for; see thaw.
func (n *fileNode) current(ctx context.Context, store backend.Store, ref backend.Ref, by recall.Caller) (backend.Object, error) {
	obj, err := n.fs.object(ctx, store, ref)
	if err != nil {
		return obj, err
	}
	obj, err = n.fs.thaw(ctx, store, ref, obj, by)
	n.renew(obj)
	return obj, err
}

// renew is refresh for what the kernel is not told by the answer to its request: without a
// word it would cut reads at the size of the version it knows, and begin appends there.
func (n *fileNode) renew(obj backend.Object) {
	n.mu.Lock()
	known := n.obj
	n.mu.Unlock()
	if n.refresh(obj) && (obj.ETag != known.ETag || obj.Size != known.Size) {
		_ = n.NotifyContent(-1, 0) // attributes only; fails without a kernel, which needs none
	}
}

func (n *fileNode) closeRead() error { return n.leave() }

// enter makes file, a reference that the node now owns, the content of one more handle.
func (n *fileNode) enter(ref backend.Ref, file *writeback.File) {
	n.fs.tree.Lock()
	n.fs.live[ref] = n
	n.fs.tree.Unlock()
	n.mu.Lock()
	old := n.file
	n.file = file
	n.handles++
	n.mu.Unlock()
	if old != nil {
		_ = old.Close() // a reader's reference: nothing to lose
	}
}

// leave drops a handle, and the content with the last one.
func (n *fileNode) leave() error {
	n.mu.Lock()
	n.handles--
	if n.handles > 0 {
		n.mu.Unlock()
		return nil
	}
	file, reader, detached := n.file, n.reader, n.detached
	unhold := n.unhold
	n.keepAttrsLocked()
	n.file, n.reader, n.detached, n.unhold = nil, nil, nil, nil
	n.mode, n.backing, n.mtimeSet = modeNone, 0, false
	if file != nil {
		n.kept = pages{}
	}
	n.mu.Unlock()
	n.mu.Lock()
	n.fs.tree.Lock()
	if n.handles == 0 { // nobody has opened it meanwhile
		n.dropLiveLocked()
	}
	n.fs.tree.Unlock()
	n.mu.Unlock()
	var err error
	if file != nil {
		err = file.Close()
	}
	if reader != nil {
		reader.Close()
	}
	if unhold != nil {
		unhold()
	}
	if detached != nil {
		_ = detached.Close() // only read
	}
	return err
}

// keepAttrsLocked remembers what the staged file said, for the time after it.
func (n *fileNode) keepAttrsLocked() {
	if n.file == nil {
		return
	}
	n.attr.Mtime = n.mtimeLocked()
	n.obj.Size, _, _ = n.file.Stat()
}

// dropLiveLocked takes n out of fs.live; fs.tree is held for writing.
func (n *fileNode) dropLiveLocked() {
	if ref, ok := n.refLocked(); ok && n.fs.live[ref] == n {
		delete(n.fs.live, ref)
	}
}

// openWrite makes the content a staged file, empty or with the bytes the object has, and
// returns a writer's reference to it for closeWrite.
func (n *fileNode) openWrite(ctx context.Context, truncate bool, by recall.Caller) (*writeback.File, error) {
	if err := n.acquire(ctx); err != nil {
		return nil, err
	}
	defer n.release()
	ref, named := n.ref()
	if !named {
		return n.reopen()
	}
	file, err := n.fs.queue.Reopen(ref, truncate)
	if err != nil {
		return nil, err
	}
	if file == nil {
		o, err := n.base(ctx, ref, truncate, by)
		if err != nil {
			return nil, err
		}
		o.Attrs.Class = n.fs.class(ref) // of new bytes, should they be committed by the way
		if file, err = n.fs.queue.OpenFile(ref, o); err != nil {
			return nil, err
		}
		if truncate && !o.Truncate {
			if err := file.Truncate(ctx, 0); err != nil {
				return nil, errors.Join(err, file.Close())
			}
		}
		if o.ReadBase != nil {
			n.hold(ref, o.Base)
		}
	}
	n.write(ref, file)
	return file, nil
}

// hold keeps a restored copy while n is open, of which a writer needs what he does not replace.
func (n *fileNode) hold(ref backend.Ref, obj backend.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unhold == nil {
		n.unhold = n.fs.recall.Hold(ref, obj)
	}
}

// passed reports whether the kernel reads the content from a local file. Until it is closed
// the kernel opens n with that file alone (EIO otherwise), so a writer must get it, even one
// who needs none of its bytes.
func (n *fileNode) passed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mode == modePass
}

// create is openWrite for a name that the store does not have.
func (n *fileNode) create() (*writeback.File, error) {
	ref, named := n.ref()
	if !named {
		return nil, backend.ErrNotExist
	}
	attrs := n.attr.encode(backend.Attrs{Class: n.fs.class(ref)})
	file, err := n.fs.queue.OpenFile(ref, writeback.OpenOptions{Truncate: true, Attrs: attrs})
	if err != nil {
		return nil, err
	}
	n.write(ref, file)
	return file, nil
}

// reopen is openWrite for a file without a name: only who holds its staged file can write.
func (n *fileNode) reopen() (*writeback.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		return nil, fmt.Errorf("write to an unlinked file: %w", os.ErrClosed)
	}
	n.file.Retain()
	n.handles++
	n.writers++
	return n.file, nil
}

// write makes file the content; the node takes a reference of its own.
func (n *fileNode) write(ref backend.Ref, file *writeback.File) {
	file.Retain()
	n.enter(ref, file)
	n.mu.Lock()
	n.writers++
	n.mu.Unlock()
}

func (n *fileNode) closeWrite(file *writeback.File) error {
	n.mu.Lock()
	n.writers--
	n.mu.Unlock()
	return cmpErr(file.Close(), n.leave())
}

// base says what a staged file of n begins with.
func (n *fileNode) base(ctx context.Context, ref backend.Ref, truncate bool, by recall.Caller) (writeback.OpenOptions, error) {
	o := writeback.OpenOptions{Truncate: truncate}
	store, err := n.fs.stores.open(ctx, ref.Bucket)
	if err != nil {
		return o, err
	}
	obj, err := n.fs.object(ctx, store, ref)
	if err != nil {
		return o, err
	}
	n.renew(obj)
	if o.Base, o.Attrs = obj, obj.Attrs; obj.Size == 0 || truncate && !n.passed() {
		return o, nil // the old bytes are not needed
	}
	if obj, err = n.current(ctx, store, ref, by); err != nil {
		return o, err
	}
	o.Base, o.Attrs = obj, obj.Attrs
	path := n.fs.tempPath()
	if n.fs.blocks.Take(ref, obj, path) {
		o.Path, o.Truncate = path, false
		return o, nil
	}
	if truncate {
		return o, nil
	}
	if obj.Size <= maxWhole {
		whole, err := n.fs.blocks.Fill(ctx, store, ref, obj)
		switch {
		case errors.Is(err, syscall.ENOSPC): // then only what is changed is staged
		case err != nil:
			return o, err
		default:
			defer func() { _ = whole.Close() }() // only read
			if n.fs.blocks.Take(ref, obj, path) {
				o.Path = path
				return o, nil
			}
		}
	}
	o.ReadBase = func(ctx context.Context, p []byte, off int64) (int, error) {
		r := n.fs.blocks.Open(store, ref, obj)
		defer r.Close()
		return r.ReadAt(ctx, p, off)
	}
	return o, nil
}

// tempSeq makes names of files that are on their way from one cache to the other.
type tempSeq struct{ n atomic.Uint64 }

func (f *FS) tempPath() string {
	return filepath.Join(f.o.CacheDir, "tmp", fmt.Sprintf("%d", f.temps.n.Add(1)))
}

// commit journals what a writer did: bytes, attributes, or that the file exists.
func (n *fileNode) commit() error {
	n.committing <- struct{}{}
	defer func() { <-n.committing }()
	n.mu.Lock()
	file := n.file
	if file == nil {
		n.mu.Unlock()
		return nil
	}
	_, seen, changed := file.Stat()
	if !changed && !n.dirty {
		n.mu.Unlock()
		return nil
	}
	attr := n.attr
	attr.Mtime = n.mtimeLocked()
	if changed {
		attr.Ctime = time.Now()
	}
	n.attr, n.mtimeSet, n.mtimeSeen, n.dirty = attr, true, seen, false
	attrs := attr.encode(n.obj.Attrs)
	if changed {
		attrs = forNewContent(attrs)
		attrs.Class = "" // new bytes do not go back into the archive by themselves
		if ref, named := file.Ref(); named {
			attrs.Class = n.fs.class(ref)
		}
	}
	n.obj.Attrs = attrs
	n.mu.Unlock()
	err := file.Commit(attrs)
	if err != nil {
		n.mu.Lock()
		n.dirty = true
		n.mu.Unlock()
	}
	return err
}

// class is the storage class for new content of ref.
func (f *FS) class(ref backend.Ref) string {
	if f.o.Class == nil {
		return ""
	}
	return f.o.Class(ref)
}

// readAt reads the content as it is now.
func (n *fileNode) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	n.mu.Lock()
	file, reader, detached := n.file, n.reader, n.detached
	n.mu.Unlock()
	switch {
	case file != nil:
		return file.ReadAt(ctx, p, off)
	case detached != nil:
		m, err := detached.ReadAt(p, off)
		if m > 0 || isEOF(err) {
			err = nil
		}
		return m, err
	case reader != nil:
		return reader.ReadAt(ctx, p, off)
	}
	return 0, os.ErrClosed
}

// detach brings in all bytes of an object that is about to lose its name while somebody
// has it open: afterwards nobody could ask the store for them.
func (n *fileNode) detach(ctx context.Context) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	n.mu.Lock()
	obj := n.obj
	needed := n.handles > 0 && n.file == nil && n.detached == nil
	n.mu.Unlock()
	if !needed {
		return nil
	}
	store, ref, err := n.store(ctx)
	if err != nil {
		return err
	}
	whole, err := n.fs.blocks.Fill(ctx, store, ref, obj)
	switch {
	case errors.Is(err, syscall.ENOSPC), isArchived(err): // its restored copy has ended: nobody has them
		n.warn("an open file that loses its name cannot be kept: its readers will get ESTALE", ref, err)
		return nil
	case err != nil:
		return fmt.Errorf("keep the bytes of open file %q: %w", ref, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.detached = whole
	return nil
}

// moved opens the content anew under the name that a rename gave the object.
func (n *fileNode) moved(ctx context.Context) {
	store, ref, err := n.store(ctx)
	if err != nil {
		return
	}
	obj, err := n.fs.object(ctx, store, ref)
	if err != nil {
		return
	}
	n.mu.Lock()
	old := n.reader
	n.obj = obj
	if old != nil {
		n.reader = n.fs.blocks.Open(store, ref, obj)
	}
	n.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// carry takes the file that the kernel reads n from out of the cache, before the cache
// forgets it with the name or version that n has; putBack brings it in under those that n has
// then. As long as it is open the kernel opens n with that very file alone.
func (n *fileNode) carry() (path string) {
	ref, named := n.ref()
	n.mu.Lock()
	obj, clean := n.obj, n.mode == modePass && n.file == nil
	n.mu.Unlock()
	path = n.fs.tempPath()
	if !named || !clean || !n.fs.blocks.Take(ref, obj, path) {
		return ""
	}
	return path
}

func (n *fileNode) putBack(path string) {
	ref, named := n.ref()
	n.mu.Lock()
	obj := n.obj
	n.mu.Unlock()
	if named {
		n.fs.adopt(ref, obj, path)
	}
	_ = os.Remove(path) // it is in the cache, or of no use any more
}
