package fstest

import (
	"maps"
	"os"
	"strings"
	"syscall"
	"time"
)

// Apply does op, of a user, to the model and returns what the system call must return. An
// operation on an empty slot does nothing.
func (m *Model) Apply(op Op) syscall.Errno {
	switch op.Verb {
	case Open:
		return m.open(op)
	case Close:
		m.close(op.H)
		return 0
	case Write, Resize, Fsync:
		return m.onHandle(op)
	case Save:
		return m.save(op)
	case Truncate, Chmod, Utimes, Setxattr, Rmxattr:
		return m.onFile(op)
	case Unlink:
		return m.unlink(op.Path)
	case Mkdir:
		return m.mkdir(op.Path, op.Mode)
	case Rmdir:
		return m.rmdir(op.Path)
	case Rename:
		return m.rename(op.Path, op.To)
	case Symlink:
		return m.symlink(op.Path, op.To)
	}
	return 0
}

func (m *Model) tree() *node { return tree(m.view) }

// opened finds or makes what open(2) opens; nil for a directory.
func (m *Model) opened(path string, flags int, mode uint32) (*file, syscall.Errno) {
	create, excl := flags&os.O_CREATE != 0, flags&os.O_EXCL != 0
	at, errno := m.tree().find(path, !(create && excl))
	switch writes := flags&(os.O_WRONLY|os.O_RDWR) != 0; {
	case errno != 0:
		return nil, errno
	case at.node == nil && !create:
		return nil, syscall.ENOENT
	case at.node == nil:
		return m.create(at, mode)
	case create && excl:
		return nil, syscall.EEXIST
	case at.node.dir && (writes || create || flags&os.O_TRUNC != 0):
		return nil, syscall.EISDIR
	case at.node.dir:
		return nil, 0
	}
	f := at.node.file
	if flags&os.O_TRUNC != 0 {
		f.rewrite(func(s *state) { s.data, s.mtime = "", time.Time{} })
		m.unsent[f.key] = true
	}
	f.far = false
	return f, 0
}

func (m *Model) create(at place, mode uint32) (*file, syscall.Errno) {
	key, ok := at.newKey(false)
	if !ok {
		return nil, syscall.EINVAL
	}
	f := &file{now: state{mode: mode &^ m.umask}, born: true}
	m.put(key, f)
	m.touched(at.dir)
	return f, 0
}

func (m *Model) open(op Op) syscall.Errno {
	m.close(op.H)
	flags, err := openFlags(op.Flags)
	if err != nil {
		return syscall.EINVAL
	}
	f, errno := m.opened(op.Path, flags, defaultFileMode)
	if f == nil {
		return errno
	}
	h := &handle{f: f, read: flags&os.O_WRONLY == 0, write: flags&(os.O_WRONLY|os.O_RDWR) != 0, append: flags&os.O_APPEND != 0}
	if h.write {
		f.writers++
	}
	m.handles[op.H] = h
	return 0
}

func (m *Model) close(slot int) {
	h := m.handles[slot]
	m.handles[slot] = nil
	if h != nil && h.write {
		h.f.writers--
		h.f.commit()
	}
}

// onHandle does what takes an open file and no name.
func (m *Model) onHandle(op Op) syscall.Errno {
	h := m.handles[op.H]
	switch {
	case h == nil, op.Verb == Write && op.N == 0:
		return 0
	case op.Verb == Fsync:
		h.f.commit()
		delete(m.unsent, h.f.key)
		return 0
	case !h.write && op.Verb == Resize:
		return syscall.EINVAL
	case !h.write:
		return syscall.EBADF
	}
	h.f.rewrite(func(s *state) {
		s.mtime = time.Time{}
		if op.Verb == Resize {
			s.data = resize(s.data, op.Off)
			return
		}
		off := op.Off
		if h.append {
			off = int64(len(s.data))
		}
		s.data = overwrite(s.data, off, pattern(op.Fill, off, op.N))
	})
	m.unsent[h.f.key] = true
	return 0
}

// save is open, write and close in one.
func (m *Model) save(op Op) syscall.Errno {
	f, errno := m.opened(op.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, defaultFileMode)
	if errno != 0 {
		return errno
	}
	f.rewrite(func(s *state) { s.data, s.mtime = pattern(op.Fill, 0, op.N), time.Time{} })
	f.commit()
	return 0
}

// onFile changes what a path leads to. It is kept at once unless a writer has it open, who
// tells with the next close.
func (m *Model) onFile(op Op) syscall.Errno {
	at, errno := m.tree().find(op.Path, true)
	switch {
	case errno != 0:
		return errno
	case at.node == nil:
		return syscall.ENOENT
	case at.node.dir && op.Verb == Truncate:
		return syscall.EISDIR
	case at.node.dir:
		return m.onDir(op, at.node)
	}
	f := at.node.file
	if _, ok := f.now.xattrs[op.To]; op.Verb == Rmxattr && !ok {
		return syscall.ENODATA
	}
	if op.Verb == Truncate {
		f.rewrite(func(s *state) { s.set(op) })
	} else {
		f.putAside()
		f.change(func(s *state) { s.set(op) })
	}
	m.unsent[f.key] = true
	if f.writers == 0 {
		f.commit()
	}
	return 0
}

// onDir sets mode and time of a directory, which gives it a marker.
func (m *Model) onDir(op Op, dir *node) syscall.Errno {
	if op.Verb != Chmod && op.Verb != Utimes || dir.key == "" {
		return 0
	}
	if dir.file == nil {
		m.put(dir.key, &file{})
	}
	m.view[dir.key].now.set(op)
	m.unsent[dir.key] = true
	return 0
}

func (s *state) set(op Op) {
	switch op.Verb {
	case Truncate:
		s.data, s.mtime = resize(s.data, op.Off), time.Time{}
	case Chmod:
		s.mode = op.Mode
	case Utimes:
		s.mtime = time.Unix(0, op.Off)
	case Setxattr:
		x := maps.Clone(s.xattrs)
		if x == nil {
			x = map[string]string{}
		}
		x[op.To] = pattern(op.Fill, 0, op.N)
		s.xattrs = x
	case Rmxattr:
		x := maps.Clone(s.xattrs)
		delete(x, op.To)
		s.xattrs = x
	}
}

func (m *Model) unlink(path string) syscall.Errno {
	at, errno := m.tree().find(path, false)
	switch {
	case errno != 0:
		return errno
	case at.node == nil:
		return syscall.ENOENT
	case at.node.dir:
		return syscall.EISDIR
	}
	at.node.file.forsake()
	m.drop(at.node.key)
	m.keep(at.dir)
	m.touched(at.dir)
	return 0
}

// free finds where something new is to be made.
func (m *Model) free(path string, dir bool) (at place, key string, errno syscall.Errno) {
	at, errno = m.tree().find(path, false)
	if errno == 0 && at.node != nil {
		errno = syscall.EEXIST
	}
	if errno != 0 {
		return at, "", errno
	}
	key, ok := at.newKey(dir)
	if !ok {
		return at, "", syscall.EINVAL
	}
	return at, key, 0
}

func (m *Model) mkdir(path string, mode uint32) syscall.Errno {
	at, key, errno := m.free(path, true)
	if errno != 0 {
		return errno
	}
	m.put(key+"/", &file{now: state{mode: mode &^ m.umask}})
	m.touched(at.dir)
	return 0
}

func (m *Model) symlink(path, target string) syscall.Errno {
	at, key, errno := m.free(path, false)
	if errno != 0 {
		return errno
	}
	m.put(key, &file{now: state{target: target}})
	m.touched(at.dir)
	return 0
}

func (m *Model) rmdir(path string) syscall.Errno {
	at, errno := m.tree().find(path, false)
	switch {
	case errno != 0:
		return errno
	case at.node == nil:
		return syscall.ENOENT
	case !at.node.dir:
		return syscall.ENOTDIR
	case len(at.node.names) > 0:
		return syscall.ENOTEMPTY
	}
	m.drop(at.node.key)
	m.keep(at.dir)
	m.touched(at.dir)
	return 0
}

func (m *Model) rename(from, to string) syscall.Errno {
	root := m.tree()
	src, errno := root.find(from, false)
	_, missing := root.parent(from)
	dst, dstErrno := root.find(to, false)
	switch {
	case missing != 0:
		return missing
	case errno != 0:
		return errno
	case dstErrno != 0:
		return dstErrno
	case src.node == nil:
		return syscall.ENOENT
	case src.node.dir && strings.HasPrefix(dst.dir.key, src.node.key):
		return syscall.EINVAL
	case dst.node != nil && dst.node.dir && strings.HasPrefix(src.dir.key, dst.node.key):
		return syscall.ENOTEMPTY
	case dst.node == src.node:
		return 0
	case dst.node != nil && src.node.dir && !dst.node.dir:
		return syscall.ENOTDIR
	case dst.node != nil && !src.node.dir && dst.node.dir:
		return syscall.EISDIR
	}
	key, ok := dst.newKey(src.node.dir)
	switch {
	case !ok:
		return syscall.EINVAL
	case dst.node != nil && dst.node.dir && len(dst.node.names) > 0:
		return syscall.ENOTEMPTY
	case m.holdsCold(src.node):
		return syscall.EAGAIN
	case src.node.dir:
		m.moveDir(src.node.key, key+"/")
	default:
		m.moveFile(src.node.file, key)
	}
	m.keep(src.dir)
	m.touched(src.dir)
	m.touched(dst.dir)
	return 0
}

func (root *node) parent(path string) (place, syscall.Errno) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		at, errno := root.find(path[:i], true)
		switch {
		case errno != 0:
			return at, errno
		case at.node == nil:
			return at, syscall.ENOENT
		case !at.node.dir:
			return at, syscall.ENOTDIR
		}
	}
	return place{}, 0
}

func (m *Model) moveFile(f *file, key string) {
	over := m.view[key]
	m.drop(f.key)
	f.copied()
	if over != nil {
		over.forsake()
		m.drop(key)
		if !f.certain() {
			f.over = over
		}
	}
	m.put(key, f)
	m.renamed[key] = true
}

func (m *Model) moveDir(from, to string) {
	m.drop(to) // the marker of an empty directory
	moved := map[string]*file{}
	for key, f := range m.view {
		if strings.HasPrefix(key, from) {
			moved[key] = f
		}
	}
	for key, f := range moved {
		f.copied()
		m.drop(key)
		m.put(to+key[len(from):], f)
		m.renamed[to+key[len(from):]] = true
	}
}
