package blocks

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Files that are handed out (File, Fill) or came in (Adopt) may be open elsewhere, also in
// the kernel as the backing file of a FUSE passthrough. A hole punched into such a file
// would be read as zeros, and an unlinked one keeps its room. So they are lent: left alone
// by eviction until nobody else has them open. The kernel tells by a write lease, which it
// grants only to the sole holder of a file (fcntl(2), F_SETLEASE).

type holders uint8

const (
	unknown holders = iota // the file system has no leases
	nobody
	somebody
)

// othersHave reports who has the file open besides f.
func othersHave(f *os.File) holders {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	if errors.Is(err, unix.EAGAIN) {
		return somebody
	}
	if err != nil {
		return unknown
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		return unknown
	}
	return nobody
}

// lendLocked marks v as lent. v.io is held, so that the lease is not asked for between this
// and the moment the borrower has it open.
func (d *disk) lendLocked(v *version) {
	if v.lent {
		return
	}
	d.pinLocked(v)
	v.lent = true
	d.lent = append(d.lent, v)
}

// takeBack ends the lending of v, which is no longer in d.lent, if nobody else has it open;
// else it goes back there.
func (d *disk) takeBack(v *version) bool {
	v.io.Lock()
	defer v.io.Unlock()
	d.mu.Lock()
	h := d.acquireLocked(v)
	d.mu.Unlock()
	who := unknown
	if f, err := h.open(v.path); err == nil {
		who = othersHave(f)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if who == somebody {
		d.lent = append(d.lent, v)
		d.releaseLocked(v, h)
		return false
	}
	v.lent = false
	v.asOne = v.asOne || who == unknown
	if v.gone {
		d.settleLocked(v, 0)
	}
	d.unpinLocked(v)
	d.releaseLocked(v, h)
	return true
}
