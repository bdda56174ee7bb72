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
	case "encoding":
		return obj.Header["content-encoding"], obj.Header["content-encoding"] != ""
	case "until":
		return obj.Until.UTC().Format(time.RFC3339), !obj.Until.IsZero()
	}
	return "", false
}

// xattrErrno refuses the kinds of names that no object can keep. The kernel asks for
// capabilities and ACLs often; "not supported" makes cp and rsync use chmod instead.
func xattrErrno(name string) syscall.Errno {
	switch short, ok := strings.CutPrefix(name, "user."); {
	case !ok:
		return syscall.EOPNOTSUPP
	case short == "":
		return syscall.EINVAL
	}
	return 0
}

// xattrNode is what has user xattrs: files, links, directories.
type xattrNode interface {
	// xattrs returns them; the map is not to be changed.
	xattrs() map[string][]byte
	// object finds what is behind the node now.
	object(ctx context.Context) (backend.Object, error)
	// jobXattr is what a virtual xattr says of the recall of the object.
	jobXattr(name string) (string, bool)
	// setVirtual carries out what is asked for by writing a virtual xattr.
	setVirtual(ctx context.Context, name, value string) error
	// setAttr changes attributes, in the queue or with a writer's next Flush.
	setAttr(ctx context.Context, fn func(*fileAttr)) error
}

func (n *fileNode) xattrs() map[string][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return withForeign(n.attr.Xattrs, n.obj.Meta)
}

// withForeign adds the metadata of other programs, which can be read as xattrs: own names
// stand before them.
func withForeign(own map[string][]byte, meta map[string]string) map[string][]byte {
	all := foreignXattrs(meta)
	maps.Copy(all, own)
	return all
}

func (n *fileNode) object(ctx context.Context) (backend.Object, error) {
	store, ref, err := n.store(ctx)
	if err != nil {
		return backend.Object{}, err
	}
	obj, err := n.fs.object(ctx, store, ref)
	if err == nil && (obj.State == backend.Unknown || n.fs.contradicted(ref, obj)) {
		return n.fs.anew(ctx, store, ref)
	}
	return obj, err
}

// again is object with the store asked now.
func (n *fileNode) again(ctx context.Context) (backend.Object, error) {
	store, ref, err := n.store(ctx)
	if err != nil {
		return backend.Object{}, err
	}
	return n.fs.anew(ctx, store, ref)
}

func (n *fileNode) jobXattr(name string) (string, bool) {
	ref, _ := n.ref()
	return n.fs.jobXattr(name, ref)
}

// setVirtual asks for a recall (restore), or moves the object to a storage class (class) by
// a copy onto itself.
func (n *fileNode) setVirtual(ctx context.Context, name, value string) error {
	switch name {
	case "restore":
		return n.requestRecall(ctx, value)
	case "class":
		return n.setClass(ctx, value)
	}
	return syscall.EPERM
}

func (d *dirNode) jobXattr(string) (string, bool) { return "", false }

func (d *dirNode) setVirtual(ctx context.Context, name, value string) error {
	t, ok, err := d.describer(ctx)
	if !ok {
		return syscall.EPERM
	}
	if err == nil {
		if err = t.SetFact(ctx, name, value); isNotExist(err) {
			err = syscall.EOPNOTSUPP
		}
	}
	return err
}

// describer is the store of d's bucket if d is its top and it tells of itself; its facts are
// xattrs there.
func (d *dirNode) describer(ctx context.Context) (t backend.Describer, ok bool, err error) {
	store, at, err := d.store(ctx)
	if err != nil {
		return nil, true, err
	}
	t, ok = store.(backend.Describer)
	return t, ok && at.Key == "", nil
}

// fact is the value of one of them.
func (d *dirNode) fact(ctx context.Context, name string) (value string, ok bool, err error) {
	t, tells, err := d.describer(ctx)
	if !tells || err != nil {
		return "", false, err
	}
	facts, err := t.Facts(ctx)
	value, ok = facts[name]
	return value, ok, err
}

func (d *dirNode) xattrs() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return withForeign(d.attr.Xattrs, d.obj.Meta)
}

func (d *dirNode) object(ctx context.Context) (backend.Object, error) {
	store, at, err := d.store(ctx)
	if err != nil || at.Key == d.top.Key {
		return backend.Object{}, err
	}
	return d.fs.marker(ctx, store, at)
}

func getxattr(ctx context.Context, n xattrNode, name string, dest []byte) (uint32, error) {
	if errno := xattrErrno(name); errno != 0 {
		return 0, errno
	}
	if strings.HasPrefix(name, thawfsPrefix) {
		obj, err := n.object(ctx)
		if err != nil {
			return 0, err
		}
		value, ok := virtualXattr(name, obj)
		if !ok {
			value, ok = n.jobXattr(strings.TrimPrefix(name, thawfsPrefix))
		}
		if !ok {
			if value, ok, err = inspect(ctx, n, strings.TrimPrefix(name, thawfsPrefix)); err != nil {
				return 0, err
			}
		}
		if !ok {
			return 0, syscall.ENODATA
		}
		return reply([]byte(value), dest)
	}
	value, ok := n.xattrs()[name]
	if !ok {
		return 0, syscall.ENODATA
	}
	return reply(value, dest)
}

// reply copies value into dest; an empty dest asks for its size.
func reply(value, dest []byte) (uint32, error) {
	if len(dest) == 0 {
		return uint32(len(value)), nil
	}
	if len(value) > len(dest) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), nil
}

func listxattr(n xattrNode, dest []byte) (uint32, error) {
	var list []byte
	for _, name := range slices.Sorted(maps.Keys(n.xattrs())) {
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

func setxattr(ctx context.Context, n xattrNode, name string, data []byte, flags uint32) error {
	if errno := xattrErrno(name); errno != 0 {
		return errno
	}
	if what, ok := strings.CutPrefix(name, thawfsPrefix); ok {
		return n.setVirtual(ctx, what, string(data))
	}
	_, exists := n.xattrs()[name]
	switch {
	case exists && flags&xattrCreate != 0:
		return syscall.EEXIST
	case !exists && flags&xattrReplace != 0:
		return syscall.ENODATA
	}
	value := slices.Clone(data)
	return changeXattrs(ctx, n, func(x map[string][]byte) { x[name] = value })
}

func removexattr(ctx context.Context, n xattrNode, name string) error {
	if errno := xattrErrno(name); errno != 0 {
		return errno
	}
	if _, exists := n.xattrs()[name]; !exists {
		return syscall.ENODATA
	}
	own := false
	err := changeXattrs(ctx, n, func(x map[string][]byte) {
		_, own = x[name]
		delete(x, name)
	})
	if err == nil && !own {
		return syscall.EPERM // metadata of another program
	}
	return err
}

func changeXattrs(ctx context.Context, n xattrNode, fn func(map[string][]byte)) error {
	return n.setAttr(ctx, func(a *fileAttr) {
		x := maps.Clone(a.Xattrs)
		if x == nil {
			x = map[string][]byte{}
		}
		fn(x)
		a.Xattrs, a.Ctime = x, time.Now()
	})
}

// whole asks for the metadata of a file that was shown as its listing tells (glance).
func (n *fileNode) whole(ctx context.Context, name string) error {
	n.mu.Lock()
	bare := n.obj.Meta == nil && n.obj.ETag != "" && n.file == nil
	n.mu.Unlock()
	if !bare || xattrErrno(name) != 0 || strings.HasPrefix(name, thawfsPrefix) {
		return nil
	}
	obj, err := n.object(ctx)
	if err == nil {
		n.refresh(obj)
	}
	return err
}

func (n *fileNode) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if err := n.whole(ctx, name); err != nil {
		return 0, n.xattrError(err)
	}
	size, err := getxattr(ctx, n, name, dest)
	return size, n.xattrError(err)
}

func (n *fileNode) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	size, err := listxattr(n, dest)
	return size, n.xattrError(err)
}

func (n *fileNode) Setxattr(ctx context.Context, name string, data []byte, flags uint32) syscall.Errno {
	if err := n.whole(ctx, name); err != nil {
		return n.xattrError(err)
	}
	return n.xattrError(setxattr(ctx, n, name, data, flags))
}

func (n *fileNode) Removexattr(ctx context.Context, name string) syscall.Errno {
	if err := n.whole(ctx, name); err != nil {
		return n.xattrError(err)
	}
	return n.xattrError(removexattr(ctx, n, name))
}

func (n *fileNode) xattrError(err error) syscall.Errno {
	ref, _ := n.ref()
	return n.fs.errno("xattr", ref, err)
}

func (d *dirNode) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if what, virtual := strings.CutPrefix(name, thawfsPrefix); virtual {
		if value, ok, err := d.fact(ctx, what); ok || err != nil {
			size, replyErr := reply([]byte(value), dest)
			return size, d.xattrError(cmpErr(err, replyErr))
		}
	}
	size, err := getxattr(ctx, d, name, dest)
	return size, d.xattrError(err)
}

func (d *dirNode) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	size, err := listxattr(d, dest)
	return size, d.xattrError(err)
}

func (d *dirNode) Setxattr(ctx context.Context, name string, data []byte, flags uint32) syscall.Errno {
	return d.xattrError(setxattr(ctx, d, name, data, flags))
}

func (d *dirNode) Removexattr(ctx context.Context, name string) syscall.Errno {
	if what, virtual := strings.CutPrefix(name, thawfsPrefix); virtual {
		return d.xattrError(d.setVirtual(ctx, what, ""))
	}
	return d.xattrError(removexattr(ctx, d, name))
}

func (d *dirNode) xattrError(err error) syscall.Errno {
	at, _ := d.ref()
	return d.fs.errno("xattr", at, err)
}

// The root of all buckets has none.

func (r *rootNode) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if errno := xattrErrno(name); errno != 0 {
		return 0, errno
	}
	return 0, syscall.ENODATA
}

func (r *rootNode) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) { return 0, 0 }

func (r *rootNode) Setxattr(ctx context.Context, name string, data []byte, flags uint32) syscall.Errno {
	return syscall.EOPNOTSUPP
}
