package fs

import (
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A pathCall is a system call that takes a path, which has to fail for a path that leads
// nowhere as all of them do.
type pathCall struct {
	name    string
	call    func(path string) error
	makes   bool // the last component need not exist
	follows bool // a symbolic link as the last component is followed
	writes  bool // changes something: EROFS
}

func pathCalls(p *posix) []pathCall {
	other := p.at("other") // exists
	return []pathCall{
		{"stat", func(path string) error { return unix.Stat(path, new(unix.Stat_t)) }, false, true, false},
		{"lstat", func(path string) error { return unix.Lstat(path, new(unix.Stat_t)) }, false, false, false},
		{"access", func(path string) error { return unix.Faccessat(unix.AT_FDCWD, path, unix.F_OK, unix.AT_EACCESS) }, false, true, false},
		{"open", func(path string) error { return openClose(path, unix.O_RDONLY) }, false, true, false},
		{"open to write", func(path string) error { return openClose(path, unix.O_WRONLY) }, false, true, true},
		{"create", func(path string) error { return openClose(path, unix.O_WRONLY|unix.O_CREAT) }, true, true, true},
		{"chmod", func(path string) error { return unix.Chmod(path, 0o644) }, false, true, true},
		{"chown", func(path string) error { return unix.Chown(path, 0, 0) }, false, true, true},
		{"lchown", func(path string) error { return unix.Lchown(path, 0, 0) }, false, false, true},
		{"truncate", func(path string) error { return unix.Truncate(path, 1) }, false, true, true},
		{"utimensat", func(path string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, 0) }, false, true, true},
		{"mkdir", func(path string) error { return unix.Mkdir(path, 0o755) }, true, false, true},
		{"mkfifo", func(path string) error { return unix.Mkfifo(path, 0o644) }, true, false, true},
		{"mknod", func(path string) error { return unix.Mknod(path, unix.S_IFREG|0o644, 0) }, true, false, true},
		{"symlink", func(path string) error { return unix.Symlink("x", path) }, true, false, true},
		{"rmdir", unix.Rmdir, false, false, true},
		{"unlink", unix.Unlink, false, false, true},
		{"rename from", func(path string) error { return unix.Rename(path, p.at("new")) }, false, false, true},
		{"rename to", func(path string) error { return unix.Rename(other, path) }, true, false, true},
		{"link from", func(path string) error { return unix.Link(path, p.at("new")) }, false, false, true},
		{"getxattr", func(path string) error { _, err := unix.Getxattr(path, "user.x", nil); return err }, false, true, false},
		{"setxattr", func(path string) error { return unix.Setxattr(path, "user.x", []byte("x"), 0) }, false, true, true},
		{"statfs", func(path string) error { return unix.Statfs(path, new(unix.Statfs_t)) }, false, true, false},
	}
}

func openClose(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// pathErrors are told of every call.
var pathErrors = []struct {
	name    string
	path    func(p *posix) string
	want    syscall.Errno
	applies func(c pathCall) bool
}{
	{"no such file", func(p *posix) string { return p.at("none") }, unix.ENOENT, func(c pathCall) bool { return !c.makes }},
	{"no such directory", func(p *posix) string { return p.at("none/f") }, unix.ENOENT, anyCall},
	{"a file as directory", func(p *posix) string { return p.at("file/f") }, unix.ENOTDIR, anyCall},
	{"a fifo as directory", func(p *posix) string { return p.at("fifo/f") }, unix.ENOTDIR, anyCall},
	{"a link to a file as directory", func(p *posix) string { return p.at("tofile/f") }, unix.ENOTDIR, anyCall},
	{"a dangling link as directory", func(p *posix) string { return p.at("dangling/f") }, unix.ENOENT, anyCall},
	{"a loop of links", func(p *posix) string { return p.at("loop1") }, unix.ELOOP, func(c pathCall) bool { return c.follows }},
	{"a loop of links on the way", func(p *posix) string { return p.at("loop1/f") }, unix.ELOOP, anyCall},
	{"a name of 256 bytes", func(p *posix) string { return p.at(strings.Repeat("x", 256)) }, unix.ENAMETOOLONG, anyCall},
	{"a name of 256 bytes on the way", func(p *posix) string { return p.at(strings.Repeat("x", 256) + "/f") }, unix.ENAMETOOLONG, anyCall},
	{"a path of 4096 bytes", func(p *posix) string { return p.dir + "/" + strings.Repeat("./", 2100) + "f" }, unix.ENAMETOOLONG, anyCall},
	{"the empty path", func(p *posix) string { return "" }, unix.ENOENT, anyCall},
}

func anyCall(pathCall) bool { return true }

func (p *posix) pathTree() {
	p.file("file", 0o666, 0, 0)
	p.file("other", 0o666, 0, 0)
	p.ok(unix.Mkfifo(p.at("fifo"), 0o666))
	p.ok(unix.Symlink("file", p.at("tofile")))
	p.ok(unix.Symlink("none", p.at("dangling")))
	p.ok(unix.Symlink("loop2", p.at("loop1")))
	p.ok(unix.Symlink("loop1", p.at("loop2")))
	p.mkdir("shut", 0o700, 0, 0)
	p.file("shut/f", 0o666, 0, 0)
}

func pathCases() (cases []posixCase) {
	for _, e := range pathErrors {
		cases = append(cases, posixCase{e.name, func(p *posix) {
			p.pathTree()
			for _, c := range pathCalls(p) {
				if !e.applies(c) {
					continue
				}
				p.Run(c.name, func(t *testing.T) {
					q := &posix{T: t, m: p.m, dir: p.dir}
					q.want(c.call(e.path(q)), e.want)
				})
			}
		}})
	}
	return append(cases, posixCase{"a directory that may not be searched", func(p *posix) {
		p.pathTree()
		for _, c := range pathCalls(p) {
			p.Run(c.name, func(t *testing.T) {
				q := &posix{T: t, m: p.m, dir: p.dir}
				q.as(bob, bob, func() { q.want(c.call(q.at("shut/f")), unix.EACCES) })
			})
		}
	}})
}

func TestPosixPaths(t *testing.T) { runPosix(t, pathCases()) }

// TestPosixReadOnly asks a mount that is read-only for everything that changes it.
func TestPosixReadOnly(t *testing.T) {
	m := mountPath(t, true)
	p := &posix{T: t, m: m, dir: m.dir}
	p.pathTree()
	m.drain()
	m.stop()
	m.o.ReadOnly = true
	m.start()
	for _, c := range pathCalls(p) {
		t.Run(c.name, func(t *testing.T) {
			q := &posix{T: t, m: m, dir: m.dir}
			path := q.at("file")
			switch {
			case c.makes:
				path = q.at("fresh")
			case c.name == "rmdir":
				path = q.at("shut")
			}
			want := syscall.Errno(0)
			if c.writes {
				want = unix.EROFS
			} else if c.name == "getxattr" {
				want = unix.ENODATA
			}
			q.want(c.call(path), want)
		})
	}
}
