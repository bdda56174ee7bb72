package fs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPosixTimes(t *testing.T) {
	runPosix(t, utimeCases(), touchCases(), openCases(), truncateCases())
}

func spec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

func setTimes(path string, a, m unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{a, m}, unix.AT_SYMLINK_NOFOLLOW)
}

var (
	utimeNow  = unix.Timespec{Nsec: unix.UTIME_NOW}
	utimeOmit = unix.Timespec{Nsec: unix.UTIME_OMIT}
)

func utimeCases() (cases []posixCase) {
	for _, k := range kinds {
		cases = append(cases, posixCase{"utimensat of a " + k.name, func(p *posix) {
			k.make(p, "f")
			a, m := time.Unix(1_234_567_890, 123_456_789), time.Unix(987_654_321, 1)
			p.tick()
			before := p.stat("f")
			p.ok(setTimes(p.at("f"), spec(a), spec(m)))
			st := p.stat("f")
			if !timeOf(st.Atim).Equal(a) || !timeOf(st.Mtim).Equal(m) || !timeOf(st.Ctim).After(timeOf(before.Ctim)) {
				p.Errorf("atime %v, mtime %v, ctime %v", timeOf(st.Atim), timeOf(st.Mtim), timeOf(st.Ctim))
			}
			p.ok(setTimes(p.at("f"), utimeOmit, spec(a)))
			p.ok(setTimes(p.at("f"), spec(m), utimeOmit))
			if st = p.stat("f"); !timeOf(st.Atim).Equal(m) || !timeOf(st.Mtim).Equal(a) {
				p.Errorf("after two omissions: atime %v, mtime %v", timeOf(st.Atim), timeOf(st.Mtim))
			}
			p.moves("f", "", func() { p.ok(setTimes(p.at("f"), utimeOmit, utimeOmit)) })
			start := time.Now().Add(-time.Second)
			p.ok(setTimes(p.at("f"), utimeNow, utimeNow))
			if st = p.stat("f"); timeOf(st.Atim).Before(start) || timeOf(st.Mtim).Before(start) {
				p.Errorf("after UTIME_NOW: atime %v, mtime %v", timeOf(st.Atim), timeOf(st.Mtim))
			}
		}})
	}
	return append(cases, posixCase{"times before 1970 and after 2106", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		// The local disk of the comparison ends in 2446.
		for _, when := range []time.Time{time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 999_999_999), time.Unix(-1, 0), time.Unix(-86_400*365, 500_000_000), time.Unix(1<<32, 7), time.Unix(1<<33, 999_999_999), time.Unix(-1<<31, 0)} {
			p.ok(setTimes(p.at("f"), spec(when), spec(when)))
			if st := p.stat("f"); !timeOf(st.Mtim).Equal(when) || !timeOf(st.Atim).Equal(when) {
				p.Errorf("set %v, got mtime %v, atime %v", when.UTC(), timeOf(st.Mtim).UTC(), timeOf(st.Atim).UTC())
			}
		}
	}}, posixCase{"whose times one may set", func(p *posix) {
		p.file("shut", 0o644, alice, alice)
		p.file("open", 0o666, alice, alice)
		when := spec(time.Unix(1, 0))
		for _, tt := range []struct {
			uid  int
			name string
			a, m unix.Timespec
			want syscall.Errno
		}{
			{alice, "shut", when, when, 0},
			{alice, "shut", utimeNow, utimeNow, 0},
			{bob, "shut", when, when, unix.EPERM},
			{bob, "shut", utimeNow, utimeNow, unix.EACCES},
			{bob, "shut", utimeOmit, utimeNow, unix.EPERM},
			{bob, "shut", utimeOmit, utimeOmit, 0},
			{bob, "open", when, when, unix.EPERM},
			{bob, "open", utimeNow, utimeNow, 0},
			{bob, "open", utimeNow, utimeOmit, unix.EPERM},
		} {
			p.as(tt.uid, tt.uid, func() { p.want(setTimes(p.at(tt.name), tt.a, tt.m), tt.want) })
		}
		p.want(setTimes(p.at("open"), unix.Timespec{Nsec: 1e9}, when), unix.EINVAL)
	}})
}

// touchCases tell which times an operation moves.
func touchCases() (cases []posixCase) {
	for _, tt := range []struct {
		name, moves string
		do          func(path string) error
	}{
		{"write", "mc", writeByte},
		{"truncate", "mc", func(path string) error { return unix.Truncate(path, 3) }},
		{"truncate to more", "mc", func(path string) error { return unix.Truncate(path, 30_000) }},
		{"O_TRUNC", "mc", func(path string) error { return openClose(path, unix.O_WRONLY|unix.O_TRUNC) }},
		{"open to write and close", "", func(path string) error { return openClose(path, unix.O_RDWR) }},
		{"O_CREAT of what exists", "", func(path string) error { return openClose(path, unix.O_RDWR|unix.O_CREAT) }},
		{"chmod", "c", func(path string) error { return unix.Chmod(path, 0o600) }},
		{"setxattr", "c", func(path string) error { return unix.Setxattr(path, "user.a", []byte("b"), 0) }},
		{"fallocate beyond the end", "mc", func(path string) error {
			return withFile(path, unix.O_WRONLY, func(fd int) error { return unix.Fallocate(fd, 0, 100_000, 10) })
		}},
		{"punch a hole", "mc", func(path string) error {
			return withFile(path, unix.O_WRONLY, func(fd int) error {
				return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
			})
		}},
	} {
		cases = append(cases, posixCase{"times after " + tt.name, func(p *posix) {
			p.ok(os.WriteFile(p.at("f"), make([]byte, 9000), 0o644))
			p.moves("f", tt.moves, func() { p.ok(tt.do(p.at("f"))) })
		}})
	}
	return append(cases, posixCase{"a time set while writing stays", func(p *posix) {
		when := time.Unix(1_000_000_000, 42)
		p.ok(withFile(p.at("f"), unix.O_CREAT|unix.O_RDWR, func(fd int) error {
			_, err := unix.Write(fd, []byte("bytes"))
			ts := []unix.Timespec{spec(when), spec(when)}
			return cmpErr(err, unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), ts, 0))
		}))
		if got := timeOf(p.stat("f").Mtim); !got.Equal(when) {
			p.Errorf("mtime %v, want %v", got, when)
		}
	}}, posixCase{"a directory's times", func(p *posix) {
		p.mkdir("d", 0o755, 0, 0)
		p.file("d/f", 0o644, 0, 0)
		p.moves("d", "", func() { p.ok(writeByte(p.at("d/f"))) })
		p.moves("d", "", func() { p.ok(unix.Chmod(p.at("d/f"), 0o600)) })
		p.moves("d", "", func() { p.ok(openClose(p.at("d/f"), unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)) })
		p.moves("d", "mc", func() { p.ok(unix.Rename(p.at("d/f"), p.at("d/g"))) })
		p.moves("d", "mc", func() { p.ok(openClose(p.at("d/new"), unix.O_RDWR|unix.O_CREAT)) })
	}})
}

func openCases() []posixCase {
	return []posixCase{{"open of things that are no files", func(p *posix) {
		p.mkdir("d", 0o755, 0, 0)
		p.file("f", 0o644, 0, 0)
		p.ok(unix.Symlink("f", p.at("l")))
		p.ok(unix.Symlink("made", p.at("dangling")))
		p.ok(unix.Mknod(p.at("sock"), unix.S_IFSOCK|0o644, 0))
		p.ok(unix.Mkfifo(p.at("fifo"), 0o644))
		for _, tt := range []struct {
			name  string
			flags int
			want  syscall.Errno
		}{
			{"d", unix.O_RDONLY, 0},
			{"d", unix.O_WRONLY, unix.EISDIR},
			{"d", unix.O_RDWR, unix.EISDIR},
			{"d", unix.O_RDONLY | unix.O_TRUNC, unix.EISDIR},
			{"d", unix.O_RDWR | unix.O_CREAT, unix.EISDIR},
			{"f", unix.O_RDONLY | unix.O_DIRECTORY, unix.ENOTDIR},
			{"f/", unix.O_RDONLY, unix.ENOTDIR},
			{"f", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
			{"l", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
			{"l", unix.O_RDONLY | unix.O_NOFOLLOW, unix.ELOOP},
			{"dangling", unix.O_RDONLY, unix.ENOENT},
			{"dangling", unix.O_RDONLY | unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
			{"dangling", unix.O_RDWR | unix.O_CREAT, 0},
			{"made", unix.O_RDONLY, 0},
			{"sock", unix.O_RDONLY, unix.ENXIO},
			{"fifo", unix.O_WRONLY | unix.O_NONBLOCK, unix.ENXIO},
			{"fifo", unix.O_RDONLY | unix.O_NONBLOCK, 0},
			{"new/", unix.O_RDWR | unix.O_CREAT, unix.EISDIR},
		} {
			if err := openClose(p.at(tt.name), tt.flags); err != tt.want && !(err == nil && tt.want == 0) {
				p.Errorf("open %s %#x: %v, want %v", tt.name, tt.flags, err, tt.want)
			}
		}
	}}, {"create without the right to write", func(p *posix) {
		fd, err := unix.Open(p.at("f"), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0)
		p.ok(err)
		_, err = unix.Write(fd, []byte("x"))
		p.want(err, 0)
		p.ok(unix.Close(fd))
		p.wantMode("f", 0)
	}}, {"a program that runs", func(p *posix) {
		sleep, err := os.ReadFile("/bin/sleep")
		p.ok(err)
		p.ok(os.WriteFile(p.at("prog"), sleep, 0o755))
		// A shell starts it: of a program that it starts itself this process could not serve the
		// file while it waits for the start.
		prog := exec.CommandContext(p.Context(), "/bin/sh", "-c", `exec "$0" 1000`, p.at("prog"))
		p.ok(prog.Start())
		for target := ""; !strings.HasSuffix(target, "/prog"); { // until it is no shell any more
			target, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", prog.Process.Pid))
			p.ok(err)
		}
		p.want(openClose(p.at("prog"), unix.O_WRONLY), unix.ETXTBSY)
		p.want(unix.Truncate(p.at("prog"), 1), unix.ETXTBSY)
		p.ok(prog.Process.Kill())
		_ = prog.Wait() // killed
		p.ok(withFile(p.at("prog"), unix.O_WRONLY, func(int) error {
			out, err := exec.CommandContext(p.Context(), "/bin/sh", "-c", `exec "$0" 0`, p.at("prog")).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "busy") {
				p.Errorf("a program that is open to write was started: %v, %s", err, out)
			}
			return nil
		}))
	}}, {"offsets beyond any file", func(p *posix) {
		p.ok(withFile(p.at("f"), unix.O_CREAT|unix.O_RDWR, func(fd int) error {
			_, err := unix.Seek(fd, -1, unix.SEEK_SET)
			p.want(err, unix.EINVAL)
			_, err = unix.Pwrite(fd, []byte("x"), -1)
			p.want(err, unix.EINVAL)
			_, err = unix.Pread(fd, make([]byte, 1), 1<<40)
			p.want(err, 0)
			p.want(unix.Ftruncate(fd, -1), unix.EINVAL)
			_, err = unix.Write(fd, nil)
			p.want(err, 0)
			return nil
		}))
	}}, {"O_APPEND", func(p *posix) {
		p.ok(os.WriteFile(p.at("f"), []byte("123"), 0o644))
		p.ok(withFile(p.at("f"), unix.O_RDWR|unix.O_APPEND, func(fd int) error {
			_, err := unix.Write(fd, []byte("4"))
			p.want(err, 0)
			p.ok(unix.Truncate(p.at("f"), 2))
			_, err = unix.Write(fd, []byte("5"))
			return err
		}))
		b, err := os.ReadFile(p.at("f"))
		p.ok(err)
		if string(b) != "125" {
			p.Errorf("%q, want 125", b)
		}
	}}}
}

func truncateCases() []posixCase {
	return []posixCase{{"truncate", func(p *posix) {
		p.ok(os.WriteFile(p.at("f"), []byte("0123456789"), 0o644))
		p.mkdir("d", 0o755, 0, 0)
		p.want(unix.Truncate(p.at("f"), -1), unix.EINVAL)
		p.want(unix.Truncate(p.at("d"), 1), unix.EISDIR)
		p.ok(unix.Mkfifo(p.at("fifo"), 0o644))
		p.want(unix.Truncate(p.at("fifo"), 1), unix.EINVAL)
		p.ok(unix.Truncate(p.at("f"), 5))
		p.ok(unix.Truncate(p.at("f"), 8))
		b, err := os.ReadFile(p.at("f"))
		p.ok(err)
		if string(b) != "01234\x00\x00\x00" {
			p.Errorf("%q", b)
		}
		const large = 1 << 40 // a hole
		p.ok(unix.Truncate(p.at("f"), large))
		if size := p.stat("f").Size; size != large {
			p.Errorf("size %d, want %d", size, int64(large))
		}
		p.ok(unix.Truncate(p.at("f"), 0))
	}}, {"truncate asks the mode", func(p *posix) {
		p.file("f", 0o644, alice, alice)
		p.as(bob, bob, func() { p.want(unix.Truncate(p.at("f"), 1), unix.EACCES) })
		p.ok(withFile(p.at("f"), unix.O_RDONLY, func(fd int) error {
			p.want(unix.Ftruncate(fd, 1), unix.EINVAL)
			return nil
		}))
		p.as(alice, alice, func() { // what was opened to write stays so
			fd, err := unix.Open(p.at("g"), unix.O_CREAT|unix.O_RDWR, 0)
			p.want(err, 0)
			p.want(unix.Ftruncate(fd, 5), 0)
			p.want(unix.Close(fd), 0)
		})
	}}}
}
