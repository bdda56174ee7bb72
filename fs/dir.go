package fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/thawfs/thawfs/backend"
)

// A dirNode is a directory: the top of a bucket, a key prefix, or both at once with the
// marker object "prefix/" that keeps attributes and lets it be empty.
type dirNode struct {
	node
	top backend.Ref // of the top of a bucket: what all keys below begin with

	looked atomic.Bool // a name was looked up in here; of the top of a bucket

	mu    sync.Mutex
	obj   backend.Object // the marker; ETag is empty without one. Guarded by mu
	attr  fileAttr       // guarded by mu
	moved time.Time      // last change of names in here on this mount. Guarded by mu
}

var (
	_ fusefs.NodeLookuper       = (*dirNode)(nil)
	_ fusefs.NodeOpendirHandler = (*dirNode)(nil)
	_ fusefs.NodeCreater        = (*dirNode)(nil)
	_ fusefs.NodeMkdirer        = (*dirNode)(nil)
	_ fusefs.NodeMknoder        = (*dirNode)(nil)
	_ fusefs.NodeSymlinker      = (*dirNode)(nil)
	_ fusefs.NodeLinker         = (*dirNode)(nil)
	_ fusefs.NodeUnlinker       = (*dirNode)(nil)
	_ fusefs.NodeRmdirer        = (*dirNode)(nil)
	_ fusefs.NodeRenamer        = (*dirNode)(nil)
	_ fusefs.NodeGetattrer      = (*dirNode)(nil)
	_ fusefs.NodeSetattrer      = (*dirNode)(nil)
	_ fusefs.NodeFsyncer        = (*dirNode)(nil)
	_ fusefs.NodeStatfser       = (*dirNode)(nil)
	_ fusefs.NodeOnForgetter    = (*dirNode)(nil)
)

// topDir is the directory of all keys of a bucket that begin with prefix.
func (f *FS) topDir(bucket, prefix string) *dirNode {
	top := backend.Ref{Bucket: bucket, Key: prefix}
	d := &dirNode{top: top, obj: backend.Object{Key: prefix}}
	d.fs = f
	d.attr = f.decode(backend.Object{Key: "/", ModTime: f.born})
	return d
}

func (f *FS) newDir(parent *dirNode, comp string, obj backend.Object) *dirNode {
	d := &dirNode{}
	d.fs, d.parent, d.comp = f, parent, comp
	d.set(obj)
	return d
}

// set takes over what the store says of the marker.
func (d *dirNode) set(obj backend.Object) {
	if obj.ModTime.IsZero() {
		obj.ModTime = d.fs.born
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.obj = obj
	d.attr = d.fs.decode(obj)
	if d.moved.After(d.attr.Mtime) {
		d.attr.Mtime = d.moved
	}
}

// ref is what the keys in d begin with; ok is false once d is removed.
func (d *dirNode) ref() (ref backend.Ref, ok bool) {
	d.fs.tree.RLock()
	defer d.fs.tree.RUnlock()
	return d.refLocked()
}

func (d *dirNode) refLocked() (ref backend.Ref, ok bool) {
	if d.deleted {
		return backend.Ref{}, false
	}
	if d.parent == nil {
		return d.top, true
	}
	ref, ok = d.parent.refLocked()
	ref.Key += d.comp + "/"
	return ref, ok
}

// movedFrom reports whether d is elsewhere by now, and where: what was looked for at the old
// place is to be looked for again.
func (d *dirNode) movedFrom(at *backend.Ref) bool {
	now, ok := d.ref()
	moved := ok && now != *at
	*at = now
	return moved
}

func (d *dirNode) attrs() attrOf {
	d.fs.tree.RLock()
	deleted := d.deleted
	d.fs.tree.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return attrOf{fileAttr: d.attr, size: 4096, unlink: deleted}
}

// touch says that a name in d came or went.
func (d *dirNode) touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved = time.Now()
	d.attr.Mtime, d.attr.Ctime = d.moved, d.moved
}

func (d *dirNode) store(ctx context.Context) (backend.Store, backend.Ref, error) {
	at, ok := d.ref()
	if !ok {
		return nil, at, backend.ErrNotExist
	}
	s, err := d.fs.stores.open(ctx, at.Bucket)
	return s, at, err
}

// Lookup finds a name, and the node that is already known for it.
func (d *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	at, _ := d.ref()
	d.fs.swaps.wait(ctx, backend.Ref{Bucket: at.Bucket, Key: at.Key + name})
	fd, err := d.resolve(ctx, name)
	for isNotExist(err) && d.movedFrom(&at) {
		fd, err = d.resolve(ctx, name)
	}
	if err != nil {
		at.Key += name
		return nil, d.fs.errno("lookup", at, err)
	}
	return d.child(ctx, name, fd, out), 0
}

// child returns the node of what was found, the known one if it is still that.
func (d *dirNode) child(ctx context.Context, name string, fd found, out *fuse.EntryOut) *fusefs.Inode {
	known := d.GetChild(name)
	if fd.dir {
		if known != nil {
			if c, ok := known.Operations().(*dirNode); ok && c.component() == fd.comp {
				c.set(fd.obj)
				d.fs.fillEntry(c.attrs(), c.ino, out)
				return known
			}
		}
		return d.addDir(ctx, d.fs.newDir(d, fd.comp, fd.obj), out)
	}
	if known != nil {
		if c, ok := known.Operations().(*fileNode); ok && c.refresh(fd.obj) {
			d.fs.fillEntry(c.attrs(), c.ino, out)
			return known
		}
	}
	return d.addFile(ctx, d.fs.newFile(d, fd.comp, fd.obj), out)
}

func (d *dirNode) addDir(ctx context.Context, c *dirNode, out *fuse.EntryOut) *fusefs.Inode {
	ref, _ := c.ref()
	c.ino = d.fs.inos.take(ref)
	d.fs.fillEntry(c.attrs(), c.ino, out)
	return d.NewInode(ctx, c, fusefs.StableAttr{Mode: syscall.S_IFDIR, Ino: c.ino})
}

func (d *dirNode) addFile(ctx context.Context, c *fileNode, out *fuse.EntryOut) *fusefs.Inode {
	ref, _ := c.ref()
	c.ino = d.fs.inos.take(ref)
	a := c.attrs()
	d.fs.fillEntry(a, c.ino, out)
	return d.NewInode(ctx, c, fusefs.StableAttr{Mode: a.Mode & syscall.S_IFMT, Ino: c.ino})
}

// newAttr is what something made in d by the caller begins with. In a setgid directory
// the group comes from the directory, and the bit is handed on to directories.
func (d *dirNode) newAttr(ctx context.Context, mode uint32) fileAttr {
	uid, gid := caller(ctx)
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.attr.Mode&syscall.S_ISGID != 0 {
		gid = d.attr.GID
		if mode&syscall.S_IFMT == syscall.S_IFDIR {
			mode |= syscall.S_ISGID
		}
	}
	return fileAttr{Mode: mode, UID: uid, GID: gid, Mtime: now, Ctime: now, Atime: now}
}

// Mkdir stores the marker at once and only if there is none, so that of two mounts that
// make one directory (a lock of borg's, say) one fails with EEXIST wherever the store can
// tell. While the store is away the marker waits in the queue.
func (d *dirNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	ref, comp, err := d.newKey(name, true)
	if err != nil {
		return nil, d.fs.errno("mkdir", ref, err)
	}
	ref.Key += "/"
	attr := d.newAttr(ctx, syscall.S_IFDIR|mode&0o7777)
	obj, err := d.fs.makeDir(ctx, ref, attr.encode(backend.Attrs{}))
	if err != nil {
		return nil, d.fs.errno("mkdir", ref, err)
	}
	d.touch()
	c := d.fs.newDir(d, comp, obj)
	return d.addDir(ctx, c, out), 0
}

func (f *FS) makeDir(ctx context.Context, ref backend.Ref, attrs backend.Attrs) (backend.Object, error) {
	attrs.Header = dirHeader()
	store, err := f.stores.open(ctx, ref.Bucket)
	if err != nil {
		return backend.Object{}, err
	}
	if f.gone(ref) {
		if err := f.queue.Wait(ctx, ref); err != nil {
			return backend.Object{}, err
		}
	}
	ctx, cancel := change(ctx)
	defer cancel()
	put := func(cond backend.Cond) (backend.Object, error) {
		body := io.NewSectionReader(bytes.NewReader(nil), 0, 0)
		return store.Put(ctx, ref.Key, body, backend.PutOptions{Attrs: attrs, Cond: cond})
	}
	obj, err := put(backend.Cond{IfAbsent: true})
	if errors.Is(err, backend.ErrUnsupported) {
		if _, err = store.Head(ctx, ref.Key); err == nil {
			return obj, backend.ErrExist
		}
		obj, err = put(backend.Cond{})
	}
	switch {
	case err == nil:
		f.queue.Made(ref, obj)
		f.entries.Set(ref, obj)
		f.index.Stored(ref, obj)
	case errors.Is(err, backend.ErrChanged):
		f.entries.Drop(ref)
		return obj, backend.ErrExist
	case errors.Is(err, backend.ErrUnavailable):
		f.log.Info("store unavailable, directory waits in the queue", slog.String("key", ref.String()), slog.Any("err", err))
		obj = backend.Object{Key: ref.Key, ModTime: time.Now(), Attrs: attrs}
		return obj, f.queue.Put(ref, nil, attrs, backend.Object{})
	}
	return obj, err
}

// keep makes sure that d outlives the last thing in it: a directory that is only a key
// prefix gets a marker before something leaves it.
func (d *dirNode) keep(ctx context.Context) error {
	d.mu.Lock()
	bare, attr := d.obj.ETag == "", d.attr
	d.mu.Unlock()
	at, ok := d.ref()
	if !ok || !bare || at.Key == d.top.Key {
		return nil
	}
	store, err := d.fs.stores.open(ctx, at.Bucket)
	if err != nil {
		return err
	}
	obj, err := d.fs.marker(ctx, store, at)
	if err != nil {
		return err
	}
	if obj.ETag != "" || d.fs.queued(at) {
		d.mu.Lock()
		d.obj = obj
		d.mu.Unlock()
		return nil
	}
	return d.putMarker(ctx, at, attr)
}

// putMarker gives d the marker it may not have yet, with attr in any case.
func (d *dirNode) putMarker(ctx context.Context, at backend.Ref, attr fileAttr) error {
	store, err := d.fs.stores.open(ctx, at.Bucket)
	if err != nil {
		return err
	}
	obj, err := d.fs.object(ctx, store, at)
	switch {
	case isNotExist(err) || err == nil && obj.ETag == "" && !d.fs.queued(at):
		return d.fs.queue.Put(at, nil, attr.encode(backend.Attrs{Header: dirHeader()}), backend.Object{})
	case err != nil:
		return err
	}
	d.mu.Lock()
	d.obj = obj
	d.mu.Unlock()
	return d.fs.queue.SetAttrs(at, obj, attr.encode(obj.Attrs))
}

// dirHeader marks an object as a directory for s3fs and others.
func dirHeader() map[string]string {
	return map[string]string{"content-type": "application/x-directory"}
}

// Rmdir removes the marker of a directory in which the store, asked anew, shows nothing.
func (d *dirNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	fd, err := d.resolve(ctx, name)
	store, at, serr := d.store(ctx)
	ref := backend.Ref{Bucket: at.Bucket, Key: at.Key + fd.comp + "/"}
	switch err = cmpErr(err, serr); {
	case err != nil:
		return d.fs.errno("rmdir", ref, err)
	case !fd.dir:
		return syscall.ENOTDIR
	}
	index, empty, err := d.fs.empty(ctx, store, ref)
	if err == nil && !empty {
		return syscall.ENOTEMPTY
	}
	if err == nil {
		err = d.keep(ctx)
	}
	if err == nil {
		err = d.fs.dropIndex(ref, index)
	}
	if err == nil {
		err = d.fs.queue.Delete(ref, fd.obj)
	}
	if err != nil {
		return d.fs.errno("rmdir", ref, err)
	}
	d.dropChild(name)
	d.touch()
	return 0
}

// Unlink removes a file. Who has it open keeps it: bytes that only the store has are
// fetched before they go.
func (d *dirNode) Unlink(ctx context.Context, name string) syscall.Errno {
	fd, err := d.resolve(ctx, name)
	at, _ := d.ref()
	ref := backend.Ref{Bucket: at.Bucket, Key: at.Key + fd.comp}
	switch {
	case err != nil:
		return d.fs.errno("unlink", ref, err)
	case fd.dir:
		return syscall.EISDIR
	}
	if n := d.openChild(name); n != nil {
		if err := n.detach(ctx); err != nil {
			return d.fs.errno("unlink", ref, err)
		}
	}
	if err = d.keep(ctx); err == nil {
		err = d.fs.queue.Delete(ref, fd.obj)
	}
	if err != nil {
		return d.fs.errno("unlink", ref, err)
	}
	d.dropChild(name)
	d.touch()
	return 0
}

// openChild is the file node that the kernel knows by name in d, if there is one.
func (d *dirNode) openChild(name string) *fileNode {
	if c := d.GetChild(name); c != nil {
		n, _ := c.Operations().(*fileNode)
		return n
	}
	return nil
}

// dropChild marks the known node of name as one without a name.
func (d *dirNode) dropChild(name string) {
	d.fs.tree.Lock()
	n := d.unnameLocked(name)
	d.fs.tree.Unlock()
	n.unnamed()
}

// unnameLocked takes the name from the node that is known by it, and returns that if it is a
// file; fs.tree is held for writing.
func (d *dirNode) unnameLocked(name string) *fileNode {
	c := d.GetChild(name)
	if c == nil {
		return nil
	}
	switch n := c.Operations().(type) {
	case *fileNode:
		n.dropLiveLocked()
		n.deleted = true
		return n
	case *dirNode:
		n.deleted = true
	}
	return nil
}

// unnamed moves the ctime of a file, if any, that has lost its name.
func (n *fileNode) unnamed() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attr.Ctime = time.Now()
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Link is refused in the words that programs understand: there are no hard links here.
func (d *dirNode) Link(ctx context.Context, target fusefs.InodeEmbedder, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Fsync waits until the store has every change below d that was pending when it began.
func (d *dirNode) Fsync(ctx context.Context, fh fusefs.FileHandle, flags uint32) syscall.Errno {
	at, ok := d.ref()
	if !ok {
		return 0
	}
	return d.fs.errno("fsync", at, d.fs.queue.WaitBelow(ctx, at.Bucket, at.Key))
}

func (d *dirNode) Getattr(ctx context.Context, fh fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.fs.fillAttr(d.attrs(), d.ino, out)
	return 0
}

// Setattr changes the marker.
func (d *dirNode) Setattr(ctx context.Context, fh fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if err := d.setAttr(ctx, func(a *fileAttr) { applyAttr(a, in) }); err != nil {
		at, _ := d.ref()
		return d.fs.errno("setattr", at, err)
	}
	d.fs.fillAttr(d.attrs(), d.ino, out)
	return 0
}

// setAttr changes attributes by fn, and the marker that keeps them; a directory without one
// gets it. The top of a bucket has no marker: its attributes last as long as the mount.
func (d *dirNode) setAttr(ctx context.Context, fn func(*fileAttr)) error {
	at, ok := d.ref()
	d.mu.Lock()
	before := d.attr
	fn(&d.attr)
	attr := d.attr
	if metaSize(attr.encode(d.obj.Attrs)) > maxMeta {
		d.attr = before
		d.mu.Unlock()
		return syscall.E2BIG
	}
	d.moved = time.Time{}
	d.mu.Unlock()
	if !ok || at.Key == d.top.Key {
		return nil
	}
	return d.putMarker(ctx, at, attr)
}
