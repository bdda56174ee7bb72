package fs

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPosixNames(t *testing.T) {
	runPosix(t, makeCases(), removeCases(), renameCases(), renameFlagCases())
}

func makeCases() (cases []posixCase) {
	for _, k := range kinds {
		cases = append(cases, posixCase{"make a " + k.name, func(p *posix) {
			p.mkdir("d", 0o755, 0, 0)
			p.moves("d", "mc", func() { k.make(p, "d/f") })
			st := p.stat("d/f")
			if st.Mode&unix.S_IFMT != k.typ {
				p.Errorf("type is %#o, want %#o", st.Mode&unix.S_IFMT, k.typ)
			}
			if now := p.stat("d").Mtim; timeOf(st.Mtim).Sub(timeOf(now)).Abs() > 1e9 || st.Mtim != st.Ctim && k.typ == unix.S_IFLNK {
				p.Errorf("mtime %v, ctime %v, of the directory %v", timeOf(st.Mtim), timeOf(st.Ctim), timeOf(now))
			}
			if k.typ != unix.S_IFDIR && st.Nlink != 1 {
				p.Errorf("%d links", st.Nlink)
			}
			before := p.stat("d")
			p.tick()
			for _, c := range pathCalls(p) {
				switch c.name {
				case "mkdir", "mkfifo", "mknod", "symlink":
					p.want(c.call(p.at("d/f")), unix.EEXIST)
				}
			}
			_, err := unix.Open(p.at("d/f"), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o644)
			p.want(err, unix.EEXIST)
			p.wantMoved("d", "", before)
		}}, posixCase{"mknod keeps the number of a " + k.name, func(p *posix) {
			k.make(p, "f")
			switch st := p.stat("f"); {
			case k.typ == unix.S_IFCHR && st.Rdev != unix.Mkdev(10, 258), k.typ == unix.S_IFBLK && st.Rdev != unix.Mkdev(259, 1048575):
				p.Errorf("device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
			}
		}})
	}
	return append(cases, posixCase{"a directory counts its directories", func(p *posix) {
		p.mkdir("d", 0o755, 0, 0)
		if n := p.stat("d").Nlink; n != 2 && n != 1 {
			p.Errorf("%d links of an empty directory, want 2, or 1 that says they are not counted", n)
		}
	}}, posixCase{"a symbolic link of any length", func(p *posix) {
		for _, n := range []int{1, 60, 255, 1000, 4095} {
			target := strings.Repeat("t", n)
			p.ok(unix.Symlink(target, p.at("l")))
			buf := make([]byte, 5000)
			m, err := unix.Readlink(p.at("l"), buf)
			p.ok(err)
			if size := p.stat("l").Size; string(buf[:m]) != target || size != int64(n) {
				p.Errorf("target of %d bytes: read %d, size %d", n, m, size)
			}
			m, err = unix.Readlink(p.at("l"), buf[:1])
			p.ok(err)
			if m != 1 {
				p.Errorf("%d bytes of a cut target", m)
			}
			p.ok(unix.Unlink(p.at("l")))
		}
		p.want(unix.Symlink(strings.Repeat("t", 4096), p.at("l")), unix.ENAMETOOLONG)
		p.want(unix.Symlink("", p.at("l")), unix.ENOENT)
	}}, posixCase{"readlink is for links", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		_, err := unix.Readlink(p.at("f"), make([]byte, 10))
		p.want(err, unix.EINVAL)
		_, err = unix.Readlink(p.dir, make([]byte, 10))
		p.want(err, unix.EINVAL)
	}}, posixCase{"hard links are refused", func(p *posix) {
		if p.m == nil {
			return
		}
		p.file("f", 0o644, 0, 0)
		p.want(unix.Link(p.at("f"), p.at("g")), unix.EPERM)
		p.mkdir("d", 0o755, 0, 0)
		p.want(unix.Link(p.at("d"), p.at("g")), unix.EPERM)
		p.want(unix.Link(p.at("f"), p.at("d")), unix.EEXIST)
	}}, posixCase{"names of all bytes", func(p *posix) {
		for _, n := range []string{"a b", "\n", "ä", "\xff\xfe", "%thaw", "%", "a%2Fb", "\\", "\x01\x7f", "￾", "*?[", strings.Repeat("n", 255), strings.Repeat("ü", 127), "..."} {
			p.file(n, 0o644, 0, 0)
			p.ok(unix.Rename(p.at(n), p.at("tmp")))
			p.ok(unix.Rename(p.at("tmp"), p.at(n)))
			es, err := os.ReadDir(p.dir)
			p.ok(err)
			if len(es) != 1 || es[0].Name() != n {
				p.Errorf("listed %v, want %q", es, n)
			}
			p.ok(unix.Unlink(p.at(n)))
		}
	}})
}

func removeCases() (cases []posixCase) {
	for _, k := range kinds {
		cases = append(cases, posixCase{"remove a " + k.name, func(p *posix) {
			p.mkdir("d", 0o755, 0, 0)
			k.make(p, "d/f")
			rm, not, errno := unix.Unlink, unix.Rmdir, unix.ENOTDIR
			if k.typ == unix.S_IFDIR {
				rm, not, errno = unix.Rmdir, unix.Unlink, unix.EISDIR
			}
			before := p.stat("d")
			p.tick()
			p.want(not(p.at("d/f")), errno)
			p.wantMoved("d", "", before)
			p.moves("d", "mc", func() { p.ok(rm(p.at("d/f"))) })
			p.want(rm(p.at("d/f")), unix.ENOENT)
			p.want(unix.Lstat(p.at("d/f"), new(unix.Stat_t)), unix.ENOENT)
		}})
	}
	return append(cases, posixCase{"an open file that is removed", func(p *posix) {
		fd, err := unix.Open(p.at("f"), unix.O_CREAT|unix.O_RDWR, 0o644)
		p.ok(err)
		_, err = unix.Write(fd, []byte("bytes"))
		p.ok(err)
		var before, st unix.Stat_t
		p.ok(unix.Fstat(fd, &before))
		p.tick()
		p.ok(unix.Unlink(p.at("f")))
		p.ok(unix.Fstat(fd, &st))
		if st.Nlink != 0 || st.Size != 5 || st.Ino != before.Ino || !timeOf(st.Ctim).After(timeOf(before.Ctim)) {
			p.Errorf("%d links, %d bytes, inode %d (was %d), ctime %v (was %v)", st.Nlink, st.Size, st.Ino, before.Ino, timeOf(st.Ctim), timeOf(before.Ctim))
		}
		es, err := os.ReadDir(p.dir)
		p.ok(err)
		if len(es) != 0 {
			p.Errorf("%v is left in the directory", es)
		}
		p.ok(unix.Fchmod(fd, 0o600))
		p.ok(unix.Ftruncate(fd, 3))
		p.ok(unix.Fstat(fd, &st))
		if st.Size != 3 || st.Mode&0o7777 != 0o600 {
			p.Errorf("%d bytes, mode %o", st.Size, st.Mode)
		}
		p.ok(unix.Close(fd))
	}}, posixCase{"rmdir", func(p *posix) {
		p.mkdir("d", 0o755, 0, 0)
		for _, k := range kinds {
			k.make(p, "d/f")
			p.want(unix.Rmdir(p.at("d")), unix.ENOTEMPTY)
			p.ok(os.Remove(p.at("d/f")))
		}
		p.want(unix.Rmdir(p.at("d/.")), unix.EINVAL)
		p.want(unix.Rmdir(p.at("d/..")), unix.ENOTEMPTY)
		fd, err := unix.Open(p.at("d"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		p.ok(err)
		p.ok(unix.Rmdir(p.at("d")))
		p.want(unix.Mkdirat(fd, "x", 0o755), unix.ENOENT)
		var st unix.Stat_t
		p.ok(unix.Fstat(fd, &st))
		if st.Nlink != 0 {
			p.Errorf("%d links of a removed directory", st.Nlink)
		}
		p.ok(unix.Close(fd))
	}}, posixCase{"a directory that is made anew", func(p *posix) {
		for i := range 5 {
			p.mkdir("d", 0o711, 0, 0)
			p.ok(unix.Rename(p.at("d"), p.at("e")))
			p.mkdir("d", 0o700, i, i)
			p.ok(unix.Setxattr(p.at("d"), "user.a", []byte("v"), 0))
			p.ok(unix.Rmdir(p.at("d")))
			p.ok(unix.Rmdir(p.at("e")))
			if p.m != nil {
				p.m.drain()
			}
		}
	}}, posixCase{"unlink through a link", func(p *posix) {
		p.mkdir("d", 0o755, 0, 0)
		p.ok(unix.Symlink("d", p.at("l")))
		p.want(unix.Rmdir(p.at("l")), unix.ENOTDIR)
		p.want(unix.Unlink(p.at("l/")), unix.ENOTDIR)
		p.ok(unix.Unlink(p.at("l")))
	}})
}

func renameCases() (cases []posixCase) {
	for _, k := range kinds {
		cases = append(cases, posixCase{"rename a " + k.name, func(p *posix) {
			p.mkdir("from", 0o755, 0, 0)
			p.mkdir("to", 0o755, 0, 0)
			k.make(p, "from/f")
			before := p.stat("from/f")
			p.tick()
			p.moves("from", "mc", func() {
				p.moves("to", "mc", func() { p.ok(unix.Rename(p.at("from/f"), p.at("to/g"))) })
			})
			after := p.stat("to/g")
			if after.Ino != before.Ino || after.Mode != before.Mode || after.Mtim != before.Mtim || after.Rdev != before.Rdev || after.Size != before.Size {
				p.Errorf("%+v, was %+v", after, before)
			}
			if !timeOf(after.Ctim).After(timeOf(before.Ctim)) {
				p.Errorf("ctime did not move")
			}
			p.want(unix.Lstat(p.at("from/f"), new(unix.Stat_t)), unix.ENOENT)
			p.ok(unix.Rename(p.at("to/g"), p.at("to/g")))
			p.want(unix.Rename(p.at("from/f"), p.at("to/g")), unix.ENOENT)
		}})
		for _, l := range kinds {
			cases = append(cases, posixCase{"rename a " + k.name + " over a " + l.name, func(p *posix) {
				k.make(p, "f")
				l.make(p, "g")
				want := syscall.Errno(0)
				switch fromDir, toDir := k.typ == unix.S_IFDIR, l.typ == unix.S_IFDIR; {
				case fromDir && !toDir:
					want = unix.ENOTDIR
				case !fromDir && toDir:
					want = unix.EISDIR
				}
				f, g := p.stat("f"), p.stat("g")
				p.want(unix.Rename(p.at("f"), p.at("g")), want)
				if want != 0 {
					if p.stat("f").Ino != f.Ino || p.stat("g").Ino != g.Ino {
						p.Errorf("a refused rename changed something")
					}
				} else if p.stat("g").Ino != f.Ino {
					p.Errorf("another file has the name now")
				}
			}})
		}
	}
	return append(cases, posixCase{"rename of directories", func(p *posix) {
		for _, d := range []string{"a", "a/b", "a/b/c", "full", "full/x", "e"} {
			p.mkdir(d, 0o755, 0, 0)
		}
		p.file("a/f", 0o644, 0, 0)
		p.want(unix.Rename(p.at("a"), p.at("a/b/new")), unix.EINVAL)
		p.want(unix.Rename(p.at("a"), p.at("a/b/c")), unix.EINVAL)
		p.want(unix.Rename(p.at("a/b/c"), p.at("a")), unix.ENOTEMPTY)
		p.want(unix.Rename(p.at("a"), p.at("full")), unix.ENOTEMPTY)
		p.want(unix.Rename(p.at("a/."), p.at("new")), unix.EBUSY)
		p.want(unix.Rename(p.at("a/b/.."), p.at("new")), unix.EBUSY)
		p.ok(unix.Rename(p.at("a"), p.at("e")))
		p.stat("e/b/c")
		p.stat("e/f")
		p.want(unix.Rename(p.at("e/"), p.at("moved/")), 0)
		p.want(unix.Rename(p.at("moved/f/"), p.at("g")), unix.ENOTDIR)
		p.want(unix.Rename(p.at("moved/f"), p.at("g/")), unix.ENOTDIR)
	}}, posixCase{"rename over an open file", func(p *posix) {
		p.ok(os.WriteFile(p.at("old"), []byte("old bytes"), 0o644))
		p.ok(os.WriteFile(p.at("new"), []byte("new"), 0o644))
		f, err := os.Open(p.at("old"))
		p.ok(err)
		p.ok(unix.Rename(p.at("new"), p.at("old")))
		b := make([]byte, 20)
		n, _ := f.ReadAt(b, 0)
		var st unix.Stat_t
		p.ok(unix.Fstat(int(f.Fd()), &st))
		if string(b[:n]) != "old bytes" || st.Nlink != 0 {
			p.Errorf("the open file has %q and %d links", b[:n], st.Nlink)
		}
		p.ok(f.Close())
	}})
}

func renameFlagCases() []posixCase {
	return []posixCase{{"RENAME_NOREPLACE", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		p.mkdir("d", 0o755, 0, 0)
		p.want(renameat2(p, "f", "d", unix.RENAME_NOREPLACE), unix.EEXIST)
		p.want(renameat2(p, "d", "f", unix.RENAME_NOREPLACE), unix.EEXIST)
		p.want(renameat2(p, "f", "f", unix.RENAME_NOREPLACE), unix.EEXIST)
		p.want(renameat2(p, "f", "g", unix.RENAME_NOREPLACE), 0)
		p.want(renameat2(p, "d", "e", unix.RENAME_NOREPLACE), 0)
		p.want(renameat2(p, "none", "x", unix.RENAME_NOREPLACE), unix.ENOENT)
	}}, {"flags that nobody knows", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		p.file("g", 0o644, 0, 0)
		p.want(renameat2(p, "f", "g", 1<<7), unix.EINVAL)
		p.want(renameat2(p, "f", "g", unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE), unix.EINVAL)
		if p.m != nil { // ext4 knows it
			p.want(renameat2(p, "f", "g", unix.RENAME_WHITEOUT), unix.EINVAL)
		}
	}}}
}

func renameat2(p *posix, from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, p.at(from), unix.AT_FDCWD, p.at(to), flags)
}
