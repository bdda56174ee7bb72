package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// child runs this program as the child that part names (childParts) and returns what it says.
func (p *posix) child(part, file string) *exec.Cmd {
	p.Helper()
	self, err := os.Executable()
	p.ok(err)
	cmd := exec.CommandContext(p.Context(), self)
	cmd.Env = append(os.Environ(), part+"="+p.at(file))
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), testWriter{p}
	return cmd
}

// together runs children at the same time; all must end well. It returns what they said.
func (p *posix) together(cmds ...*exec.Cmd) (said []string) {
	p.Helper()
	for _, c := range cmds {
		p.ok(c.Start())
	}
	for _, c := range cmds {
		if err := c.Wait(); err != nil {
			p.Errorf("%v: %v", c.Env[len(c.Env)-1], err)
		}
		said = append(said, strings.TrimSpace(c.Stdout.(*bytes.Buffer).String()))
	}
	return said
}

// childParts are what this program does instead of testing when an environment variable of
// that name has a path.
func childParts() map[string]func(path string) error {
	return map[string]func(path string) error{
		"FS_TEST_MAP": mapAndWrite, "FS_TEST_FSX": playHere, "FS_TEST_APPEND": appendLines,
		"FS_TEST_LOCKS": tryLocks, "FS_TEST_COUNT": countLocked,
		"FS_TEST_PING": func(path string) error { return mapTurns(path, 0) },
		"FS_TEST_PONG": func(path string) error { return mapTurns(path, 1) },
	}
}

const lines = 200

func appendLines(path string) error {
	return withFile(path, unix.O_WRONLY|unix.O_APPEND, func(fd int) error {
		for i := range lines {
			if _, err := unix.Write(fd, fmt.Appendf(nil, "%d %d\n", os.Getpid(), i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// tryLocks says how locks fail that its parent holds.
func tryLocks(path string) error {
	return withFile(path, unix.O_RDWR, func(fd int) error {
		say := func(what string, err error) { fmt.Println(what, err) }
		say("flock", unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB))
		set := func(typ int16, start int64) error {
			return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: typ, Start: start, Len: 1})
		}
		say("write in it", set(unix.F_WRLCK, 5))
		say("read in it", set(unix.F_RDLCK, 5))
		say("beside it", set(unix.F_WRLCK, 10))
		lk := unix.Flock_t{Type: unix.F_WRLCK, Len: 100}
		err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lk)
		fmt.Println("held by parent", lk.Pid == int32(os.Getppid()), lk.Start, lk.Len, err)
		return nil
	})
}

// countLocked adds to a number in a file, under a lock that it waits for.
func countLocked(path string) error {
	return withFile(path, unix.O_RDWR, func(fd int) error {
		for i := range lines {
			lock, unlock := func() error { return unix.Flock(fd, unix.LOCK_EX) }, func() error { return unix.Flock(fd, unix.LOCK_UN) }
			if i%2 == 0 {
				lock = func() error { return unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}) }
				unlock = func() error { return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}) }
			}
			if err := cmpErr(lock(), addOne(fd, int64(i%2)*8), unlock()); err != nil {
				return err
			}
		}
		return nil
	})
}

func addOne(fd int, off int64) error {
	var b [8]byte
	if _, err := unix.Pread(fd, b[:], off); err != nil {
		return err
	}
	var n int
	_, _ = fmt.Sscan(strings.Trim(string(b[:]), "\x00"), &n) // nothing is 0
	_, err := unix.Pwrite(fd, fmt.Appendf(nil, "%7d", n+1), off)
	return err
}

// mapTurns takes turns with another process in a mapping that they share.
func mapTurns(path string, me byte) error {
	return withFile(path, unix.O_RDWR, func(fd int) error {
		m, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		for turn := me; turn < 100; turn += 2 {
			for unix.Msync(m, unix.MS_ASYNC) == nil && m[4096] != turn {
			}
			m[turn] = turn + 1
			m[4096] = turn + 1
		}
		return cmpErr(unix.Msync(m, unix.MS_SYNC), unix.Munmap(m))
	})
}

func processCases() []posixCase {
	return []posixCase{{"appends of processes are all there", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		p.together(p.child("FS_TEST_APPEND", "f"), p.child("FS_TEST_APPEND", "f"), p.child("FS_TEST_APPEND", "f"))
		b, err := os.ReadFile(p.at("f"))
		p.ok(err)
		got := map[string]bool{}
		for _, line := range strings.Fields(strings.ReplaceAll(string(b), " ", "-")) {
			got[line] = true
		}
		if len(got) != 3*lines || strings.Count(string(b), "\n") != 3*lines {
			p.Errorf("%d different lines of %d", len(got), strings.Count(string(b), "\n"))
		}
	}}, {"locks of processes", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		p.ok(withFile(p.at("f"), unix.O_RDWR, func(fd int) error {
			p.ok(unix.Flock(fd, unix.LOCK_EX))
			p.ok(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 10}))
			again := unix.EAGAIN.Error()
			want := []string{"flock " + again, "write in it " + again, "read in it " + again, "beside it <nil>", "held by parent true 0 10 <nil>"}
			if said := p.together(p.child("FS_TEST_LOCKS", "f")); said[0] != strings.Join(want, "\n") {
				p.Errorf("the other process says\n%s", said[0])
			}
			return nil
		}))
	}}, {"processes wait for a lock", func(p *posix) {
		p.ok(os.WriteFile(p.at("f"), make([]byte, 16), 0o644))
		p.together(p.child("FS_TEST_COUNT", "f"), p.child("FS_TEST_COUNT", "f"), p.child("FS_TEST_COUNT", "f"))
		b, err := os.ReadFile(p.at("f"))
		p.ok(err)
		if want := fmt.Sprintf("%7d", 3*lines/2); string(b[:7]) != want || string(b[8:15]) != want {
			p.Errorf("counted to %q, want twice %q", b, want)
		}
	}}, {"two processes share a mapping", func(p *posix) {
		p.ok(os.WriteFile(p.at("f"), make([]byte, 8192), 0o644))
		p.together(p.child("FS_TEST_PING", "f"), p.child("FS_TEST_PONG", "f"))
		b, err := os.ReadFile(p.at("f"))
		p.ok(err)
		for i := range 100 {
			if b[i] != byte(i+1) {
				p.Fatalf("byte %d is %d", i, b[i])
			}
		}
	}}}
}

func holeCases() []posixCase {
	return []posixCase{{"holes are found or said to be data", func(p *posix) {
		p.ok(withFile(p.at("f"), unix.O_CREAT|unix.O_RDWR, func(fd int) error {
			p.ok(unix.Ftruncate(fd, 3<<20))
			_, err := unix.Pwrite(fd, []byte("data"), 1<<20)
			p.ok(err)
			data, err := unix.Seek(fd, 0, unix.SEEK_DATA)
			p.ok(err)
			if p.m == nil || p.m.passthrough.Load() { // else all is data, which is true as well
				hole, err := unix.Seek(fd, 1<<20, unix.SEEK_HOLE)
				if data != 1<<20 || hole <= 1<<20 || hole > 2<<20 || err != nil {
					p.Errorf("data at %d, hole at %d, %v", data, hole, err)
				}
			}
			for _, tt := range []struct {
				off    int64
				whence int
				want   syscall.Errno
			}{{3 << 20, unix.SEEK_DATA, unix.ENXIO}, {3<<20 + 1, unix.SEEK_HOLE, unix.ENXIO}, {-1, unix.SEEK_DATA, unix.ENXIO}, {2 << 20, unix.SEEK_HOLE, 0}} {
				_, err = unix.Seek(fd, tt.off, tt.whence)
				p.want(err, tt.want)
			}
			return nil
		}))
	}}, {"fallocate", func(p *posix) {
		p.ok(os.WriteFile(p.at("f"), bytes.Repeat([]byte("x"), 20_000), 0o644))
		const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
		p.ok(withFile(p.at("f"), unix.O_RDWR, func(fd int) error {
			for _, tt := range []struct {
				mode   uint32
				off, n int64
				size   int64
				want   syscall.Errno
			}{
				{0, 0, 10_000, 20_000, 0},
				{0, 20_000, 5_000, 25_000, 0},
				{keep, 25_000, 100_000, 25_000, 0},
				{punch | keep, 100, 8_000, 25_000, 0},
				{punch | keep, 24_000, 8_000, 25_000, 0},
				{zero | keep, 24_500, 8_000, 25_000, 0},
				{zero, 19_000, 11_000, 30_000, 0},
				{0, 0, 0, 30_000, unix.EINVAL},
				{0, -1, 5, 30_000, unix.EINVAL},
				{0, 0, -1, 30_000, unix.EINVAL},
				{punch, 0, 100, 30_000, unix.EOPNOTSUPP},
			} {
				p.want(unix.Fallocate(fd, tt.mode, tt.off, tt.n), tt.want)
				if size := p.stat("f").Size; size != tt.size {
					p.Errorf("size %d after mode %#x at %d+%d, want %d", size, tt.mode, tt.off, tt.n, tt.size)
				}
			}
			if p.m != nil {
				p.want(unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP)
				p.want(unix.Fallocate(fd, unix.FALLOC_FL_INSERT_RANGE, 0, 4096), unix.EOPNOTSUPP)
			}
			return nil
		}))
		want := bytes.Repeat([]byte("x"), 20_000)
		clear(want[100:8_100])
		clear(want[19_000:])
		b, err := os.ReadFile(p.at("f"))
		p.ok(err)
		if !bytes.Equal(b, append(want, make([]byte, 10_000)...)) {
			p.Errorf("the bytes are not as they should be")
		}
		p.ok(withFile(p.at("f"), unix.O_RDONLY, func(fd int) error {
			p.want(unix.Fallocate(fd, 0, 0, 10), unix.EBADF)
			return nil
		}))
		p.ok(unix.Mkfifo(p.at("fifo"), 0o600))
		p.ok(withFile(p.at("fifo"), unix.O_RDWR, func(fd int) error {
			p.want(unix.Fallocate(fd, 0, 0, 10), unix.ESPIPE)
			return nil
		}))
	}}}
}

func ioCases() []posixCase {
	return []posixCase{{"copy_file_range", func(p *posix) {
		p.ok(os.WriteFile(p.at("a"), []byte("0123456789"), 0o644))
		p.ok(os.WriteFile(p.at("b"), []byte("----"), 0o644))
		p.ok(withFile(p.at("a"), unix.O_RDONLY, func(a int) error {
			return withFile(p.at("b"), unix.O_RDWR, func(b int) error {
				in, out := int64(4), int64(2)
				n, err := unix.CopyFileRange(a, &in, b, &out, 100, 0)
				if n != 6 || err != nil || in != 10 || out != 8 {
					p.Errorf("copied %d to %d, %d: %v", n, in, out, err)
				}
				_, err = unix.CopyFileRange(b, nil, a, nil, 1, 0)
				p.want(err, unix.EBADF)
				in, out = 0, 1
				_, err = unix.CopyFileRange(b, &in, b, &out, 5, 0)
				p.want(err, unix.EINVAL)
				return nil
			})
		}))
		if b, err := os.ReadFile(p.at("b")); string(b) != "--456789" || err != nil {
			p.Errorf("%q, %v", b, err)
		}
	}}, {"O_DIRECT", func(p *posix) {
		buf, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		p.ok(err)
		defer func() { _ = unix.Munmap(buf) }() // memory of our own
		copy(buf, bytes.Repeat([]byte("direct. "), 1024))
		p.ok(withFile(p.at("f"), unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT, func(fd int) error {
			n, err := unix.Pwrite(fd, buf, 4096)
			if n != 8192 || err != nil {
				p.Errorf("wrote %d: %v", n, err)
			}
			clear(buf)
			if n, err = unix.Pread(fd, buf, 8192); n != 4096 || err != nil || string(buf[:8]) != "direct. " {
				p.Errorf("read %d, %q: %v", n, buf[:8], err)
			}
			return nil
		}))
		b, err := os.ReadFile(p.at("f"))
		if err != nil || len(b) != 12288 || b[0] != 0 || string(b[4096:4104]) != "direct. " {
			p.Errorf("%d bytes, %v", len(b), err)
		}
	}}, {"O_SYNC stores each write", func(p *posix) {
		for _, flag := range []int{unix.O_SYNC, unix.O_DSYNC} {
			p.ok(withFile(p.at("f"), unix.O_CREAT|unix.O_RDWR|unix.O_TRUNC|flag, func(fd int) error {
				for i := range 3 {
					_, err := unix.Write(fd, []byte("abc"))
					p.ok(err)
					if p.m == nil {
						continue
					}
					if _, got := p.m.object(p.dir[len(p.m.dir)+1:] + "/f"); got != strings.Repeat("abc", i+1) {
						p.Errorf("after write %d the store has %q", i, got)
					}
				}
				return nil
			}))
		}
	}}, {"O_SYNC beside other writers", func(p *posix) {
		p.ok(withFile(p.at("f"), unix.O_CREAT|unix.O_RDWR, func(fd int) error {
			_, err := unix.Write(fd, []byte("plain "))
			p.ok(err)
			return withFile(p.at("f"), unix.O_WRONLY|unix.O_SYNC, func(synced int) error {
				_, err := unix.Pwrite(synced, []byte("synced"), 6)
				p.ok(err)
				if p.m != nil {
					if _, got := p.m.object(p.dir[len(p.m.dir)+1:] + "/f"); got != "plain synced" {
						p.Errorf("the store has %q", got)
					}
				}
				_, err = unix.Pwrite(fd, []byte("P"), 0)
				return err
			})
		}))
		if b, err := os.ReadFile(p.at("f")); string(b) != "Plain synced" || err != nil {
			p.Errorf("%q, %v", b, err)
		}
	}}, {"read and write of the wrong kind", func(p *posix) {
		p.ok(os.WriteFile(p.at("f"), []byte("x"), 0o644))
		p.ok(withFile(p.at("f"), unix.O_WRONLY, func(fd int) error {
			_, err := unix.Read(fd, make([]byte, 1))
			p.want(err, unix.EBADF)
			return nil
		}))
		p.ok(withFile(p.dir, unix.O_RDONLY, func(fd int) error {
			_, err := unix.Read(fd, make([]byte, 1))
			p.want(err, unix.EISDIR)
			return unix.Fsync(fd)
		}))
		fd, err := unix.Open(p.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
		if p.m != nil {
			p.want(err, unix.EOPNOTSUPP)
		} else {
			p.ok(errors.Join(err, unix.Close(fd)))
		}
	}}}
}
