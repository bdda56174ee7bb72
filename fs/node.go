package fs

import (
	"context"
	"log/slog"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/thawfs/thawfs/backend"
)

// node is what directories and files share: their place in the tree. A key is never kept;
// it is read off the way to the root, so a renamed directory renames all below it at once.
type node struct {
	fusefs.Inode
	fs  *FS
	ino uint64

	// Guarded by fs.tree.
	parent  *dirNode // nil for the top of a bucket, and once the node has no name
	comp    string   // component of the key below parent
	deleted bool     // unlinked, removed or renamed over; open handles go on
}

// component is the part of the key that the node stands for.
func (n *node) component() string {
	n.fs.tree.RLock()
	defer n.fs.tree.RUnlock()
	return n.comp
}

// attrOf is what attributes a node shows.
type attrOf struct {
	fileAttr
	size   int64
	stub   bool // the bytes are archived
	unlink bool // has no name any more
}

// blockSize is what st_blksize says: a size that cp and cat read with.
const blockSize = 128 << 10

// fill translates attributes for the kernel. An archived file reports one block however
// large it is: with none, GNU tar --sparse stores zeros without reading (COMPAT: tar, cp).
func (f *FS) fill(a attrOf, ino uint64, out *fuse.Attr) {
	out.Ino = ino
	out.Mode = a.Mode
	out.Uid, out.Gid = a.UID, a.GID
	out.Rdev = a.Rdev
	out.Size = uint64(a.size)
	out.Blksize = blockSize
	out.Blocks = uint64(a.size+511) / 512
	if a.stub {
		out.Blocks = min(out.Blocks, 1)
	}
	out.Nlink = 1
	if a.unlink {
		out.Nlink = 0
	}
	mtime, ctime, atime := a.Mtime, a.Ctime, a.Atime
	if ctime.IsZero() {
		ctime = mtime
	}
	if atime.IsZero() {
		atime = mtime
	}
	out.SetTimes(&atime, &mtime, &ctime)
}

func (f *FS) fillEntry(a attrOf, ino uint64, out *fuse.EntryOut) {
	f.fill(a, ino, &out.Attr)
	out.SetAttrTimeout(f.attrTimeout(a))
	out.SetEntryTimeout(f.o.TTL)
}

func (f *FS) fillAttr(a attrOf, ino uint64, out *fuse.AttrOut) {
	f.fill(a, ino, &out.Attr)
	out.SetTimeout(f.attrTimeout(a))
}

func (f *FS) attrTimeout(a attrOf) time.Duration {
	if a.stub {
		return min(f.o.TTL, stubTimeout)
	}
	return f.o.TTL
}

func (f *FS) decode(obj backend.Object) fileAttr {
	return decodeAttr(obj, defaults{UID: f.o.UID, GID: f.o.GID, FileMode: f.o.FileMode, DirMode: f.o.DirMode})
}

// decodeFile is decode for what is shown as a file: the data of a directory's own marker is
// one, with the rights of the directory.
func (f *FS) decodeFile(obj backend.Object) fileAttr {
	a := f.decode(obj)
	if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		a.Mode = syscall.S_IFREG | a.Mode&permBits
	}
	return a
}

// caller returns the user that a request comes from.
func caller(ctx context.Context) (uid, gid uint32) {
	if c, ok := fuse.FromContext(ctx); ok {
		return c.Uid, c.Gid
	}
	return 0, 0
}

// changeLimit bounds a change of the store that was begun: it goes on when the caller is
// interrupted, because half a change helps nobody.
const changeLimit = 5 * time.Minute

func change(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), changeLimit)
}

// OnForget gives the inode number back when the kernel has forgotten the node.
func (n *node) OnForget() { n.fs.inos.drop(n.ino) }

// Statfs tells the truth that matters to programs: names of 255 bytes, and room that ends
// where the local spool of unsent data does, since an object store has no size.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	const size = 1 << 50 // bytes; a petabyte stands for "as much as you pay for"
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, maxName
	out.Blocks, out.Bfree, out.Bavail = size/blockSize, size/blockSize, size/blockSize
	out.Files, out.Ffree = 1<<32, 1<<32
	return 0
}

func (n *node) warn(msg string, ref backend.Ref, err error) {
	n.fs.log.Warn(msg, slog.String("key", ref.String()), slog.Any("err", err))
}
