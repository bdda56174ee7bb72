package fs

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The users of the cases. Neither needs an account.
const (
	alice = 65533
	bob   = 65534
)

// as runs fn as a user without privileges, in the groups given.
func (p *posix) as(uid, gid int, fn func(), groups ...int) {
	p.Helper()
	if err := asUser(uid, gid, groups, fn); err != nil {
		p.Fatal(err)
	}
}

// asUser runs fn on a thread that is thrown away afterwards: identity and umask belong to
// threads in Linux, whatever libraries say.
func asUser(uid, gid int, groups []int, fn func()) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread() // the first thread never ends, and /proc/self is its
			done <- asUser(uid, gid, groups, fn)
			return
		}
		err := errors.New("the function did not return")
		defer func() { done <- err }()
		if uid != 0 {
			if err = become(uid, gid, groups); err != nil {
				return
			}
		}
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		unix.Umask(0)
		fn()
		err = nil
	}()
	return <-done
}

func become(uid, gid int, groups []int) error {
	ids := make([]uint32, len(groups)+1)
	for i, g := range append(groups, gid) {
		ids[i] = uint32(g)
	}
	if err := setgroups(ids); err != nil {
		return err
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0); e != 0 {
		return e
	}
	return nil
}

// setgroups sets the groups of this thread alone; the library's would set every thread's.
func setgroups(ids []uint32) error {
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(ids)), uintptr(unsafe.Pointer(&ids[0])), 0); e != 0 {
		return e
	}
	return nil
}
