package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestCacheRoot(t *testing.T) {
	for _, tt := range []struct {
		name, home, xdg, flag string
		helper                bool
		want                  string // of root; others have no /var/cache
	}{
		{"user", "/home/ada", "", "", false, "/home/ada/.cache/thawfs"},
		{"XDG", "/home/ada", "/xdg", "", true, "/xdg/thawfs"},
		{"flag", "/home/ada", "/xdg", "/flag", true, "/flag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("HOME", tt.home)
			t.Setenv("XDG_CACHE_HOME", tt.xdg)
			o := options{cacheDir: tt.flag}
			if got, err := o.cacheRoot(tt.helper); err != nil || got != tt.want {
				t.Errorf("cacheRoot = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestCacheName: what is another store has another cache, what is the same store has the same.
func TestCacheName(t *testing.T) {
	for _, v := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"} {
		t.Setenv(v, "")
	}
	name := func(arg string, o options) string {
		t.Helper()
		s, err := parseSource(arg)
		if err != nil {
			t.Fatal(err)
		}
		return o.cacheName(s)
	}
	first := name("s3://photos", options{})
	for _, same := range []string{
		name("s3://photos/", options{}),
		name("s3://photos", options{readOnly: true, cacheSize: 5, region: "eu-west-1"}),
	} {
		if same != first {
			t.Errorf("cache %q, want that of s3://photos, %q", same, first)
		}
	}
	seen := map[string]string{first: "s3://photos"}
	for what, other := range map[string]string{
		"root":             name("s3://", options{}),
		"prefix":           name("s3://photos/a", options{}),
		"endpoint":         name("s3://photos", options{endpoint: "http://h"}),
		"profile":          name("s3://photos", options{profile: "p"}),
		"local":            name("local:/photos", options{}),
		"local bucket":     name("local:/#photos", options{}),
		"long":             name("s3://photos/"+string(make([]byte, 0))+"x/"+fmt.Sprintf("%0300d", 1), options{}),
		"endpoint, prefix": name("s3://photos/a", options{endpoint: "http://h"}),
	} {
		if was, ok := seen[other]; ok {
			t.Errorf("%s has the cache of %s: %s", what, was, other)
		}
		if seen[other] = what; len(other) > 100 || filepath.Base(other) != other {
			t.Errorf("%s: %q is no good name", what, other)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://h/")
	if a, b := name("s3://photos", options{}), name("s3://photos", options{endpoint: "http://H"}); a != b {
		t.Errorf("endpoint of the environment %q, of the flag %q: want the same", a, b)
	}
}

func TestCacheDirIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := openCache(dir, holder{4711, "s3://photos", "/mnt/photos"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = openCache(dir, holder{1, "s3://photos", "/mnt/b"})
	wantReport(t, err, exitFailed, "thawfs: the last mount of s3://photos, on /mnt/photos, is still sending what was written to it (pid 4711).\n"+
		"Watch it and wait with: thawfs umount /mnt/photos\nOr leave the rest to the next mount with: kill 4711")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, err = openCache(dir, holder{4712, "s3://photos", "/proc"}) // something is mounted there
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_, err = openCache(dir, holder{1, "s3://photos", "/mnt/b"})
	wantReport(t, err, exitFailed, "thawfs: s3://photos is mounted on /proc already (pid 4712), with the cache "+dir+".\n"+
		"Use it there, or unmount it with: thawfs umount /proc\nTo mount it a second time give this mount a cache of its own: --cache-dir DIR")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCacheDirsThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openCache(filepath.Join(file, "cache"), holder{})
	wantReport(t, err, exitFailed, "thawfs: the cache directory "+file+"/cache cannot be used: not a directory.\nName one that you can write to with --cache-dir DIR.")
	_, err = openCache("/proc/cache", holder{}) // root too
	wantReport(t, err, exitFailed, "thawfs: the cache directory /proc/cache cannot be used: no such file or directory.\nName one that you can write to with --cache-dir DIR.")
}

// TestCacheDirsAreOurs has others look into the cache directory, or make it for us.
func TestCacheDirsAreOurs(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.MkdirAll(open, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := openCache(open, holder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{open, filepath.Join(open, "mount.lock")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v: others can look into it", path, info.Mode(), err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	_, err = openCache(link, holder{})
	wantReport(t, err, exitFailed, "thawfs: the cache directory "+link+" cannot be used: it is not a directory.\nName one that you can write to with --cache-dir DIR.")
	if os.Geteuid() != 0 {
		return // only root can give something away
	}
	if err := os.Chown(open, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	_, err = openCache(open, holder{})
	wantReport(t, err, exitFailed, "thawfs: the cache directory "+open+" cannot be used: it belongs to somebody else.\nName one that you can write to with --cache-dir DIR.")
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/mnt/a-b_c.d": "/mnt/a-b_c.d", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "~": "'~'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
