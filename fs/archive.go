package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs/recall"
)

// stubTimeout bounds how long the kernel believes the attributes of an archived file: its
// state changes by itself.
const stubTimeout = time.Second

// openRecall begins the manager of what is on its way back.
func (f *FS) openRecall(path string) (err error) {
	o := f.o.Recall
	o.Path, o.Open, o.Changed, o.Awaited, o.Log = path, f.stores.open, f.recalled, f.fetches.begin, f.log
	f.recall, err = recall.New(o)
	return err
}

// Recall is the manager of what is on its way back from an archive.
func (f *FS) Recall() *recall.Manager { return f.recall }

// recalled is told that the state of an object has changed.
func (f *FS) recalled(ref backend.Ref, obj backend.Object) {
	if obj.State == backend.Restored {
		f.bringer.bring(ref)
	}
	if obj.Meta == nil {
		whole, ok := f.entries.Complete(ref, obj)
		if !ok {
			f.entries.Drop(ref)
			f.notify(ref)
			return
		}
		whole.State, whole.Until = obj.State, obj.Until
		obj = whole
	}
	f.entries.Set(ref, obj)
	f.notify(ref)
}

// writeOnce is the store of a bucket if it archives all it gets for good; see
// backend.WriteOnce.
func (f *FS) writeOnce(bucket string) (backend.WriteOnce, bool) {
	w, ok := f.stores.known(bucket).(backend.WriteOnce)
	return w, ok
}

// notify has the kernel ask again for the attributes of ref. It must not be called by a
// handler of the same inode, so it does its work aside.
func (f *FS) notify(ref backend.Ref) {
	if !f.served.Load() {
		return
	}
	n := f.nodeAt(ref)
	if n == nil {
		return
	}
	f.notices.Go(func() { _ = n.NotifyContent(0, 0) }) // ENOENT if the kernel forgot it meanwhile
}

// nodeAt finds the node of a key that the kernel knows.
func (f *FS) nodeAt(ref backend.Ref) *fileNode {
	at := f.root.EmbeddedInode()
	rest := strings.TrimPrefix(ref.Key, f.o.Prefix)
	if f.o.Bucket == "" {
		if at = at.GetChild(ref.Bucket); at == nil {
			return nil
		}
	}
	parts := strings.Split(rest, "/")
	for i, comp := range parts {
		next := at.GetChild(elemName(comp, plainElem))
		if i == len(parts)-1 && (next == nil || next.IsDir()) {
			next = at.GetChild(elemName(comp, objectElem))
		}
		if at = next; at == nil {
			return nil
		}
	}
	n, _ := at.Operations().(*fileNode)
	return n
}

// here reports whether the bytes of obj can be read now, from the store or without it.
func (f *FS) here(ref backend.Ref, obj backend.Object) bool {
	return obj.State.Readable() || f.blocks.Whole(ref, obj)
}

// thaw returns the object as it can be read now, or why it cannot: what is archived, and is not
// on this machine either, is asked for, as the policy has it.
func (f *FS) thaw(ctx context.Context, store backend.Store, ref backend.Ref, obj backend.Object, by recall.Caller) (backend.Object, error) {
	lapsed := obj.State == backend.Restored && !obj.Until.IsZero() && time.Now().After(obj.Until)
	if lapsed || obj.State == backend.Unknown {
		var err error
		if obj, err = f.anew(ctx, store, ref); err != nil {
			return obj, err
		}
	}
	if f.here(ref, obj) {
		return obj, nil
	}
	if err := f.recall.Open(ctx, ref, obj, by); err != nil {
		return obj, fmt.Errorf("open %q: %w", ref, err)
	}
	return f.thawed(ctx, store, ref)
}

// thawed is the object after the manager has said that it can be read. A listing may have said
// otherwise since.
func (f *FS) thawed(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, error) {
	obj, err := f.object(ctx, store, ref)
	if err == nil && !f.here(ref, obj) {
		obj, err = f.anew(ctx, store, ref)
	}
	if err == nil && !f.here(ref, obj) { // its copy ended sooner than the manager looked
		err = fmt.Errorf("open %q: %w again", ref, backend.ErrArchived)
	}
	return obj, err
}

// awaitBytes is thaw for an open that has not begun: it may wait for hours, and while it does
// nothing of the node is held, so that others can remove, replace or change the file.
func (n *fileNode) awaitBytes(ctx context.Context, by recall.Caller) error {
	n.mu.Lock()
	here := n.file != nil || n.reader != nil || n.detached != nil
	n.mu.Unlock()
	store, ref, err := n.store(ctx)
	if here || err != nil {
		return nil // the open finds out
	}
	obj, err := n.fs.object(ctx, store, ref)
	if err != nil || obj.Size == 0 {
		return nil
	}
	_, err = n.fs.thaw(ctx, store, ref, obj, by)
	return err
}

// thawAgain is for an open file whose restored copy has ended: EAGAIN is an answer to open
// only (Python's read takes it for "nothing there"), so what is not back in time is
// ETIMEDOUT.
func (n *fileNode) thawAgain(ctx context.Context) error {
	store, ref, err := n.store(ctx)
	if err != nil {
		return err
	}
	obj, err := n.fs.anew(ctx, store, ref)
	if err != nil {
		return err
	}
	_, err = n.fs.thaw(ctx, store, ref, obj, callerOf(ctx, 0))
	if err != nil && ctx.Err() == nil {
		n.mu.Lock()
		first := !n.lapsed
		n.lapsed = true
		n.mu.Unlock()
		if first { // programs may try again and again
			n.warn("the restored copy of an open file has ended", ref, err)
		}
		return syscall.ETIMEDOUT
	}
	return err
}

// callerOf says who sent a request: the guards count by user and program.
func callerOf(ctx context.Context, flags uint32) recall.Caller {
	by := recall.Caller{NonBlock: flags&syscall.O_NONBLOCK != 0}
	if c, ok := fuse.FromContext(ctx); ok {
		by.UID, by.PID = c.Uid, c.Pid
		by.Exe, _ = os.Readlink("/proc/" + strconv.FormatUint(uint64(c.Pid), 10) + "/exe") // "": it has ended, or is in another namespace
	}
	return by
}

// requestRecall carries out what was written to user.thawfs.restore; see recall.ParseExplicit.
func (n *fileNode) requestRecall(ctx context.Context, value string) error {
	e, err := recall.ParseExplicit(value)
	if err != nil {
		return err
	}
	e.UID, _ = caller(ctx)
	ref, named := n.ref()
	if !named {
		return backend.ErrNotExist
	}
	obj, err := n.object(ctx)
	if err != nil {
		return err
	}
	_, err = n.fs.recall.Request(ctx, ref, obj, e)
	return err
}

// jobXattr is the value of a virtual xattr that tells of the job of ref.
func (f *FS) jobXattr(name string, ref backend.Ref) (string, bool) {
	job, ok := f.recall.Job(ref)
	if !ok {
		return "", false
	}
	switch name {
	case "eta":
		return job.ETA.UTC().Format(time.RFC3339), !job.ETA.IsZero()
	case "job":
		return string(job.Phase), true
	case "error":
		return job.Err, job.Err != ""
	}
	return "", false
}

// contradicted reports whether a job says more of ref than what is known of it as obj.
func (f *FS) contradicted(ref backend.Ref, obj backend.Object) bool {
	job, ok := f.recall.Job(ref)
	return ok && obj.State == backend.Archived && (job.Phase == recall.Restoring || job.Phase == recall.Restored)
}

func isArchived(err error) bool { return errors.Is(err, backend.ErrArchived) }

// setClass moves the object to a storage class.
func (n *fileNode) setClass(ctx context.Context, class string) error {
	if class == "" || strings.ContainsFunc(class, func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') }) {
		return fmt.Errorf("%w: storage class %q", backend.ErrInvalid, class)
	}
	if err := n.noWriters(ctx); err != nil {
		return err
	}
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	ref, named := n.ref()
	if !named {
		return backend.ErrNotExist
	}
	obj, err := n.object(ctx)
	if err == nil && !obj.State.Readable() {
		obj, err = n.again(ctx)
	}
	if err != nil {
		return err
	}
	if !obj.State.Readable() {
		return fmt.Errorf("move %q to class %s: %w", ref, class, backend.ErrArchived)
	}
	attrs := obj.Attrs
	attrs.Class = class
	return n.fs.queue.SetAttrs(ref, obj, attrs)
}

// noWriters fails with EBUSY if somebody has the file open to write: the class would be that
// of the bytes before. The kernel tells of the end of a writer some time after its close, which
// is waited for.
func (n *fileNode) noWriters(ctx context.Context) error {
	const pause, patience = 10 * time.Millisecond, 2 * time.Second
	for begun := time.Now(); ; {
		n.mu.Lock()
		writing := n.writers > 0
		n.mu.Unlock()
		switch {
		case !writing:
			return nil
		case time.Since(begun) > patience:
			return syscall.EBUSY
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
