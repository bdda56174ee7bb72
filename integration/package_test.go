package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackages makes the packages twice, installs the deb below a directory and removes it.
func TestPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the packager and packs 30 MB twice: a minute")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SOURCE_DATE_EPOCH=1700000000", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	binary, packager := filepath.Join(dir, "thawfs"), filepath.Join(dir, "package")
	run(root, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/thawfs")
	run(filepath.Join(root, "tools", "package"), "go", "build", "-o", packager, ".")
	for _, out := range []string{"one", "two"} {
		run(root, packager, "-binary", binary, "-root", root, "-out", filepath.Join(dir, out))
	}
	made := sumsOf(t, filepath.Join(dir, "one"))
	if len(made) != 4 {
		t.Errorf("made %d files, want a deb, an rpm, a tarball and an SBOM", len(made))
	}
	for name, sum := range sumsOf(t, filepath.Join(dir, "two")) {
		if made[name] != sum {
			t.Errorf("%s is not the same the second time", name)
		}
	}

	admin := filepath.Join(dir, "root", "var", "lib", "dpkg")
	for _, d := range []string{"info", "updates"} {
		if err := os.MkdirAll(filepath.Join(admin, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(admin, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dpkg := func(args ...string) {
		t.Helper()
		run(dir, append([]string{"dpkg", "--root=" + filepath.Join(dir, "root"), "--force-not-root", "--log=/dev/null"}, args...)...)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "one", "*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("debs: %v, %v", debs, err)
	}
	dpkg("--install", debs[0])
	in := func(path string) string { return filepath.Join(dir, "root", path) }
	if out := run(dir, in("usr/bin/thawfs"), "version"); !strings.HasPrefix(out, "thawfs ") {
		t.Errorf("the installed program says %q", out)
	}
	if target, err := os.Readlink(in("usr/sbin/mount.thawfs")); err != nil || target != "../bin/thawfs" {
		t.Errorf("mount.thawfs leads to %q, %v", target, err)
	}
	for _, path := range []string{
		"usr/share/man/man1/thawfs-mount.1.gz", "usr/share/bash-completion/completions/thawfs",
		"usr/lib/systemd/system/thawfs@.service", "usr/share/doc/thawfs/LICENCES", "usr/share/doc/thawfs/CHANGELOG.md",
	} {
		if info, err := os.Stat(in(path)); err != nil || info.Size() == 0 {
			t.Errorf("%s is not installed: %v", path, err)
		}
	}
	run(dir, in("usr/bin/thawfs"), "config", "check", "--config", in("usr/share/doc/thawfs/examples/thawfs.toml"))
	wantModules(t, in("usr/share/doc/thawfs/sbom.cdx.json"))
	dpkg("--remove", "thawfs")
	if left, err := os.ReadDir(in("usr")); err == nil && len(left) > 0 {
		t.Errorf("removal leaves %v behind", left)
	}
}

// sumsOf are the checksums of the files of a directory.
func sumsOf(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][32]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = sha256.Sum256(b)
	}
	return sums
}

// wantModules looks into an SBOM for what is certainly in the program.
func wantModules(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components []struct {
			Name     string
			Licenses []json.RawMessage
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range doc.Components {
		found = found || c.Name == "github.com/hanwen/go-fuse/v2"
		if len(c.Licenses) == 0 || bytes.Equal(c.Licenses[0], []byte("{}")) {
			t.Errorf("the SBOM names no licence of %s", c.Name)
		}
	}
	if !found {
		t.Errorf("the SBOM does not know go-fuse among %d modules", len(doc.Components))
	}
}
