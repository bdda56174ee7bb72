package fs

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPosixExchange(t *testing.T) { runPosix(t, exchangeCases()) }

func exchangeCases() []posixCase {
	return []posixCase{{"RENAME_EXCHANGE", func(p *posix) {
		for _, k := range kinds {
			for _, l := range kinds {
				k.make(p, "f")
				l.make(p, "g")
				f, g := p.stat("f").Ino, p.stat("g").Ino
				p.want(renameat2(p, "f", "g", unix.RENAME_EXCHANGE), 0)
				if p.stat("f").Ino != g || p.stat("g").Ino != f {
					p.Fatalf("a %s and a %s were not exchanged", k.name, l.name)
				}
				p.ok(errors.Join(os.Remove(p.at("f")), os.Remove(p.at("g"))))
			}
		}
		p.file("f", 0o644, 0, 0)
		p.want(renameat2(p, "f", "none", unix.RENAME_EXCHANGE), unix.ENOENT)
		p.want(renameat2(p, "f", "f", unix.RENAME_EXCHANGE), 0)
		p.mkdir("d", 0o755, 0, 0)
		p.mkdir("d/e", 0o755, 0, 0)
		p.want(renameat2(p, "d", "d/e", unix.RENAME_EXCHANGE), unix.EINVAL)
		p.want(renameat2(p, "d/e", "d", unix.RENAME_EXCHANGE), unix.EINVAL)
	}}, {"RENAME_EXCHANGE of trees and contents", func(p *posix) {
		p.mkdir("a", 0o755, 0, 0)
		p.mkdir("a/sub", 0o700, 0, 0)
		p.ok(os.WriteFile(p.at("a/sub/f"), []byte("in a"), 0o644))
		p.mkdir("b", 0o711, 0, 0)
		p.ok(os.WriteFile(p.at("b/g"), []byte("in b"), 0o644))
		p.ok(os.WriteFile(p.at("file"), []byte("plain"), 0o600))
		p.want(renameat2(p, "a", "b", unix.RENAME_EXCHANGE), 0)
		p.want(renameat2(p, "b", "file", unix.RENAME_EXCHANGE), 0)
		for name, want := range map[string]string{"a/g": "in b", "file/sub/f": "in a", "b": "plain"} {
			b, err := os.ReadFile(p.at(name))
			p.ok(err)
			if string(b) != want {
				p.Errorf("%s has %q, want %q", name, b, want)
			}
		}
		p.wantMode("a", 0o711)
		p.wantMode("file/sub", 0o700)
	}}}
}
