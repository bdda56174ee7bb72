package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSystemsThatCannotMount(t *testing.T) {
	dir := t.TempDir()
	conf := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	strict, open := conf("strict", "# user_allow_other\nmount_max = 5\n"), conf("open", "mount_max = 5\n user_allow_other\n")
	have := func() (string, error) { return "/bin/fusermount3", nil }
	miss := func() (string, error) { return "", exec.ErrNotFound }
	for _, tt := range []struct {
		name       string
		f          fuse
		allowOther bool
		want       string
	}{
		{"root", fuse{"/dev/null", strict, miss, true}, true, ""},
		{"user", fuse{"/dev/null", strict, have, false}, false, ""},
		{"user who lets others in", fuse{"/dev/null", open, have, false}, true, ""},
		{
			"no FUSE",
			fuse{filepath.Join(dir, "fuse"), strict, have, true},
			false,
			"thawfs: this system offers no FUSE: " + filepath.Join(dir, "fuse") + " is missing.\n" +
				"Load it with: sudo modprobe fuse\nIn a container: docker run --device /dev/fuse --cap-add SYS_ADMIN ...",
		},
		{
			"device that cannot be opened",
			fuse{dir, strict, have, true},
			false,
			"thawfs: " + dir + " cannot be opened: is a directory.\n" +
				"Its permissions should be 0666. In a container: docker run --device /dev/fuse --cap-add SYS_ADMIN ...",
		},
		{
			"user without fusermount3",
			fuse{"/dev/null", strict, miss, false},
			false,
			"thawfs: only root can mount here: the program fusermount3 is missing.\nInstall the package fuse3, or run thawfs as root.",
		},
		{
			"others not allowed",
			fuse{"/dev/null", strict, have, false},
			true,
			"thawfs: other users cannot be let in: " + strict + " does not allow it.\nAdd the line user_allow_other to " + strict + ", or leave --allow-other out.",
		},
		{
			"no configuration",
			fuse{"/dev/null", "/nonexistent/fuse.conf", have, false},
			true,
			"thawfs: other users cannot be let in: /nonexistent/fuse.conf does not allow it.\nAdd the line user_allow_other to /nonexistent/fuse.conf, or leave --allow-other out.",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.f.check(tt.allowOther)
			if tt.want != "" {
				wantReport(t, err, exitFailed, tt.want)
			} else if err != nil {
				t.Errorf("check = %v, want none", err)
			}
		})
	}
}
