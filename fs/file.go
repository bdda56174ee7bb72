package fs

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/blocks"
	"github.com/thawfs/thawfs/cache/writeback"
)

// A fileNode is a file: an object, or what will be one. While somebody has it open it
// holds its content: the staged file of the queue, or a reader of one version in the store.
// All openers share it, so a write is seen by every reader of this mount.
type fileNode struct {
	node

	// opening is held (one slot, taken with a context) while content is brought in or
	// exchanged, which may take requests.
	opening chan struct{}

	// committing is held (one slot) while the journal is told what a writer did: who finds
	// nothing left to tell must not return before that has been written.
	committing chan struct{}

	mu    sync.Mutex
	obj   backend.Object // the newest version in the store that is known, with the newest Attrs. Guarded by mu
	attr  fileAttr       // as the file has them now; Mtime by mtimeLocked. Guarded by mu
	dirty bool           // attr has what neither queue nor store know: a writer's Flush tells them. Guarded by mu

	file     *writeback.File // staged content; nil when clean. Guarded by mu; referenced while handles > 0
	reader   *blocks.Reader  // of obj; nil when not read. Guarded by mu
	detached *os.File        // content of an unlinked object. Guarded by mu
	unhold   func()          // lets the restored copy end; nil without a reader. Guarded by mu
	lapsed   bool            // that it has ended was logged since reader was opened. Guarded by mu

	mtimeSet  bool      // attr.Mtime was set by a user ... Guarded by mu
	mtimeSeen time.Time // ... when the staged file's was this. Guarded by mu

	handles int        // open handles. Guarded by mu
	writers int        // those that may write. Guarded by mu
	mode    kernelMode // guarded by mu
	backing uint64     // inode number of the file that the kernel reads itself. Guarded by mu
	kept    pages      // what the kernel's page cache may hold. Guarded by mu
}

var (
	_ fusefs.NodeOpener        = (*fileNode)(nil)
	_ fusefs.NodeGetattrer     = (*fileNode)(nil)
	_ fusefs.NodeSetattrer     = (*fileNode)(nil)
	_ fusefs.NodeReadlinker    = (*fileNode)(nil)
	_ fusefs.NodeGetxattrer    = (*fileNode)(nil)
	_ fusefs.NodeSetxattrer    = (*fileNode)(nil)
	_ fusefs.NodeListxattrer   = (*fileNode)(nil)
	_ fusefs.NodeRemovexattrer = (*fileNode)(nil)
	_ fusefs.NodeStatfser      = (*fileNode)(nil)
	_ fusefs.NodeOnForgetter   = (*fileNode)(nil)
)

func (f *FS) newFile(parent *dirNode, comp string, obj backend.Object) *fileNode {
	n := &fileNode{opening: make(chan struct{}, 1), committing: make(chan struct{}, 1)}
	n.fs, n.parent, n.comp = f, parent, comp
	n.obj, n.attr = obj, f.decodeFile(obj)
	return n
}

// ref is the object's name; ok is false once it has none.
func (n *fileNode) ref() (ref backend.Ref, ok bool) {
	n.fs.tree.RLock()
	defer n.fs.tree.RUnlock()
	return n.refLocked()
}

func (n *fileNode) refLocked() (ref backend.Ref, ok bool) {
	if n.deleted || n.parent == nil {
		return backend.Ref{}, false
	}
	ref, ok = n.parent.refLocked()
	ref.Key += n.comp
	return ref, ok
}

func (n *fileNode) store(ctx context.Context) (backend.Store, backend.Ref, error) {
	ref, ok := n.ref()
	if !ok {
		return nil, ref, backend.ErrNotExist
	}
	s, err := n.fs.stores.open(ctx, ref.Bucket)
	return s, ref, err
}

// acquire takes the right to exchange the content.
func (n *fileNode) acquire(ctx context.Context) error {
	select {
	case n.opening <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *fileNode) release() { <-n.opening }

// movedFrom reports whether the file has another name than ref by now.
func (n *fileNode) movedFrom(ref backend.Ref) bool {
	now, ok := n.ref()
	return ok && now != ref
}

// attrs are the file's attributes now.
func (n *fileNode) attrs() attrOf {
	ref, named := n.ref()
	n.mu.Lock()
	defer n.mu.Unlock()
	a := attrOf{fileAttr: n.attr, size: n.obj.Size, unlink: !named}
	if n.file != nil {
		size, _, _ := n.file.Stat()
		a.size = size
		a.Mtime = n.mtimeLocked()
		if a.Mtime.After(a.Ctime) {
			a.Ctime = a.Mtime
		}
	} else {
		a.stub = !n.fs.here(ref, n.obj)
	}
	if a.Target != "" {
		a.size = int64(len(a.Target))
	}
	return a
}

// mtimeLocked is the time the user set or the time of the last write, what came later. The
// kernel writes staged files without telling us, so their own time is asked.
func (n *fileNode) mtimeLocked() time.Time {
	if n.file == nil {
		return n.attr.Mtime
	}
	_, mtime, changed := n.file.Stat()
	if n.mtimeSet && mtime.Equal(n.mtimeSeen) || !n.mtimeSet && !changed {
		return n.attr.Mtime
	}
	return mtime
}

// refresh takes over what a lookup found for a node that is known. It reports false if
// that is another file: of another type, or another version while this one is open, whose
// readers go on with the version they opened.
func (n *fileNode) refresh(obj backend.Object) bool {
	if _, named := n.ref(); !named {
		return false
	}
	attr := n.fs.decodeFile(obj)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case attr.Mode&syscall.S_IFMT != n.attr.Mode&syscall.S_IFMT:
		return false
	case n.file != nil || n.dirty:
		return true
	case obj.ETag != n.obj.ETag && n.handles > 0:
		return false
	}
	n.obj, n.attr = obj, attr
	return true
}

// stored takes over the version that the queue has just sent.
func (n *fileNode) stored(obj backend.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.obj = obj
}

// Getattr asks the store again when what is known of a closed file is too old.
func (n *fileNode) Getattr(ctx context.Context, fh fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if err := n.revalidate(ctx); err != nil {
		ref, _ := n.ref()
		return n.fs.errno("getattr", ref, err)
	}
	n.fs.fillAttr(n.attrs(), n.ino, out)
	return 0
}

func (n *fileNode) revalidate(ctx context.Context) error {
	n.mu.Lock()
	local := n.handles > 0 || n.file != nil || n.dirty
	n.mu.Unlock()
	ref, named := n.ref()
	if local || !named {
		return nil
	}
	store, err := n.fs.stores.open(ctx, ref.Bucket)
	if err != nil {
		return err
	}
	obj, err := n.fs.glance(ctx, store, ref)
	switch {
	case isNotExist(err) && n.movedFrom(ref):
		return n.revalidate(ctx)
	case err != nil:
		return err
	}
	if !n.refresh(obj) {
		return syscall.ESTALE // another type of file now: the kernel looks the name up again
	}
	return nil
}

// Setattr truncates, and changes attributes. Where the content is local the change waits
// with it; a file in the store is copied onto itself with new metadata when the change has
// settled.
func (n *fileNode) Setattr(ctx context.Context, fh fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	ref, _ := n.ref()
	if size, ok := in.GetSize(); ok {
		if err := n.truncate(ctx, int64(size)); err != nil {
			return n.fs.errno("truncate", ref, err)
		}
	}
	if kill := killsPriv(in); changesAttr(in) || kill && n.privileged() {
		uid, gid := caller(ctx)
		err := n.setAttr(ctx, func(a *fileAttr) {
			applyAttr(a, in)
			if kill {
				a.dropPriv(uid, gid)
			}
		})
		if err != nil {
			return n.fs.errno("setattr", ref, err)
		}
	}
	n.fs.fillAttr(n.attrs(), n.ino, out)
	return 0
}

// changesAttr reports whether in asks for more than a size. chown(-1, -1) names nothing at
// all, and changes the ctime.
func changesAttr(in *fuse.SetAttrIn) bool {
	const any = fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID | fuse.FATTR_ATIME | fuse.FATTR_MTIME | fuse.FATTR_ATIME_NOW | fuse.FATTR_MTIME_NOW | fuse.FATTR_CTIME
	return in.Valid&any != 0 || namesNothing(in)
}

func namesNothing(in *fuse.SetAttrIn) bool {
	return in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) == 0
}

// applyAttr changes what in names but the size.
func applyAttr(a *fileAttr, in *fuse.SetAttrIn) {
	a.Ctime = time.Now()
	if mode, ok := in.GetMode(); ok {
		a.Mode = a.Mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := in.GetUID(); ok {
		a.UID = uid
	}
	if gid, ok := in.GetGID(); ok {
		a.GID = gid
	}
	if t, ok := in.GetMTime(); ok {
		a.Mtime = t
	}
	if t, ok := in.GetATime(); ok {
		a.Atime = t
	}
}

// setAttr changes attributes by fn. A file that is open for writing tells them with its
// next Flush.
func (n *fileNode) setAttr(ctx context.Context, fn func(*fileAttr)) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	n.mu.Lock()
	later := n.writers > 0
	n.mu.Unlock()
	ref, named := n.ref()
	if later || !named {
		if done, err := n.setLater(fn); done || err != nil || !named {
			return err
		}
	}
	store, err := n.fs.stores.open(ctx, ref.Bucket)
	if err != nil {
		return err
	}
	obj, err := n.fs.object(ctx, store, ref)
	if err != nil {
		return err
	}
	n.refresh(obj)
	attrs, err := n.applyLocal(fn, obj.Attrs)
	if err != nil {
		return err
	}
	if err := n.fs.queue.SetAttrs(ref, obj, attrs); err != nil {
		return err
	}
	n.mu.Lock()
	n.obj.Attrs, n.dirty = attrs, false
	n.mu.Unlock()
	return nil
}

// setLater changes attributes that a writer's Flush will commit along with its bytes. Without
// any the Flush may be over (the kernel tells of the end of a writer some time after close),
// so then they are committed now. It is not done if the writer has gone meanwhile, and his file
// with him: nobody would commit them.
func (n *fileNode) setLater(fn func(*fileAttr)) (done bool, err error) {
	n.mu.Lock()
	old := n.obj.Attrs
	n.mu.Unlock()
	if _, err := n.applyLocal(fn, old); err != nil {
		return false, err
	}
	n.mu.Lock()
	n.dirty = true
	file := n.file
	n.mu.Unlock()
	if file == nil {
		return false, nil
	}
	if _, _, changed := file.Stat(); !changed {
		if err := n.commit(); err != nil {
			return false, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.file != nil || !n.dirty, nil
}

// applyLocal changes the attributes in memory and returns them encoded over old, or E2BIG if
// no object could hold them.
func (n *fileNode) applyLocal(fn func(*fileAttr), old backend.Attrs) (backend.Attrs, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	attr := n.attr
	attr.Mtime = n.mtimeLocked()
	before := attr.Mtime
	fn(&attr)
	attrs := attr.encode(old)
	if metaSize(attrs) > maxMeta {
		return attrs, syscall.E2BIG
	}
	n.attr = attr
	if n.file != nil && !attr.Mtime.Equal(before) {
		_, n.mtimeSeen, _ = n.file.Stat()
		n.mtimeSet = true
	}
	return attrs, nil
}

// truncate sets the size, through a descriptor or by name alike. Without a writer to
// follow it is committed at once.
func (n *fileNode) truncate(ctx context.Context, size int64) error {
	by := callerOf(ctx, 0)
	if size != 0 {
		if err := n.awaitBytes(ctx, by); err != nil {
			return err
		}
	}
	file, err := n.openWrite(ctx, size == 0, by)
	if err != nil {
		return err
	}
	err = file.Truncate(ctx, size)
	n.mu.Lock()
	alone := n.writers == 1
	n.mu.Unlock()
	if err == nil && alone {
		err = n.commit()
	}
	return cmpErr(err, n.closeWrite(file))
}
