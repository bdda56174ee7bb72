package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A cacheDir is the directory of one mounted source: what was read, what waits for its
// upload, the log. It stays when the mount ends, so that the next mount of the same source
// finds all of it. While a process serves the mount it holds a lock on it.
type cacheDir struct {
	path string
	lock *os.File
}

// holder is who has a cacheDir, as written in its lock file.
type holder struct {
	PID        int    `json:"pid"`
	Source     string `json:"source"`
	Mountpoint string `json:"mountpoint"`
}

// systemCache holds the caches of mounts that mount(8) makes: HOME is not set at boot, and
// is when root types the same command.
const systemCache = "/var/cache/thawfs"

// cacheRoot is the directory of all caches: --cache-dir or that of the user.
func (o *options) cacheRoot(helper bool) (string, error) {
	root := o.cacheDir
	if root == "" {
		dir, err := os.UserCacheDir()
		switch {
		case os.Geteuid() == 0 && os.Getenv("XDG_CACHE_HOME") == "" && (helper || err != nil):
			root = systemCache
		case err != nil:
			return "", wrong("there is no place for the cache: neither HOME nor XDG_CACHE_HOME is set", "Name a directory with --cache-dir DIR.").because(err)
		default:
			root = filepath.Join(dir, "thawfs")
		}
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", wrong("the working directory cannot be found", "Give --cache-dir an absolute path.").because(err)
	}
	return abs, nil
}

// cacheName is the name of s's directory below the root of caches. The endpoint and the
// profile belong to it: equal names of buckets there are other buckets here.
func (o *options) cacheName(s source) string {
	id := []string{s.String()}
	readable := s.bucket
	if s.scheme != "local" {
		id = append(id, o.account(s.scheme)...)
	} else {
		readable = filepath.Base(s.dir) + "-" + s.bucket
	}
	sum := sha256.Sum256([]byte(strings.Join(id, "\x00")))
	readable = strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, readable)
	name := s.scheme + "-" + strings.Trim(readable[:min(len(readable), 64)], "-")
	return strings.TrimSuffix(name, "-") + "-" + hex.EncodeToString(sum[:6])
}

// account tells apart whose buckets are meant.
func (o *options) account(scheme string) []string {
	if scheme == swiftScheme {
		return o.identity()
	}
	id := []string{
		strings.ToLower(strings.TrimRight(o.endpointOf(scheme), "/")),
		cmp.Or(o.profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")),
	}
	if scheme == "glacier" { // vaults are of a region
		id = append(id, cmp.Or(o.region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")))
	}
	return id
}

// openCache creates path if need be and locks it.
func openCache(path string, who holder) (*cacheDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, cacheProblem(path, err)
	}
	if err := keepPrivate(path); err != nil {
		return nil, cacheProblem(path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "mount.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, cacheProblem(path, err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer func() { _ = lock.Close() }() // only read
		return nil, inUse(path, lock, who)
	}
	if err == nil {
		err = writeHolder(lock, who)
	}
	if err != nil {
		return nil, errors.Join(cacheProblem(path, err), lock.Close())
	}
	return &cacheDir{path: path, lock: lock}, nil
}

var (
	errNotOurs = errors.New("it belongs to somebody else")
	errNotADir = errors.New("it is not a directory")
)

// keepPrivate makes sure that dir is a directory of ours that nobody else can look into:
// there is everything that was read and written. Where others can write, in /tmp, somebody
// may have been first, with a directory or a link of his own.
func keepPrivate(dir string) error {
	d, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return errNotADir
	} else if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only a handle
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return errNotOurs
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return d.Chmod(0o700)
}

func writeHolder(lock *os.File, who holder) error {
	b, err := json.Marshal(who)
	if err != nil {
		return err
	}
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err = lock.WriteAt(append(b, '\n'), 0)
	return err
}

func cacheProblem(path string, err error) *problem {
	return wrong(fmt.Sprintf("the cache directory %s cannot be used: %v", path, reason(err)),
		"Name one that you can write to with --cache-dir DIR.").because(err)
}

// inUse says who holds the lock, and what can be done for what the user wants.
func inUse(path string, lock *os.File, want holder) *problem {
	var has holder
	if err := json.NewDecoder(lock).Decode(&has); err != nil { // it was locked a moment ago and not yet written
		return wrong("the cache directory "+path+" is in use by another mount", "Use another one with --cache-dir DIR.")
	}
	if mounted, err := findMount(has.Mountpoint); err == nil && mounted == nil {
		return wrong(fmt.Sprintf("the last mount of %s, on %s, is still sending what was written to it (pid %d)", has.Source, has.Mountpoint, has.PID),
			fmt.Sprintf("Watch it and wait with: thawfs umount %s\nOr leave the rest to the next mount with: kill %d", shellQuote(has.Mountpoint), has.PID))
	}
	return wrong(fmt.Sprintf("%s is mounted on %s already (pid %d), with the cache %s", has.Source, has.Mountpoint, has.PID, path),
		fmt.Sprintf("Use it there, or unmount it with: thawfs umount %s\nTo mount it a second time give this mount a cache of its own: --cache-dir DIR", shellQuote(has.Mountpoint)))
}

// Close gives the directory free.
func (c *cacheDir) Close() error { return c.lock.Close() }

// reason is the innermost words of a file error, without path and operation.
func reason(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

// shellQuote makes s one word of a command line to copy.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
