package fs

import (
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPosixModes(t *testing.T) {
	runPosix(t, chmodCases(), chownCases())
}

// kinds are the types of files that a name can stand for, each with how to make one.
var kinds = []struct {
	name string
	typ  uint32
	make func(p *posix, name string)
}{
	{"file", unix.S_IFREG, func(p *posix, name string) { p.file(name, 0o644, 0, 0) }},
	{"directory", unix.S_IFDIR, func(p *posix, name string) { p.mkdir(name, 0o755, 0, 0) }},
	{"fifo", unix.S_IFIFO, func(p *posix, name string) { p.ok(unix.Mknod(p.at(name), unix.S_IFIFO|0o644, 0)) }},
	{"socket", unix.S_IFSOCK, func(p *posix, name string) { p.ok(unix.Mknod(p.at(name), unix.S_IFSOCK|0o644, 0)) }},
	{"character device", unix.S_IFCHR, func(p *posix, name string) {
		p.ok(unix.Mknod(p.at(name), unix.S_IFCHR|0o644, int(unix.Mkdev(10, 258))))
	}},
	{"block device", unix.S_IFBLK, func(p *posix, name string) {
		p.ok(unix.Mknod(p.at(name), unix.S_IFBLK|0o644, int(unix.Mkdev(259, 1048575))))
	}},
	{"link", unix.S_IFLNK, func(p *posix, name string) { p.ok(unix.Symlink("target", p.at(name))) }},
}

func chmodCases() (cases []posixCase) {
	for _, k := range kinds {
		if k.typ == unix.S_IFLNK {
			continue // its mode cannot be changed
		}
		cases = append(cases, posixCase{"chmod of a " + k.name, func(p *posix) {
			k.make(p, "f")
			for _, mode := range []uint32{0, 0o111, 0o1777, 0o2644, 0o4755, 0o7777, 0o640} {
				p.moves("f", "c", func() { p.ok(unix.Chmod(p.at("f"), mode)) })
				p.wantMode("f", mode)
			}
			if got := p.stat("f").Mode & unix.S_IFMT; got != k.typ {
				p.Errorf("type is %#o, want %#o", got, k.typ)
			}
		}})
	}
	return append(cases,
		posixCase{"chmod through a link", func(p *posix) {
			p.file("f", 0o644, 0, 0)
			p.ok(unix.Symlink("f", p.at("l")))
			p.ok(unix.Chmod(p.at("l"), 0o600))
			p.wantMode("f", 0o600)
			p.wantMode("l", 0o777)
		}},
		posixCase{"chmod is the owner's", func(p *posix) {
			p.file("f", 0o644, alice, alice)
			p.mkdir("d", 0o755, alice, alice)
			p.as(alice, alice, func() { p.want(unix.Chmod(p.at("f"), 0o640), 0) })
			before := p.stat("f")
			p.tick()
			p.as(bob, bob, func() {
				p.want(unix.Chmod(p.at("f"), 0o666), unix.EPERM)
				p.want(unix.Chmod(p.at("d"), 0o777), unix.EPERM)
			})
			p.wantMoved("f", "", before)
			p.wantMode("f", 0o640)
		}},
		posixCase{"setgid needs the group", func(p *posix) {
			p.file("f", 0o755, alice, bob)
			p.mkdir("d", 0o755, alice, bob)
			p.as(alice, alice, func() {
				p.want(unix.Chmod(p.at("f"), 0o2755), 0)
				p.want(unix.Chmod(p.at("d"), 0o2755), 0)
			})
			p.wantMode("f", 0o755)
			p.wantMode("d", 0o755)
			p.as(alice, alice, func() { p.want(unix.Chmod(p.at("f"), 0o2755), 0) }, bob)
			p.wantMode("f", 0o2755)
		}},
		posixCase{"fchmod and fchown of an open file", func(p *posix) {
			fd, err := unix.Open(p.at("f"), unix.O_CREAT|unix.O_RDWR, 0o644)
			p.ok(err)
			p.ok(unix.Fchmod(fd, 0o4711))
			p.wantMode("f", 0o4711)
			p.ok(unix.Fchown(fd, alice, bob))
			if st := p.stat("f"); st.Uid != alice || st.Gid != bob {
				p.Errorf("owner is %d:%d", st.Uid, st.Gid)
			}
			p.ok(unix.Close(fd))
			p.wantMode("f", 0o711)
		}},
	)
}

func chownCases() []posixCase {
	var cases []posixCase
	for _, k := range kinds {
		cases = append(cases, posixCase{"chown of a " + k.name, func(p *posix) {
			k.make(p, "f")
			p.moves("f", "c", func() { p.ok(unix.Lchown(p.at("f"), alice, bob)) })
			p.ok(unix.Lchown(p.at("f"), -1, alice))
			p.ok(unix.Lchown(p.at("f"), bob, -1))
			if st := p.stat("f"); st.Uid != bob || st.Gid != alice || st.Mode&unix.S_IFMT != k.typ {
				p.Errorf("owner is %d:%d, mode %#o", st.Uid, st.Gid, st.Mode)
			}
			p.moves("f", "c", func() { p.ok(unix.Lchown(p.at("f"), -1, -1)) })
		}})
	}
	return append(cases,
		posixCase{"chown follows a link, lchown does not", func(p *posix) {
			p.file("f", 0o644, 0, 0)
			p.ok(unix.Symlink("f", p.at("l")))
			p.ok(unix.Chown(p.at("l"), alice, alice))
			p.ok(unix.Lchown(p.at("l"), bob, bob))
			if f, l := p.stat("f"), p.stat("l"); f.Uid != alice || l.Uid != bob {
				p.Errorf("owners: file %d, link %d", f.Uid, l.Uid)
			}
		}},
		posixCase{"an owner gives the group to one of his own", func(p *posix) {
			p.file("f", 0o644, alice, alice)
			p.as(alice, alice, func() {
				p.want(unix.Chown(p.at("f"), -1, bob), 0)
				p.want(unix.Chown(p.at("f"), alice, alice), 0)
				p.want(unix.Chown(p.at("f"), -1, 7), unix.EPERM)
				p.want(unix.Chown(p.at("f"), bob, -1), unix.EPERM)
			}, bob)
			p.as(bob, bob, func() {
				p.want(unix.Chown(p.at("f"), bob, bob), unix.EPERM)
				p.want(unix.Chown(p.at("f"), -1, bob), unix.EPERM)
			}, alice)
			if st := p.stat("f"); st.Uid != alice || st.Gid != alice {
				p.Errorf("owner is %d:%d", st.Uid, st.Gid)
			}
		}},
	)
}

// killCases tell who loses the set-user-ID and set-group-ID bits by what.
func killCases() (cases []posixCase) {
	for _, tt := range []struct {
		mode uint32
		what string
		uid  int // who changes; the file is alice's
		want uint32
		do   func(path string) error
	}{
		{0o4777, "a write", bob, 0o777, writeByte},
		{0o2777, "a write", bob, 0o777, writeByte},
		{0o6777, "a write", bob, 0o777, writeByte},
		{0o6777, "a write of the owner", alice, 0o777, writeByte},
		{0o6777, "a write of root", 0, 0o6777, writeByte},
		{0o6666, "a write", bob, 0o666, writeByte},
		{0o6777, "truncate", bob, 0o777, func(path string) error { return unix.Truncate(path, 3) }},
		{0o6777, "truncate of root", 0, 0o6777, func(path string) error { return unix.Truncate(path, 3) }},
		{0o6777, "open with O_TRUNC", bob, 0o777, func(path string) error { return openClose(path, unix.O_WRONLY|unix.O_TRUNC) }},
		{0o6777, "open with O_TRUNC of root", 0, 0o6777, func(path string) error { return openClose(path, unix.O_WRONLY|unix.O_TRUNC) }},
		{0o6777, "fallocate", bob, 0o777, func(path string) error {
			return withFile(path, unix.O_WRONLY, func(fd int) error { return unix.Fallocate(fd, 0, 0, 4096) })
		}},
		{0o6777, "chown of root", 0, 0o777, func(path string) error { return unix.Chown(path, bob, bob) }},
		{0o6777, "chown of the owner", alice, 0o777, func(path string) error { return unix.Chown(path, -1, alice) }},
		{0o6777, "chown of root to nobody else", 0, 0o777, func(path string) error { return unix.Chown(path, -1, -1) }},
		{0o2755, "chmod of the owner", alice, 0o2700, func(path string) error { return unix.Chmod(path, 0o2700) }},
		{0o6777, "opening to write", bob, 0o6777, func(path string) error { return openClose(path, unix.O_RDWR) }},
		{0o6777, "utimes", alice, 0o6777, func(path string) error { return unix.Utimes(path, []unix.Timeval{{Sec: 1}, {Sec: 2}}) }},
	} {
		cases = append(cases, posixCase{fmt.Sprintf("%04o after %s", tt.mode, tt.what), func(p *posix) {
			p.file("f", 0o644, 0, 0)
			p.ok(withFile(p.at("f"), unix.O_WRONLY, func(fd int) error { _, err := unix.Write(fd, make([]byte, 5000)); return err }))
			p.own("f", tt.mode, alice, alice)
			do := func() { p.want(tt.do(p.at("f")), 0) }
			if tt.uid == 0 {
				do()
			} else {
				p.as(tt.uid, tt.uid, do)
			}
			p.wantMode("f", tt.want)
		}})
	}
	return append(cases, posixCase{"the bits of a directory stay", func(p *posix) {
		p.mkdir("d", 0o6755, alice, alice)
		p.ok(unix.Chown(p.at("d"), bob, bob))
		p.wantMode("d", 0o6755)
	}}, posixCase{"a bit set while a stranger has it open to write", func(p *posix) {
		p.file("f", 0o666, alice, alice)
		p.as(bob, bob, func() {
			fd, err := unix.Open(p.at("f"), unix.O_RDWR, 0)
			p.want(err, 0)
			_, err = unix.Write(fd, []byte("x"))
			p.want(err, 0)
			p.want(unix.Fchmod(fd, 0o4666), unix.EPERM)
			p.ok(unix.Close(fd))
		})
		p.wantMode("f", 0o666)
	}})
}

func writeByte(path string) error {
	return withFile(path, unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte("x"), 7); return err })
}

func withFile(path string, flags int, fn func(fd int) error) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return cmpErr(fn(fd), unix.Close(fd))
}

// createCases tell what new files begin with: umask, owner, group of a setgid directory.
func createCases() []posixCase {
	makers := map[string]func(path string, mode uint32) error{
		"open": func(path string, mode uint32) error {
			fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY, mode)
			return cmpErr(err, unix.Close(fd))
		},
		"mkdir":  unix.Mkdir,
		"mkfifo": unix.Mkfifo,
		"mknod":  func(path string, mode uint32) error { return unix.Mknod(path, unix.S_IFSOCK|mode, 0) },
	}
	var cases []posixCase
	for call, mk := range makers {
		cases = append(cases, posixCase{call + " of a user", func(p *posix) {
			p.mkdir("plain", 0o777, 0, 0)
			p.mkdir("setgid", 0o2777, 0, 7)
			p.as(alice, bob, func() {
				for _, mask := range []int{0, 0o022, 0o077, 0o777} {
					unix.Umask(mask)
					name := fmt.Sprintf("plain/%03o", mask)
					p.want(mk(p.at(name), 0o777), 0)
					p.wantMode(name, 0o777&^uint32(mask))
				}
				unix.Umask(0o022)
				p.want(mk(p.at("setgid/f"), 0o777), 0)
			})
			if st := p.stat("plain/022"); st.Uid != alice || st.Gid != bob {
				p.Errorf("owner is %d:%d, want %d:%d", st.Uid, st.Gid, alice, bob)
			}
			st := p.stat("setgid/f")
			if st.Uid != alice || st.Gid != 7 {
				p.Errorf("owner in a setgid directory is %d:%d, want %d:7", st.Uid, st.Gid, alice)
			}
			want := uint32(0o755)
			if call == "mkdir" {
				want = 0o2755
			}
			p.wantMode("setgid/f", want)
		}})
	}
	return append(cases, posixCase{"a link is its maker's", func(p *posix) {
		p.as(alice, bob, func() { p.want(unix.Symlink("x", p.at("l")), 0) })
		if st := p.stat("l"); st.Uid != alice || st.Gid != bob || st.Mode&0o7777 != 0o777 || st.Size != 1 {
			p.Errorf("%d:%d %o, %d bytes", st.Uid, st.Gid, st.Mode, st.Size)
		}
	}}, posixCase{"create needs to write the directory", func(p *posix) {
		p.mkdir("d", 0o755, alice, alice)
		p.as(bob, bob, func() {
			for _, c := range pathCalls(p) {
				if c.makes && c.name != "rename to" {
					p.want(c.call(p.at("d/f")), unix.EACCES)
				}
			}
			p.want(unix.Mknod(p.at("dev"), unix.S_IFCHR|0o600, 0x103), unix.EPERM)
		})
	}}, posixCase{"open asks the mode", func(p *posix) {
		for _, tt := range []struct {
			mode     uint32
			uid, gid int
			flags    int
			want     syscall.Errno
		}{
			{0o600, alice, alice, unix.O_RDWR, 0},
			{0o400, alice, alice, unix.O_RDONLY, 0},
			{0o400, alice, alice, unix.O_WRONLY, unix.EACCES},
			{0o200, alice, alice, unix.O_RDONLY, unix.EACCES},
			{0o060, alice, alice, unix.O_RDONLY, unix.EACCES},
			{0o060, bob, alice, unix.O_RDWR, 0},
			{0o004, bob, bob, unix.O_RDONLY, 0},
			{0o004, bob, bob, unix.O_RDONLY | unix.O_TRUNC, unix.EACCES},
			{0o004, bob, bob, unix.O_RDWR, unix.EACCES},
			{0o000, alice, alice, unix.O_RDONLY, unix.EACCES},
		} {
			name := fmt.Sprintf("%03o-%d-%x", tt.mode, tt.uid, tt.flags)
			p.file(name, tt.mode, alice, alice)
			p.as(tt.uid, tt.gid, func() { p.want(openClose(p.at(name), tt.flags), tt.want) })
		}
	}})
}

// stickyCases tell who may take a name out of a directory like /tmp.
func stickyCases() []posixCase {
	return []posixCase{{"sticky directory", func(p *posix) {
		p.mkdir("tmp", 0o1777, 0, 0)
		p.mkdir("mine", 0o1777, bob, bob)
		p.mkdir("free", 0o777, 0, 0)
		for _, dir := range []string{"tmp/", "mine/"} {
			p.file(dir+"alice", 0o666, alice, alice)
			p.file(dir+"bob", 0o666, bob, bob)
			p.mkdir(dir+"adir", 0o777, alice, alice)
		}
		p.as(bob, bob, func() {
			p.want(unix.Unlink(p.at("tmp/alice")), unix.EPERM)
			p.want(unix.Rmdir(p.at("tmp/adir")), unix.EPERM)
			p.want(unix.Rename(p.at("tmp/alice"), p.at("free/x")), unix.EPERM)
			p.want(unix.Rename(p.at("tmp/bob"), p.at("tmp/alice")), unix.EPERM)
			p.want(unix.Rename(p.at("tmp/bob"), p.at("tmp/bob2")), 0)
			p.want(unix.Unlink(p.at("tmp/bob2")), 0)
			p.want(unix.Rmdir(p.at("mine/adir")), 0) // the directory is his
			p.want(unix.Rename(p.at("mine/bob"), p.at("mine/alice")), 0)
			p.want(unix.Unlink(p.at("mine/alice")), 0)
		})
		p.as(alice, alice, func() { p.want(unix.Unlink(p.at("tmp/alice")), 0) })
	}}, {"a directory that moves must be writable", func(p *posix) {
		p.mkdir("from", 0o777, 0, 0)
		p.mkdir("to", 0o777, 0, 0)
		p.mkdir("from/d", 0o755, alice, alice)
		p.as(bob, bob, func() {
			p.want(unix.Rename(p.at("from/d"), p.at("to/d")), unix.EACCES) // its ".." changes
			p.want(unix.Rename(p.at("from/d"), p.at("from/e")), 0)
		})
	}}}
}
