package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMountpointsThatWillNotDo(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(in("file"), nil, 0o600),
		os.MkdirAll(in("full/.hidden"), 0o700),
		os.Mkdir(in("empty"), 0o700),
		os.Symlink("empty", in("link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, path, want string }{
		{"missing", in("new"), "thawfs: the mountpoint " + in("new") + " does not exist.\nCreate it with: mkdir -p " + in("new")},
		{"missing, odd name", in("it's new"), "thawfs: the mountpoint " + in("it's new") + " does not exist.\nCreate it with: mkdir -p '" + in(`it'\''s new`) + "'"},
		{"below a missing one", in("a/b/c"), "thawfs: the mountpoint " + in("a/b/c") + " does not exist.\nCreate it with: mkdir -p " + in("a/b/c")},
		{"a file", in("file"), "thawfs: the mountpoint " + in("file") + " is not a directory.\nChoose an empty directory."},
		{"below a file", in("file/x"), "thawfs: the mountpoint " + in("file/x") + " cannot be used: not a directory.\nChoose a directory of your own."},
		{"not empty", in("full"), "thawfs: the mountpoint " + in("full") + " is not empty: the mount would hide what is in it.\nChoose an empty directory."},
		{"of another file system", "/proc", "thawfs: /proc is the mountpoint of something else (proc, proc).\nChoose another directory."},
		{"empty", in("empty"), ""},
		{"link to an empty one", in("link"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := mountPath(tt.path)
			if err == nil {
				err = prepareMountpoint(path)
			}
			if tt.want != "" {
				wantReport(t, err, exitFailed, tt.want)
			} else if err != nil {
				t.Errorf("prepareMountpoint(%q) = %v, want none", path, err)
			}
		})
	}
}

func TestNothingThatServesAMountLiesBehindIt(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(in("mnt"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("mnt", in("link")); err != nil {
		t.Fatal(err)
	}
	s3, store := source{scheme: "s3"}, source{scheme: "local", dir: in("store")}
	for _, tt := range []struct {
		name, mountpoint, cache string
		s                       source
		want                    string
	}{
		{"apart", in("mnt"), in("cache"), store, ""},
		{"names that begin alike", in("mnt"), in("mnt2"), s3, ""},
		{"cache in the mountpoint", in("mnt"), in("mnt/a/b"), s3, "thawfs: the cache directory " + in("mnt/a/b") + " lies in the mountpoint " + in("mnt") + ".\nName one elsewhere with --cache-dir DIR."},
		{"cache behind a link", in("mnt"), in("link/a"), s3, "thawfs: the cache directory " + in("link/a") + " lies in the mountpoint " + in("mnt") + ".\nName one elsewhere with --cache-dir DIR."},
		{"cache in the root", "/", in("a"), s3, "thawfs: the cache directory " + in("a") + " lies in the mountpoint /.\nName one elsewhere with --cache-dir DIR."},
		{"store is the mountpoint", in("store"), in("cache"), store, "thawfs: the store " + in("store") + " lies in the mountpoint " + in("store") + ".\nChoose a mountpoint elsewhere."},
		{"store in the mountpoint", dir, "/elsewhere", store, "thawfs: the store " + in("store") + " lies in the mountpoint " + dir + ".\nChoose a mountpoint elsewhere."},
		{"mountpoint in the store", in("store/mnt"), in("cache"), store, "thawfs: the mountpoint " + in("store/mnt") + " lies in the store " + in("store") + ".\nChoose a mountpoint elsewhere."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := apart(tt.mountpoint, tt.cache, tt.s)
			if tt.want != "" {
				wantReport(t, err, exitFailed, tt.want)
			} else if err != nil {
				t.Errorf("apart(%q, %q, %v) = %v, want none", tt.mountpoint, tt.cache, tt.s, err)
			}
		})
	}
}
