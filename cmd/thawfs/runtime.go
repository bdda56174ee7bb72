package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Each mount listens on a socket whose name is made of its mountpoint, in a directory that
// belongs to its user. That is all the registry there is: who can connect to a socket has
// found a living mount.

// runtimeDir creates and returns the directory of this user's sockets.
func runtimeDir() (string, error) {
	dir := ownRuntimeDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", runtimeProblem(dir, reason(err).Error()).because(err)
	}
	if err := keepPrivate(dir); err != nil { // in /tmp somebody else may have been first
		return "", runtimeProblem(dir, reason(err).Error()).because(err)
	}
	return dir, nil
}

func runtimeProblem(dir, why string) *problem {
	return wrong(fmt.Sprintf("the directory of control sockets %s cannot be used: %s", dir, why), "Name one of your own in THAWFS_RUNTIME_DIR.")
}

// ownRuntimeDir is THAWFS_RUNTIME_DIR, else /run/thawfs for root, whatever session it is in:
// a mount made at boot must be found from a shell.
func ownRuntimeDir() string {
	if dir := os.Getenv("THAWFS_RUNTIME_DIR"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run/thawfs"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "thawfs")
	}
	return filepath.Join(os.TempDir(), "thawfs-"+strconv.Itoa(os.Geteuid()))
}

// socketName is the name of the socket of the mount on mountpoint.
func socketName(mountpoint string) string {
	sum := sha256.Sum256([]byte(mountpoint))
	return hex.EncodeToString(sum[:8]) + ".sock"
}

// sockets are all places where the socket of the mount on mountpoint can be. Root can talk
// to the mounts of others.
func sockets(mountpoint string) []string {
	dirs := runtimeDirs()
	paths := make([]string, len(dirs))
	for i, dir := range dirs {
		paths[i] = filepath.Join(dir, socketName(mountpoint))
	}
	return paths
}

// runtimeDirs are the directories of sockets that this user may look into.
func runtimeDirs() []string {
	dirs := []string{ownRuntimeDir()}
	if os.Geteuid() == 0 && os.Getenv("THAWFS_RUNTIME_DIR") == "" {
		for _, pattern := range []string{"/run/user/*/thawfs", filepath.Join(os.TempDir(), "thawfs-[0-9]*")} {
			found, err := filepath.Glob(pattern)
			if err != nil {
				panic(err) // the patterns are constant
			}
			dirs = append(dirs, found...)
		}
	}
	return dirs
}
