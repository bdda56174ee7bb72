package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fsType is what the kernel calls our mounts.
const fsType = "fuse.thawfs"

// mountPath is path as the mount table spells it. Its last element is not looked at: that
// would fail where a dead mount is in the way.
func mountPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", wrong("the working directory cannot be found", "Write the mountpoint as an absolute path.").because(err)
	}
	if abs == "/" {
		return abs, nil
	}
	if whole, err := filepath.EvalSymlinks(abs); err == nil {
		return whole, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return abs, nil // it will be missed by whoever looks for it
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}

// findMount returns the mount on top of path, nil if there is none.
func findMount(path string) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != path, false })
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], nil
}

// prepareMountpoint checks that path can be mounted upon, and clears away a mount of ours
// whose process is dead. path is a result of mountPath.
func prepareMountpoint(path string) error {
	on, err := findMount(path)
	if err != nil {
		return err
	}
	if on != nil && on.FSType == fsType && dead(path) {
		if err := detach(path); err != nil {
			return wrong(fmt.Sprintf("a dead mount of %s is in the way on %s: %v", on.Source, path, err),
				"Clear it away with: sudo umount -l "+shellQuote(path)).because(err)
		}
		return prepareMountpoint(path)
	}
	if on != nil && on.FSType != "autofs" { // systemd's automount waits there for us
		return alreadyMounted(path, on)
	}
	return checkDirectory(path)
}

func alreadyMounted(path string, on *mountinfo.Info) *problem {
	if on.FSType == fsType {
		return wrong(fmt.Sprintf("%s is mounted on %s already", on.Source, path), "Unmount it first with: thawfs umount "+shellQuote(path))
	}
	return wrong(fmt.Sprintf("%s is the mountpoint of something else (%s, %s)", path, on.FSType, on.Source), "Choose another directory.")
}

// checkDirectory checks that path is an empty directory.
func checkDirectory(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return wrong("the mountpoint "+path+" does not exist", "Create it with: mkdir -p "+shellQuote(path)).because(err)
	case errors.Is(err, unix.ENOTCONN):
		return inDeadMount(path).because(err)
	case err != nil:
		return wrong(fmt.Sprintf("the mountpoint %s cannot be used: %v", path, reason(err)), "Choose a directory of your own.").because(err)
	case !info.IsDir():
		return wrong("the mountpoint "+path+" is not a directory", "Choose an empty directory.")
	}
	d, err := os.Open(path)
	if err != nil {
		return wrong(fmt.Sprintf("the mountpoint %s cannot be used: %v", path, reason(err)), "Choose a directory of your own.").because(err)
	}
	defer func() { _ = d.Close() }() // only read
	if _, err := d.ReadDir(1); !errors.Is(err, io.EOF) {
		return wrong("the mountpoint "+path+" is not empty: the mount would hide what is in it", "Choose an empty directory.")
	}
	return nil
}

// inDeadMount says which mount makes path fail with ENOTCONN.
func inDeadMount(path string) *problem {
	on := enclosing(path)
	if on == nil { // it has gone meanwhile
		return wrong("the mountpoint "+path+" could not be looked at", "Try again.")
	}
	clear := "umount -l "
	if on.FSType == fsType {
		clear = "thawfs umount "
	}
	return wrong(fmt.Sprintf("the mountpoint %s lies in a mount whose process is dead: %s", path, on.Mountpoint),
		"Clear that away with: "+clear+shellQuote(on.Mountpoint))
}

// enclosing is the FUSE mount that path lies in, nil if it lies in none.
func enclosing(path string) *mountinfo.Info {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if on, err := findMount(dir); err == nil && on != nil {
			if strings.HasPrefix(on.FSType, "fuse") {
				return on
			}
			return nil
		}
		if dir == "/" {
			return nil
		}
	}
}

// apart checks that nothing that serves the mount lies behind it: reading it would wait for
// itself.
func apart(mountpoint, cache string, s source) error {
	switch {
	case inside(cache, mountpoint):
		return wrong(fmt.Sprintf("the cache directory %s lies in the mountpoint %s", cache, mountpoint),
			"Name one elsewhere with --cache-dir DIR.")
	case s.scheme == "local" && inside(s.dir, mountpoint):
		return wrong(fmt.Sprintf("the store %s lies in the mountpoint %s", s.dir, mountpoint), "Choose a mountpoint elsewhere.")
	case s.scheme == "local" && inside(mountpoint, s.dir):
		return wrong(fmt.Sprintf("the mountpoint %s lies in the store %s", mountpoint, s.dir), "Choose a mountpoint elsewhere.")
	}
	return nil
}

// inside reports whether path is dir or below it, also where path does not exist yet and
// symbolic links lead there.
func inside(path, dir string) bool {
	for p := path; ; p = filepath.Dir(p) {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			path = filepath.Join(real, strings.TrimPrefix(path, p))
			break
		}
		if p == "/" {
			break
		}
	}
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// dead reports whether the process behind a FUSE mount is gone. The kernel is told not to
// answer from what it remembers: attributes outlive the process by their time to live.
func dead(path string) bool {
	var st unix.Statx_t
	return errors.Is(unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st), unix.ENOTCONN)
}

// detach takes a mount out of the tree. Programs keep what they have open there.
func detach(path string) error { return kernelUnmount(path, true) }

func kernelUnmount(path string, lazy bool) error {
	flags, arg := unix.UMOUNT_NOFOLLOW, "-u"
	if lazy {
		flags, arg = flags|unix.MNT_DETACH, "-uz"
	}
	err := unix.Unmount(path, flags)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	tool, notFound := fusermount()
	if notFound != nil {
		return err
	}
	out, err := exec.Command(tool, arg, "--", path).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace(string(out)))
	}
	return nil
}

// fusermount finds the program that mounts for users who are not root.
func fusermount() (string, error) {
	if tool, err := exec.LookPath("fusermount3"); err == nil {
		return tool, nil
	}
	return exec.LookPath("fusermount")
}
