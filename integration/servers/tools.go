package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packages are the programs that tests drive over a mount, with their Debian packages.
var packages = map[string]string{
	"borg":        "borgbackup",
	"bsdtar":      "libarchive-tools",
	"file":        "file",
	"fusermount3": "fuse3",
	"getfattr":    "attr",
	"git":         "git",
	"mkfs.ext4":   "e2fsprogs",
	"mkfs.xfs":    "xfsprogs",
	"restic":      "restic",
	"python3":     "python3",
	"rsync":       "rsync",
	"setfattr":    "attr",
	"sqlite3":     "sqlite3",
	"swift":       "python3-swiftclient",
	"tar":         "tar",
	"updatedb":    "plocate",
}

// Tool returns the path of a program that a test drives: restic, rsync, sqlite3 and others. As
// root it installs the Debian package if the program is missing; otherwise the test fails and
// names the command to run.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := findTool(t.Context(), name, os.Stderr)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	return path
}

func toolNames() []string { return slices.Sorted(maps.Keys(packages)) }

// findTool looks for a program and installs its package if it is not there.
func findTool(ctx context.Context, name string, out io.Writer) (string, error) {
	if path, ok := look(name); ok {
		return path, nil
	}
	pkg := packages[name]
	if pkg == "" {
		return "", fmt.Errorf("%s is not installed, and its Debian package is not known to integration/servers", name)
	}
	if err := debian(ctx, out, pkg); err != nil {
		return "", fmt.Errorf("%s is not installed: %w", name, err)
	}
	if path, ok := look(name); ok {
		return path, nil
	}
	return "", fmt.Errorf("package %s was installed and holds no %s", pkg, name)
}

// look is exec.LookPath that knows of the directories only root has in its PATH.
func look(name string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); exists(path) {
			return path, true
		}
	}
	return "", false
}

// debian installs packages. The lists of packages are brought up to date only when that is
// what it takes, which is once on a new machine.
func debian(ctx context.Context, out io.Writer, pkgs ...string) error {
	install := append([]string{"apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, pkgs...)
	if os.Geteuid() != 0 {
		return fmt.Errorf("run: sudo %s", strings.Join(install, " "))
	}
	return locked("apt", func() (err error) {
		b := &builder{name: pkgs[0], dir: "/", out: out}
		b.say("installing from Debian: %s", strings.Join(pkgs, " "))
		free, err := keepDaemonsDown()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, free()) }()
		env := append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		first := b.run(ctx, env, install...)
		if first == nil {
			return nil
		}
		if err := b.run(ctx, env, "apt-get", "update", "-q"); err != nil {
			return errors.Join(first, err)
		}
		return b.run(ctx, env, install...)
	})
}

// policy is the program that Debian's packages ask whether they may start their daemons
// (invoke-rc.d, "policy-rc.d interface specification").
const policy = "/usr/sbin/policy-rc.d"

// keepDaemonsDown keeps the daemons of packages that are installed from being started, and
// returns what allows it again.
func keepDaemonsDown() (free func() error, err error) {
	if exists(policy) {
		return func() error { return nil }, nil // whose machine this is has decided
	}
	if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(policy) }, nil
}
