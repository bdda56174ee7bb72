package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// fuse is what a mount needs of the system besides a mountpoint.
type fuse struct {
	device     string                 // /dev/fuse
	config     string                 // /etc/fuse.conf
	fusermount func() (string, error) // finds the helper for users
	capable    bool                   // may mount without a helper
}

func systemFUSE() fuse {
	return fuse{device: "/dev/fuse", config: "/etc/fuse.conf", fusermount: fusermount, capable: canMount()}
}

// check says what is missing.
func (f fuse) check(allowOther bool) error {
	d, err := os.OpenFile(f.device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return wrong("this system offers no FUSE: "+f.device+" is missing",
			"Load it with: sudo modprobe fuse\nIn a container: docker run --device /dev/fuse --cap-add SYS_ADMIN ...").because(err)
	case err != nil:
		return wrong(fmt.Sprintf("%s cannot be opened: %v", f.device, reason(err)),
			"Its permissions should be 0666. In a container: docker run --device /dev/fuse --cap-add SYS_ADMIN ...").because(err)
	}
	_ = d.Close() // nothing was done with it
	if f.capable {
		return nil
	}
	if _, err := f.fusermount(); err != nil {
		return wrong("only root can mount here: the program fusermount3 is missing",
			"Install the package fuse3, or run thawfs as root.").because(err)
	}
	if allowOther && !f.userAllowOther() {
		return wrong("other users cannot be let in: "+f.config+" does not allow it",
			"Add the line user_allow_other to "+f.config+", or leave --allow-other out.")
	}
	return nil
}

func (f fuse) userAllowOther() bool {
	c, err := os.Open(f.config)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // only read
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}

// canMount reports whether this process has CAP_SYS_ADMIN.
func canMount() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.Geteuid() == 0
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
