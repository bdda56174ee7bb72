package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// A spot is a path as the user wrote it and where it lies.
type spot struct {
	arg string
	rel string // path below the mountpoint; "." is the mountpoint
}

// mountSpots are spots of one mount.
type mountSpots struct {
	c     *client
	about about
	spots []spot
}

// A locator finds the mounts that paths lie in, without asking the mounts about the files.
type locator struct {
	mounts  []*mountinfo.Info // of everything, in the order they were made
	dirs    map[string]string // by directory: without symbolic links
	daemons map[string]*mountSpots
	order   []*mountSpots
}

// locate groups paths by mount, in the order in which each mount comes first.
func locate(ctx context.Context, paths []string) ([]*mountSpots, error) {
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, wrong("the mount table cannot be read: "+err.Error(), "").because(err)
	}
	l := &locator{mounts: all, dirs: map[string]string{}, daemons: map[string]*mountSpots{}}
	for _, p := range paths {
		if err := l.add(ctx, p); err != nil {
			return nil, err
		}
	}
	return l.order, nil
}

func (l *locator) add(ctx context.Context, arg string) error {
	path, on, err := l.find(arg)
	if err != nil {
		return err
	}
	m := l.daemons[on.Mountpoint]
	if m == nil {
		c, who, err := findDaemon(ctx, on.Mountpoint)
		if err != nil {
			return err
		}
		if c == nil {
			return wrong("nobody answers for the mount on "+on.Mountpoint, "If its process is dead, clear it away with: thawfs umount "+shellQuote(on.Mountpoint))
		}
		m = &mountSpots{c: c, about: who}
		l.daemons[on.Mountpoint] = m
		l.order = append(l.order, m)
	}
	rel, err := filepath.Rel(on.Mountpoint, path)
	m.spots = append(m.spots, spot{arg, rel})
	return err
}

// find returns the path without symbolic links on its way, and the mount it lies in.
func (l *locator) find(arg string) (string, *mountinfo.Info, error) {
	abs, err := filepath.Abs(arg)
	if err != nil {
		return "", nil, wrong("the working directory cannot be found", "Write the path as an absolute one.").because(err)
	}
	// The last element is left alone: it may be a file, and nobody shall be asked for it.
	path := filepath.Join(l.real(filepath.Dir(abs)), filepath.Base(abs))
	if on := l.mountOf(path); on != nil && on.FSType == fsType {
		return path, on, nil
	}
	whole := l.real(abs)
	if on := l.mountOf(whole); on != nil && on.FSType == fsType {
		return whole, on, nil
	}
	if _, err := os.Lstat(abs); err != nil {
		return "", nil, wrong(arg+" cannot be found: "+reason(err).Error(), "").because(err)
	}
	return "", nil, wrong(arg+" lies in no mount of thawfs", "See what is mounted: thawfs status")
}

func (l *locator) real(dir string) string {
	if known, ok := l.dirs[dir]; ok {
		return known
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		real = dir // dead, or not there: that will be found out
	}
	l.dirs[dir] = real
	return real
}

// mountOf is the mount that path lies in: of the longest mountpoint, the newest.
func (l *locator) mountOf(path string) (best *mountinfo.Info) {
	for _, m := range l.mounts {
		below := m.Mountpoint == "/" || path == m.Mountpoint || strings.HasPrefix(path, m.Mountpoint+"/")
		if below && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
			best = m
		}
	}
	return best
}
