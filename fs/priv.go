package fs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The set-user-ID and set-group-ID bits of a file go when somebody who may not keep them
// changes its bytes, and when its owner changes. The kernel leaves that to us
// (CAP_HANDLE_KILLPRIV_V2), because it asks before every write otherwise.
const privBits = syscall.S_ISUID | syscall.S_ISGID

// killsPriv reports whether a request takes the bits away: it is a chown or truncate that says
// so, or names nothing at all. That is what a write by the kernel itself comes with
// (passthrough, fallocate), and chown(-1, -1).
func killsPriv(in *fuse.SetAttrIn) bool {
	return in.Valid&fuse.FATTR_KILL_SUIDGID != 0 || namesNothing(in)
}

// dropPriv takes the bits as Linux does. Set-group-ID without the right to execute was a mark
// for mandatory locks once: who is in the group keeps it. Of the caller's groups only the
// first is known.
func (a *fileAttr) dropPriv(uid, gid uint32) {
	if a.Mode&syscall.S_IXGRP != 0 || uid != 0 && gid != a.GID {
		a.Mode &^= syscall.S_ISGID
	}
	a.Mode &^= syscall.S_ISUID
}

func (n *fileNode) privileged() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attr.Mode&privBits != 0
}

// writtenBy takes the bits after a write or O_TRUNC of somebody else than root, where the
// kernel's request does not tell. The kernel remembers the mode, so it is told.
func (n *fileNode) writtenBy(ctx context.Context) {
	uid, gid := caller(ctx)
	if uid == 0 || !n.privileged() {
		return
	}
	if err := n.setAttr(context.WithoutCancel(ctx), func(a *fileAttr) { a.dropPriv(uid, gid) }); err != nil {
		ref, _ := n.ref()
		n.warn("set-user-ID bit not taken", ref, err)
	}
	_ = n.NotifyContent(-1, 0) // attributes only; fails without a kernel, which needs none
}
