package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/integration/servers"
)

// A mounted is the built program with the bucket mounted, and a cache of its own.
type mounted struct {
	exe   string
	dir   string // of the mount
	cache string
	log   *os.File
	cmd   *exec.Cmd
}

const (
	fuseMagic  = 0x65735546
	mountLimit = time.Minute
	tickHz     = 100 // of the times in /proc: USER_HZ is 100 on all that Linux runs on
)

// build compiles the program as it is released.
func build(ctx context.Context, dir string) (string, error) {
	exe := filepath.Join(dir, "thawfs")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", exe, "./cmd/thawfs")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build thawfs (run this in the root of the repository): %w\n%s", err, out)
	}
	return exe, nil
}

// mountAt mounts with an empty cache below work; flags are added to those of the mount.
func mountAt(exe, work, endpoint string, at servers.S3, flags []string) (*mounted, error) {
	m := &mounted{exe: exe}
	var err error
	if m.dir, err = os.MkdirTemp(work, "mount-"); err != nil {
		return nil, err
	}
	if m.cache, err = os.MkdirTemp(work, "cache-"); err != nil {
		return nil, err
	}
	if m.log, err = os.OpenFile(filepath.Join(work, "thawfs.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, err
	}
	args := append([]string{"mount", "--foreground", "--endpoint", endpoint, "--cache-dir", m.cache}, flags...)
	m.cmd = exec.Command(exe, append(args, "s3://"+bucket, m.dir)...)
	m.cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+at.AccessKey, "AWS_SECRET_ACCESS_KEY="+at.SecretKey,
		"AWS_REGION="+at.Region, "AWS_EC2_METADATA_DISABLED=true", "THAWFS_RUNTIME_DIR="+filepath.Join(work, "run"))
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	return m, m.await()
}

// await returns when the mount serves.
func (m *mounted) await() error {
	for limit := time.Now().Add(mountLimit); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		var st unix.Statfs_t
		if unix.Statfs(m.dir, &st) == nil && st.Type == fuseMagic {
			return nil
		}
		if unix.Kill(m.cmd.Process.Pid, 0) != nil {
			break
		}
	}
	return errors.Join(fmt.Errorf("thawfs does not mount; see %s", m.log.Name()), m.kill())
}

func (m *mounted) kill() error {
	_ = m.cmd.Process.Kill() // it may have ended
	_ = m.cmd.Wait()         // killed
	_ = unix.Unmount(m.dir, unix.MNT_DETACH)
	return errors.Join(m.log.Close(), os.RemoveAll(m.cache), os.Remove(m.dir))
}

// unmount sends what is pending, ends the program and removes its cache.
func (m *mounted) unmount() error {
	umount := exec.Command(m.exe, "umount", m.dir)
	umount.Env = m.cmd.Env
	if out, err := umount.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("umount: %w: %s", err, out), m.kill())
	}
	err := m.cmd.Wait()
	if err != nil {
		err = fmt.Errorf("thawfs: %w; see %s", err, m.log.Name())
	}
	return errors.Join(err, m.log.Close(), os.RemoveAll(m.cache), os.Remove(m.dir))
}

func (m *mounted) path(key string) string { return filepath.Join(m.dir, key) }

// durable returns when the store has all that was written.
func (m *mounted) durable() error {
	d, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// cpu is the time that the program has computed so far.
func (m *mounted) cpu() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(data), ") ") // the name may hold spaces
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * time.Second / tickHz
}

// resetPeak begins a new measurement of peak.
func (m *mounted) resetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", m.cmd.Process.Pid), []byte("5"), 0) // else the peak is of all its life
}

// memory is VmHWM (the peak) or VmRSS, in bytes.
func (m *mounted) memory(field string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // as the kernel writes it
			return kib << 10
		}
	}
	return 0
}

// read reads a file from begin to end, a MiB at a time, and checks it.
func read(path string, c content, buf []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = c.drain(f, buf)
	return errors.Join(err, f.Close())
}

// write writes a file and, if sync is set, waits for fsync.
func write(path string, c content, buf []byte, sync bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for off := int64(0); off < c.size && err == nil; {
		var n int
		if n, err = c.ReadAt(buf, off); err == io.EOF {
			err = nil
		}
		if err == nil {
			_, err = f.Write(buf[:n])
		}
		off += int64(n)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// tmpfs mounts a file system of limited size in memory; without the right to, it is a directory.
func tmpfs(dir string, size int64) (undo func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	err = syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, syscall.EPERM) {
		return func() error { return nil }, nil
	}
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, err
}
