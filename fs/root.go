package fs

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/thawfs/thawfs/backend"
)

// A rootNode shows the buckets of an account as directories.
type rootNode struct {
	node

	mu   sync.Mutex
	attr fileAttr // guarded by mu; lasts as long as the mount
}

var (
	_ fusefs.NodeLookuper  = (*rootNode)(nil)
	_ fusefs.NodeReaddirer = (*rootNode)(nil)
	_ fusefs.NodeMkdirer   = (*rootNode)(nil)
	_ fusefs.NodeRmdirer   = (*rootNode)(nil)
	_ fusefs.NodeCreater   = (*rootNode)(nil)
	_ fusefs.NodeMknoder   = (*rootNode)(nil)
	_ fusefs.NodeSymlinker = (*rootNode)(nil)
	_ fusefs.NodeUnlinker  = (*rootNode)(nil)
	_ fusefs.NodeRenamer   = (*rootNode)(nil)
	_ fusefs.NodeGetattrer = (*rootNode)(nil)
	_ fusefs.NodeSetattrer = (*rootNode)(nil)
	_ fusefs.NodeFsyncer   = (*rootNode)(nil)
	_ fusefs.NodeStatfser  = (*rootNode)(nil)
)

// Root is the top of the tree, to be served once: a bucket's if Options name one, else that of
// all buckets.
func (f *FS) Root() fusefs.InodeEmbedder { return f.root }

func (f *FS) newRoot() fusefs.InodeEmbedder {
	if f.o.Bucket != "" {
		return f.topDir(f.o.Bucket, f.o.Prefix)
	}
	r := &rootNode{attr: f.decode(backend.Object{Key: "/", ModTime: f.born})}
	r.fs = f
	return r
}

func (r *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	known := r.GetChild(name)
	if known == nil {
		if _, err := r.fs.stores.open(ctx, name); err != nil {
			errno := r.fs.errno("lookup", backend.Ref{Bucket: name}, err)
			if errno == syscall.EINVAL { // no bucket can have that name
				errno = syscall.ENOENT
			}
			return nil, errno
		}
		return r.add(ctx, name, out), 0
	}
	d := known.Operations().(*dirNode)
	r.fs.fillEntry(d.attrs(), d.ino, out)
	return known, 0
}

func (r *rootNode) add(ctx context.Context, bucket string, out *fuse.EntryOut) *fusefs.Inode {
	d := r.fs.topDir(bucket, "")
	d.ino = r.fs.inos.take(d.top)
	r.fs.fillEntry(d.attrs(), d.ino, out)
	return r.NewInode(ctx, d, fusefs.StableAttr{Mode: syscall.S_IFDIR, Ino: d.ino})
}

func (r *rootNode) Readdir(ctx context.Context) (fusefs.DirStream, syscall.Errno) {
	var names []fuse.DirEntry
	for b, err := range r.fs.o.Service.Buckets(ctx) {
		if err != nil {
			return nil, r.fs.errno("list buckets", backend.Ref{}, err)
		}
		names = append(names, fuse.DirEntry{Name: b.Name, Mode: syscall.S_IFDIR, Ino: hashIno(backend.Ref{Bucket: b.Name})})
	}
	slices.SortFunc(names, func(a, b fuse.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return fusefs.NewListDirStream(names), 0
}

// Mkdir creates a bucket; the service's own rules for names apply.
func (r *rootNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	ctx, cancel := change(ctx)
	defer cancel()
	if err := r.fs.o.Service.CreateBucket(ctx, name); err != nil {
		return nil, r.fs.errno("create bucket", backend.Ref{Bucket: name}, err)
	}
	return r.add(ctx, name, out), 0
}

// Rmdir deletes an empty bucket; what waits to be changed in it is sent first.
func (r *rootNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	ref := backend.Ref{Bucket: name}
	store, err := r.fs.stores.open(ctx, name)
	if err != nil {
		return r.fs.errno("delete bucket", ref, err)
	}
	index, empty, err := r.fs.empty(ctx, store, ref)
	if err == nil && !empty {
		return syscall.ENOTEMPTY
	}
	if err == nil {
		err = r.fs.dropIndex(ref, index)
	}
	if err == nil {
		err = r.fs.queue.WaitBelow(ctx, name, "")
	}
	if err == nil {
		ctx, cancel := change(ctx)
		defer cancel()
		err = r.fs.o.Service.DeleteBucket(ctx, name)
	}
	if err != nil {
		return r.fs.errno("delete bucket", ref, err)
	}
	r.fs.stores.forget(name)
	r.fs.entries.DropDir(ref)
	if c := r.GetChild(name); c != nil {
		r.fs.tree.Lock()
		c.Operations().(*dirNode).deleted = true
		r.fs.tree.Unlock()
	}
	return 0
}

// Only buckets can be here: everything else is refused.

func (r *rootNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EPERM
}

func (r *rootNode) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (r *rootNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (r *rootNode) Unlink(ctx context.Context, name string) syscall.Errno { return syscall.EISDIR }

func (r *rootNode) Rename(ctx context.Context, name string, newParent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return syscall.EPERM // a bucket cannot be renamed
}

func (r *rootNode) Fsync(ctx context.Context, fh fusefs.FileHandle, flags uint32) syscall.Errno {
	return 0
}

func (r *rootNode) attrs() attrOf {
	r.mu.Lock()
	defer r.mu.Unlock()
	return attrOf{fileAttr: r.attr, size: 4096}
}

func (r *rootNode) Getattr(ctx context.Context, fh fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	r.fs.fillAttr(r.attrs(), 1, out)
	return 0
}

func (r *rootNode) Setattr(ctx context.Context, fh fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	r.mu.Lock()
	applyAttr(&r.attr, in)
	r.mu.Unlock()
	return r.Getattr(ctx, fh, out)
}
