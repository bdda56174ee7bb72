package fs

import (
	"context"
	"log/slog"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/thawfs/thawfs/backend"
)

// The flags of renameat2(2) that are understood. A whiteout is of use to stacked file systems
// alone, which an object store cannot carry.
const (
	renameNoReplace = 1
	renameExchange  = 2
)

// Rename moves a file or a directory with all below it within a bucket. Between buckets
// it answers EXDEV, on which mv copies.
func (d *dirNode) Rename(ctx context.Context, name string, newParent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*dirNode)
	if !ok {
		return syscall.EPERM // the root of all buckets
	}
	if flags&^uint32(renameNoReplace|renameExchange) != 0 || flags == renameNoReplace|renameExchange {
		return syscall.EINVAL
	}
	r, err := d.plan(ctx, name, to, newName)
	if err != nil {
		return d.fs.errno("rename", r.from, err)
	}
	if flags&renameExchange != 0 {
		err = r.exchange(ctx)
	} else {
		if errno := r.check(ctx, flags); errno != 0 {
			return errno
		}
		if r.from == r.to {
			return 0
		}
		err = r.replace(ctx)
	}
	if err != nil {
		errno := d.fs.errno("rename", r.from, err)
		if errno == syscall.ENOTSUP {
			return syscall.EXDEV
		}
		return errno
	}
	d.touch()
	to.touch()
	return 0
}

// A renaming is one rename in progress.
type renaming struct {
	fs             *FS
	oldDir, newDir *dirNode
	oldName        string
	newName        string
	newComp        string
	src, dst       found
	replaces       bool        // dst exists
	from, to       backend.Ref // of directories with a "/" at the end

	swaps bool          // a step of an exchange: no name is replaced, and
	child *fusefs.Inode // is the node that moves, nil if none is known

	// What moveLocked found, guarded by fs.tree until the queue returns.
	moved    bool
	open     []*fileNode // whose content has another name now
	replaced *fileNode   // has no name any more
}

// node is that of what is renamed, nil if the kernel does not know it.
func (r *renaming) node() *fusefs.Inode {
	if r.swaps {
		return r.child
	}
	return r.oldDir.GetChild(r.oldName)
}

func (d *dirNode) plan(ctx context.Context, name string, to *dirNode, newName string) (*renaming, error) {
	r := &renaming{fs: d.fs, oldDir: d, newDir: to, oldName: name, newName: newName}
	var err error
	if r.src, err = d.resolve(ctx, name); err != nil {
		return r, err
	}
	at, ok := d.ref()
	if !ok {
		return r, backend.ErrNotExist
	}
	r.from = backend.Ref{Bucket: at.Bucket, Key: at.Key + r.src.comp}
	if r.to, r.newComp, err = to.newKey(newName, r.src.dir); err != nil {
		return r, err
	}
	if r.src.dir {
		r.from.Key += "/"
		r.to.Key += "/"
	}
	if r.from.Bucket != r.to.Bucket {
		return r, syscall.EXDEV
	}
	r.dst, err = to.resolve(ctx, newName)
	r.replaces = err == nil
	if isNotExist(err) {
		err = nil
	}
	return r, err
}

// check refuses what rename(2) refuses.
func (r *renaming) check(ctx context.Context, flags uint32) syscall.Errno {
	switch {
	case !r.replaces:
	case flags&renameNoReplace != 0:
		return syscall.EEXIST
	case r.src.dir && !r.dst.dir:
		return syscall.ENOTDIR
	case !r.src.dir && r.dst.dir:
		return syscall.EISDIR
	}
	if r.src.dir && r.from != r.to && strings.HasPrefix(r.to.Key, r.from.Key) {
		return syscall.EINVAL
	}
	return 0
}

// replace is the plain rename.
func (r *renaming) replace(ctx context.Context) error {
	r.stamp(ctx)
	if r.src.dir {
		return r.dir(ctx)
	}
	return r.file(ctx)
}

// stamp moves the ctime of what is renamed. The change waits in the queue, so the copy carries
// it; one that fails is not worth the rename.
func (r *renaming) stamp(ctx context.Context) {
	now := func(a *fileAttr) { a.Ctime = time.Now() }
	c := r.oldDir.GetChild(r.oldName)
	if c == nil || !r.src.obj.State.Readable() {
		return
	}
	var err error
	switch n := c.Operations().(type) {
	case *fileNode:
		err = n.setAttr(ctx, now)
	case *dirNode:
		if r.src.obj.ETag != "" || r.fs.queued(r.from) {
			err = n.setAttr(ctx, now)
		}
	}
	if err != nil {
		r.fs.log.Debug("no new ctime", slog.String("key", r.from.String()), slog.Any("err", err))
	}
}

// file renames one object. What it replaces stays readable for those who have it open.
func (r *renaming) file(ctx context.Context) error {
	if n := r.newDir.openChild(r.newName); n != nil && r.replaces {
		if err := n.detach(ctx); err != nil {
			return err
		}
	}
	if err := r.readable(ctx); err != nil {
		return err
	}
	if err := r.oldDir.keep(ctx); err != nil {
		return err
	}
	ctx, cancel := change(ctx)
	defer cancel()
	defer r.carry()()
	defer r.expect()()
	err := r.fs.queue.Rename(ctx, r.from, r.to, r.src.obj)
	if isNotExist(err) && r.src.obj.ETag == "" { // it was pending when plan looked, and has been sent since
		if r.src, err = r.oldDir.resolve(ctx, r.oldName); err == nil {
			err = r.fs.queue.Rename(ctx, r.from, r.to, r.src.obj)
		}
	}
	if err != nil {
		return err
	}
	r.reopen(ctx)
	return nil
}

// readable asks anew about an object that cannot be copied as far as is known.
func (r *renaming) readable(ctx context.Context) error {
	if r.src.obj.State.Readable() || r.src.obj.ETag == "" {
		return nil
	}
	store, err := r.fs.stores.open(ctx, r.from.Bucket)
	if err == nil {
		r.src.obj, err = r.fs.anew(ctx, store, r.from)
	}
	return err
}

// dir renames everything below a directory; the new place must be empty.
func (r *renaming) dir(ctx context.Context) error {
	if r.replaces {
		if err := r.clearTarget(ctx); err != nil {
			return err
		}
	}
	if err := r.oldDir.keep(ctx); err != nil {
		return err
	}
	defer r.carry()()
	defer r.expect()()
	r.fs.index.Discard(r.from)
	ctx = context.WithoutCancel(ctx) // the queue bounds each request; a large tree takes its time
	if err := r.fs.queue.RenameTree(ctx, r.from.Bucket, r.from.Key, r.to.Key); err != nil {
		return err
	}
	r.fs.entries.DropDir(r.from)
	r.fs.entries.DropDir(r.to)
	r.reopen(ctx)
	return nil
}

// clearTarget removes the empty directory that is renamed over.
func (r *renaming) clearTarget(ctx context.Context) error {
	store, err := r.fs.stores.open(ctx, r.to.Bucket)
	if err != nil {
		return err
	}
	index, empty, err := r.fs.empty(ctx, store, r.to)
	switch {
	case err != nil:
		return err
	case !empty:
		return backend.ErrNotEmpty
	}
	if err := r.fs.queue.Movable(ctx, r.from.Bucket, r.from.Key); err != nil {
		return err // before anything is changed
	}
	if err := r.fs.dropIndex(r.to, index); err != nil {
		return err
	}
	if r.dst.obj.ETag != "" || r.fs.queued(r.to) {
		if err := r.fs.queue.Delete(r.to, r.dst.obj); err != nil {
			return err
		}
	}
	return r.fs.queue.WaitBelow(ctx, r.to.Bucket, r.to.Key)
}

// carry keeps the files that the kernel reads by itself over the rename: see fileNode.carry.
func (r *renaming) carry() (putBack func()) {
	paths := map[*fileNode]string{}
	r.fs.tree.RLock()
	open := r.openLocked()
	r.fs.tree.RUnlock()
	for _, n := range open {
		if path := n.carry(); path != "" {
			paths[n] = path
		}
	}
	return func() {
		for n, path := range paths {
			n.putBack(path)
		}
	}
}

// openLocked are the open files at or below r.from; fs.tree is held.
func (r *renaming) openLocked() []*fileNode {
	var open []*fileNode
	for ref, n := range r.fs.live {
		if ref == r.from || r.src.dir && strings.HasPrefix(ref.Key, r.from.Key) && ref.Bucket == r.from.Bucket {
			open = append(open, n)
		}
	}
	return open
}

// expect has the nodes take their new place in the moment in which the queue renames, so that
// nobody finds them between the two names.
func (r *renaming) expect() (over func()) {
	f := r.fs
	f.tree.Lock()
	defer f.tree.Unlock()
	from := r.from
	f.moving[from] = r
	return func() {
		f.tree.Lock()
		defer f.tree.Unlock()
		delete(f.moving, from)
	}
}

// renamed is told by the queue, whose lock is held.
func (f *FS) renamed(from, to backend.Ref) {
	f.tree.Lock()
	defer f.tree.Unlock()
	if r := f.moving[from]; r != nil && r.to == to {
		r.moveLocked()
	}
}

// moveLocked gives the nodes their new place; fs.tree is held for writing. go-fuse moves its
// own inodes when Rename returns.
func (r *renaming) moveLocked() {
	r.moved = true
	if !r.swaps {
		r.replaced = r.newDir.unnameLocked(r.newName)
	}
	r.open = r.openLocked()
	for _, n := range r.open {
		n.dropLiveLocked()
	}
	if c := r.node(); c != nil {
		switch n := c.Operations().(type) {
		case *fileNode:
			n.parent, n.comp = r.newDir, r.newComp
		case *dirNode:
			n.parent, n.comp = r.newDir, r.newComp
		}
	}
	for _, n := range r.open {
		if ref, ok := n.refLocked(); ok {
			r.fs.live[ref] = n
		}
	}
}

// reopen ends a rename that the queue has done.
func (r *renaming) reopen(ctx context.Context) {
	r.fs.tree.Lock()
	if !r.moved {
		r.moveLocked()
	}
	open, replaced := r.open, r.replaced
	r.fs.tree.Unlock()
	replaced.unnamed()
	for _, n := range open {
		n.moved(ctx)
	}
}
