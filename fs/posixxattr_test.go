package fs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

func TestPosixXattrs(t *testing.T) { runPosix(t, xattrCases()) }

// xattrCases are those of a file and of a directory.
func xattrCases() (cases []posixCase) {
	for _, k := range kinds[:2] {
		cases = append(cases, posixCase{"xattrs of a " + k.name, func(p *posix) {
			k.make(p, "f")
			f := p.at("f")
			buf := make([]byte, 100)
			_, err := unix.Getxattr(f, "user.a", buf)
			p.want(err, unix.ENODATA)
			p.want(unix.Removexattr(f, "user.a"), unix.ENODATA)
			p.want(unix.Setxattr(f, "user.a", []byte("v"), unix.XATTR_REPLACE), unix.ENODATA)
			p.moves("f", "c", func() { p.want(unix.Setxattr(f, "user.a", []byte("value"), unix.XATTR_CREATE), 0) })
			p.want(unix.Setxattr(f, "user.a", []byte("other"), unix.XATTR_CREATE), unix.EEXIST)
			p.want(unix.Setxattr(f, "user.a", []byte("longer value"), unix.XATTR_REPLACE), 0)
			n, err := unix.Getxattr(f, "user.a", nil)
			if n != 12 || err != nil {
				p.Errorf("size %d, %v", n, err)
			}
			_, err = unix.Getxattr(f, "user.a", buf[:11])
			p.want(err, unix.ERANGE)
			p.want(unix.Setxattr(f, "user.b", nil, 0), 0)
			n, err = unix.Getxattr(f, "user.b", buf)
			if n != 0 || err != nil {
				p.Errorf("empty value: %d, %v", n, err)
			}
			n, err = unix.Listxattr(f, buf)
			p.ok(err)
			if got := string(buf[:n]); got != "user.a\x00user.b\x00" && got != "user.b\x00user.a\x00" {
				p.Errorf("listed %q", got)
			}
			_, err = unix.Listxattr(f, buf[:13])
			p.want(err, unix.ERANGE)
			p.moves("f", "c", func() { p.want(unix.Removexattr(f, "user.b"), 0) })
			p.want(unix.Setxattr(f, "user."+strings.Repeat("n", 251), nil, 0), unix.ERANGE)
			p.want(unix.Setxattr(f, "", nil, 0), unix.ERANGE)
			p.want(unix.Setxattr(f, "nothing", nil, 0), unix.EOPNOTSUPP)
			p.want(unix.Setxattr(f, "user.", []byte("x"), 0), unix.EINVAL)
			p.want(unix.Setxattr(f, "user.big", make([]byte, 65537), 0), unix.E2BIG)
			p.ok(unix.Rename(f, p.at("g")))
			if v, err := xattrOf(p.at("g"), "user.a"); v != "longer value" || err != nil {
				p.Errorf("after rename %q, %v", v, err)
			}
		}})
	}
	return append(cases, posixCase{"xattrs ask the mode", func(p *posix) {
		p.file("f", 0o644, alice, alice)
		p.file("shut", 0o600, alice, alice)
		p.ok(unix.Setxattr(p.at("shut"), "user.a", []byte("v"), 0))
		p.as(bob, bob, func() {
			p.want(unix.Setxattr(p.at("f"), "user.a", []byte("v"), 0), unix.EACCES)
			_, err := unix.Getxattr(p.at("shut"), "user.a", nil)
			p.want(err, unix.EACCES)
		})
	}}, posixCase{"user xattrs are for files and directories", func(p *posix) {
		p.ok(unix.Symlink("x", p.at("l")))
		p.want(unix.Lsetxattr(p.at("l"), "user.a", []byte("v"), 0), unix.EPERM)
		p.ok(unix.Mkfifo(p.at("fifo"), 0o600))
		p.want(unix.Setxattr(p.at("fifo"), "user.a", []byte("v"), 0), unix.EPERM)
	}}, posixCase{"many xattrs", func(p *posix) {
		p.file("f", 0o644, 0, 0)
		for i := range 40 {
			p.want(unix.Setxattr(p.at("f"), fmt.Sprintf("user.name-%02d", i), []byte(strings.Repeat("v", i%7)), 0), 0)
		}
		buf := make([]byte, 4000)
		n, err := unix.Listxattr(p.at("f"), buf)
		if err != nil || strings.Count(string(buf[:n]), "\x00") != 40 {
			p.Errorf("%d bytes of names, %v", n, err)
		}
		for i := range 40 {
			if v, err := xattrOf(p.at("f"), fmt.Sprintf("user.name-%02d", i)); v != strings.Repeat("v", i%7) || err != nil {
				p.Errorf("value %d is %q, %v", i, v, err)
			}
		}
	}})
}

// TestMetadataThatDoesNotFit fills the 2 KiB of an object: what is refused changes nothing,
// and what was taken gets to the store.
func TestMetadataThatDoesNotFit(t *testing.T) {
	m := mount(t)
	m.write("f", "x")
	must(t, os.Mkdir(m.path("d"), 0o755))
	for _, name := range []string{"f", "d"} {
		var taken []string
		for i := range 40 {
			attr := fmt.Sprintf("user.%02d", i)
			err := unix.Setxattr(m.path(name), attr, make([]byte, 100), 0)
			if err == unix.E2BIG {
				break
			}
			must(t, err)
			taken = append(taken, attr)
		}
		if len(taken) == 0 || len(taken) == 40 {
			t.Fatalf("%s took %d xattrs of 100 bytes", name, len(taken))
		}
		must(t, os.Chmod(m.path(name), 0o700))
		m.remount()
		for _, attr := range taken {
			if v, err := xattrOf(m.path(name), attr); len(v) != 100 || err != nil {
				t.Errorf("%s of %s: %d bytes, %v", attr, name, len(v), err)
			}
		}
	}
}

// TestMetadataOfAllBytes stores values that no header can carry as they are.
func TestMetadataOfAllBytes(t *testing.T) {
	m := mount(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := map[string]string{
		"user.all": string(all), "user.Upper Case": " blanks ", "user.a:b=c\"d": "\r\n", "user.ü": "ü", "user.%41": "%41", "user.{,}": "{}", "user.\xff": "\xff",
	}
	m.write("f", "x")
	for name, value := range want {
		must(t, unix.Setxattr(m.path("f"), name, []byte(value), 0))
	}
	for _, target := range []string{" blanks ", "new\nline", "ü/%41", "\xff", "-"} {
		must(t, os.Symlink(target, m.path("link")))
		m.remount()
		if got, err := os.Readlink(m.path("link")); got != target || err != nil {
			t.Errorf("target %q, %v, want %q", got, err, target)
		}
		must(t, os.Remove(m.path("link")))
	}
	for name, value := range want {
		if got, err := xattrOf(m.path("f"), name); got != value || err != nil {
			t.Errorf("%q is %q, %v, want %q", name, got, err, value)
		}
	}
}

// TestChangesKeepWhatOthersSaid changes attributes and bytes of an object that other programs
// have described.
func TestChangesKeepWhatOthersSaid(t *testing.T) {
	m := mount(t)
	meta := map[string]string{"project": "thaw", "x-odd": "a b"}
	header := map[string]string{"content-type": "image/jpeg", "cache-control": "max-age=60", "content-encoding": "identity"}
	m.put("f", "bytes", backend.Attrs{Meta: meta, Header: header})
	for name, do := range map[string]func() error{
		"chmod":    func() error { return os.Chmod(m.path("f"), 0o600) },
		"chown":    func() error { return os.Chown(m.path("f"), 5, 6) },
		"setxattr": func() error { return unix.Setxattr(m.path("f"), "user.mine", []byte("v"), 0) },
		"utimes":   func() error { return unix.Utimes(m.path("f"), []unix.Timeval{{Sec: 1}, {Sec: 2}}) },
		"append": func() error {
			return withFile(m.path("f"), unix.O_WRONLY|unix.O_APPEND, func(fd int) error { _, err := unix.Write(fd, []byte("+")); return err })
		},
		"rename":   func() error { return cmpErr(os.Rename(m.path("f"), m.path("g")), os.Rename(m.path("g"), m.path("f"))) },
		"truncate": func() error { return os.Truncate(m.path("f"), 2) },
	} {
		must(t, do())
		m.remount()
		obj, _ := m.object("f")
		for k, v := range meta {
			if obj.Meta[k] != v {
				t.Errorf("after %s, metadata %s is %q, want %q", name, k, obj.Meta[k], v)
			}
		}
		for k, v := range header {
			if obj.Header[k] != v {
				t.Errorf("after %s, %s is %q, want %q", name, k, obj.Header[k], v)
			}
		}
	}
}
