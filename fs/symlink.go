package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/thawfs/thawfs/backend"
)

// Symlink stores the target as the body of an object whose metadata say what it is, as
// s3fs does it.
func (d *dirNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	ref, comp, err := d.newKey(name, false)
	if err != nil {
		return nil, d.fs.errno("symlink", ref, err)
	}
	if _, once := d.fs.writeOnce(ref.Bucket); once {
		return nil, syscall.EPERM // to read its target would take hours
	}
	attr := d.newAttr(ctx, syscall.S_IFLNK|0o777)
	attrs := attr.encode(backend.Attrs{})
	if err := d.fs.queue.Put(ref, []byte(target), attrs, backend.Object{}); err != nil {
		return nil, d.fs.errno("symlink", ref, err)
	}
	d.touch()
	n := d.fs.newFile(d, comp, backend.Object{Key: ref.Key, Size: int64(len(target)), ModTime: attr.Mtime, Attrs: attrs})
	return d.addFile(ctx, n, out), 0
}

// Readlink reads the target from the metadata or, in the s3fs dialect, the body. Of an archived
// link it begins no retrieval: ls -l and find read links.
func (n *fileNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	n.mu.Lock()
	target := n.attr.Target
	n.mu.Unlock()
	if target != "" {
		return []byte(target), 0
	}
	ref, _ := n.ref()
	if err := n.openRead(ctx, callerOf(ctx, syscall.O_NONBLOCK)); err != nil {
		return nil, n.fs.errno("readlink", ref, err)
	}
	body := make([]byte, maxSpecial)
	m, err := n.readAt(ctx, body, 0)
	if err := cmpErr(err, n.closeRead()); err != nil {
		return nil, n.fs.errno("readlink", ref, err)
	}
	return body[:m], 0
}
