package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// machine looks at what a mount needs here.
func (d *doctor) machine(j *job) {
	f := systemFUSE()
	d.judge("FUSE", fuseText(f), f.check(j.allowOther))
	d.say(passthrough(f.capable, kernel()))
	d.cache(j)
	dir, err := runtimeDir()
	d.judge("control sockets", dir, err)
	d.say(prunes("/etc/updatedb.conf"))
}

func fuseText(f fuse) string {
	if f.capable {
		return "this user may mount"
	}
	tool, err := f.fusermount()
	if err != nil {
		return ""
	}
	return "by " + tool
}

// passthrough says whether the kernel may read cached files by itself: since Linux 6.9, for who
// has CAP_SYS_ADMIN.
func passthrough(capable bool, release string) finding {
	var major, minor int
	_, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	switch {
	case err != nil || major < 6 || major == 6 && minor < 9:
		return finding{"passthrough", isSlower, "Linux " + release + " reads cached files by way of thawfs, at about a third of the speed", "A kernel of 6.9 or later reads them by itself."}
	case !capable:
		return finding{"passthrough", isSlower, "only root's mounts have it; this user's read cached files at about a third of the speed", "Mount as root, with --allow-other for others."}
	}
	return finding{"passthrough", isGood, "Linux " + release, ""}
}

// leastRoom is what a disk should have free, in bytes.
const leastRoom = 1 << 30

// cache looks at the directory of caches, and at the disk below it.
func (d *doctor) cache(j *job) {
	root, err := j.cacheRoot(false)
	if err != nil {
		d.judge("cache", "", err)
		return
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		d.judge("cache", "", cacheProblem(root, err))
		return
	}
	trial, err := os.CreateTemp(root, "doctor-")
	if err != nil {
		d.judge("cache", "", cacheProblem(root, err))
		return
	}
	err = trial.Sync()
	_ = trial.Close() // nothing was written
	if err != nil {
		d.judge("cache", "", cacheProblem(root, err))
	}
	_ = os.Remove(trial.Name()) // it stands in our own directory
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		d.judge("cache", "", cacheProblem(root, err))
		return
	}
	free := int64(st.Bavail) * st.Bsize
	state := finding{"cache", isGood, fmt.Sprintf("%s, %s free", root, size(free)), ""}
	switch {
	case st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC:
		state.State, state.Remedy = isSlower, "It is in memory: what is pending is lost with the next boot. Name a disk with --cache-dir DIR."
	case st.Type == unix.NFS_SUPER_MAGIC || st.Type == unix.SMB2_SUPER_MAGIC || st.Type == unix.FUSE_SUPER_MAGIC:
		state.State, state.Remedy = isSlower, "It is on a network: slow, and locks may not hold. Name a local disk with --cache-dir DIR."
	case free < leastRoom:
		state.State, state.Remedy = isSlower, "Writes will fail when it is full. Name another disk with --cache-dir DIR."
	}
	d.say(state)
}

// prunes says whether updatedb(8) leaves our mounts alone: it would list the whole store each night.
func prunes(conf string) finding {
	f, err := os.Open(conf)
	if err != nil {
		return finding{"updatedb", isGood, "not here", ""}
	}
	defer func() { _ = f.Close() }() // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		if strings.TrimSpace(name) != "PRUNEFS" {
			continue
		}
		for _, fs := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(fs, fsType) {
				return finding{"updatedb", isGood, "leaves mounts of thawfs alone", ""}
			}
		}
	}
	return finding{
		"updatedb", isSlower, "lists the whole store each night, for locate(1)",
		"Add " + fsType + " to PRUNEFS in " + conf + ", or the directories of the mounts to PRUNEPATHS.",
	}
}
