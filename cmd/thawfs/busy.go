package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxUsers is how many programs a message names.
const maxUsers = 5

// busy explains a failed unmount by who uses the mount, as far as this user may see.
func busy(mountpoint string, err error) *problem {
	do := "Close what is open there, leave the directory, and try again."
	who := users(mountpoint)
	if len(who) == 0 {
		return wrong(fmt.Sprintf("cannot unmount %s: %v", mountpoint, err), do).because(err)
	}
	if more := len(who) - maxUsers; more > 0 {
		who = append(who[:maxUsers], fmt.Sprintf("%d more", more))
	}
	return wrong(fmt.Sprintf("cannot unmount %s: it is in use by %s", mountpoint, strings.Join(who, ", ")), do).because(err)
}

// users are the processes that have something of dir open, mapped or as their directory. It
// only reads /proc: a mount that hangs cannot hang it.
func users(dir string) []string {
	var who []string
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() || !uses(pid, dir) {
			continue
		}
		name, err := os.ReadFile(filepath.Join("/proc", p.Name(), "comm"))
		if err == nil { // it may have ended
			who = append(who, fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(name)), pid))
		}
	}
	return who
}

// uses reports whether a process holds on to something in dir.
func uses(pid int, dir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	links := []string{filepath.Join(proc, "cwd"), filepath.Join(proc, "root")}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil && errors.Is(err, os.ErrPermission) {
		return false
	}
	for _, fd := range fds {
		links = append(links, filepath.Join(proc, "fd", fd.Name()))
	}
	if slices.ContainsFunc(links, func(link string) bool {
		to, err := os.Readlink(link)
		return err == nil && (to == dir || strings.HasPrefix(to, dir+"/"))
	}) {
		return true
	}
	maps, err := os.ReadFile(filepath.Join(proc, "maps"))
	return err == nil && strings.Contains(string(maps), " "+dir+"/")
}
