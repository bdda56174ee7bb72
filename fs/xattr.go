package fs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Names below thawfsPrefix tell of the object behind a file. They can be read but are not
// listed: cp -a and rsync -X would copy them, and a copy back would set them.
const thawfsPrefix = "user.thawfs."

// virtualXattr is the value of one of them; ok is false if there is no such name.
func virtualXattr(name string, obj backend.Object) (value string, ok bool) {
	switch strings.TrimPrefix(name, thawfsPrefix) {
	case "state":
		return obj.State.String(), true
	case "class":
		return obj.Class, obj.Class != ""
	case "etag":
		return obj.ETag, obj.ETag != ""
	case "until":
		return obj.Until.UTC().Format(time.RFC3339), !obj.Until.IsZero()
	}
	return "", false
}

// xattrErrno refuses the kinds of names that no object can keep. The kernel asks for
// capabilities and ACLs often; "not supported" makes cp and rsync use chmod instead.
func xattrErrno(name string) syscall.Errno {
	if !strings.HasPrefix(name, "user.") {
		return syscall.EOPNOTSUPP
	}
	return 0
}

func (n *fileNode) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if errno := xattrErrno(name); errno != 0 {
		return 0, errno
	}
	if strings.HasPrefix(name, thawfsPrefix) {
		return n.virtual(ctx, name, dest)
	}
	n.mu.Lock()
	value, ok := n.attr.Xattrs[name]
	n.mu.Unlock()
	if !ok {
		return 0, syscall.ENODATA
	}
	return reply(value, dest)
}

// virtual answers for the names that tell of the object.
func (n *fileNode) virtual(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	store, ref, err := n.store(ctx)
	if err != nil {
		return 0, n.fs.errno("getxattr", ref, err)
	}
	obj, err := n.fs.object(ctx, store, ref)
	if err != nil {
		return 0, n.fs.errno("getxattr", ref, err)
	}
	value, ok := virtualXattr(name, obj)
	if !ok {
		return 0, syscall.ENODATA
	}
	return reply([]byte(value), dest)
}

// reply copies value into dest; an empty dest asks for its size.
func reply(value, dest []byte) (uint32, syscall.Errno) {
	if len(dest) == 0 {
		return uint32(len(value)), 0
	}
	if len(value) > len(dest) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

func (n *fileNode) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	n.mu.Lock()
	names := slices.Sorted(maps.Keys(n.attr.Xattrs))
	n.mu.Unlock()
	var list []byte
	for _, name := range names {
		if xattrErrno(name) == 0 {
			list = append(append(list, name...), 0)
		}
	}
	return reply(list, dest)
}

const (
	xattrCreate  = 1 // XATTR_CREATE of setxattr(2)
	xattrReplace = 2 // XATTR_REPLACE
)

func (n *fileNode) Setxattr(ctx context.Context, name string, data []byte, flags uint32) syscall.Errno {
	if errno := xattrErrno(name); errno != 0 {
		return errno
	}
	if strings.HasPrefix(name, thawfsPrefix) {
		return syscall.EPERM
	}
	n.mu.Lock()
	_, exists := n.attr.Xattrs[name]
	n.mu.Unlock()
	switch {
	case exists && flags&xattrCreate != 0:
		return syscall.EEXIST
	case !exists && flags&xattrReplace != 0:
		return syscall.ENODATA
	}
	value := slices.Clone(data)
	return n.changeXattrs(ctx, func(x map[string][]byte) { x[name] = value })
}

func (n *fileNode) Removexattr(ctx context.Context, name string) syscall.Errno {
	if errno := xattrErrno(name); errno != 0 {
		return errno
	}
	n.mu.Lock()
	_, exists := n.attr.Xattrs[name]
	n.mu.Unlock()
	if !exists {
		return syscall.ENODATA
	}
	return n.changeXattrs(ctx, func(x map[string][]byte) { delete(x, name) })
}

func (n *fileNode) changeXattrs(ctx context.Context, fn func(map[string][]byte)) syscall.Errno {
	err := n.setAttr(ctx, func(a *fileAttr) {
		x := maps.Clone(a.Xattrs)
		if x == nil {
			x = map[string][]byte{}
		}
		fn(x)
		a.Xattrs, a.Ctime = x, time.Now()
	})
	if err == nil {
		return 0
	}
	ref, _ := n.ref()
	return n.fs.errno("setxattr", ref, err)
}
