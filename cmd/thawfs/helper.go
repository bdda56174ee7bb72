package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// As /sbin/mount.thawfs this program is called by mount(8), for fstab lines like
//
//	s3://photos /mnt/photos thawfs _netdev,nofail,allow_other,profile=backup 0 0
//
// and by mount.fuse for lines of type fuse.thawfs, then as `thawfs SOURCE MOUNTPOINT -o ...`.
// Both follow mount(8), EXTERNAL HELPERS: [-sfnv] [-N namespace] [-o options] [-t type].

// Exit codes of mount(8).
const (
	helperUsage  = 1
	helperFailed = 32
)

// isHelper reports whether args are those of a mount helper.
func isHelper(args []string) bool {
	name := filepath.Base(args[0])
	return name == "mount.thawfs" || name == "mount.fuse.thawfs" ||
		len(args) > 2 && strings.Contains(args[1], ":") && !strings.HasPrefix(args[1], "-") // no command has a colon
}

func runHelper(ctx context.Context, args []string, stderr io.Writer) int {
	j, fake, err := helperJob(args[1:], stderr)
	if err == nil && !fake {
		err = j.do(ctx, args, io.Discard)
	}
	if err == nil {
		return 0
	}
	if quiet, ok := err.(exitCode); ok {
		return int(quiet) // heard by the parent only
	}
	if report(stderr, err) == exitUsage {
		return helperUsage
	}
	return helperFailed
}

// helperJob reads the arguments of a mount helper. With fake everything but the mount is done.
func helperJob(args []string, stderr io.Writer) (j *job, fake bool, err error) {
	o := newOptions()
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	o.mountFlags(flags)
	list := &mountOptions{flags: flags}
	var positional, lists []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case slices.Contains([]string{"-o", "-t", "-N"}, a):
			if i++; i == len(args) {
				return nil, false, usage("the mount option "+a+" needs a value", "")
			}
			if a == "-o" {
				lists = append(lists, args[i])
			}
		case strings.HasPrefix(a, "-") && strings.Trim(a[1:], "sfnvrw") == "" && len(a) > 1:
			fake = fake || strings.Contains(a, "f")
			list.sloppy = list.sloppy || strings.Contains(a, "s")
			if strings.Contains(a, "r") {
				lists = append(lists, "ro")
			}
		case strings.HasPrefix(a, "-"):
			return nil, false, usage("mount helpers have no option "+a, "Other options stand behind -o.")
		default:
			positional = append(positional, a)
		}
	}
	if len(positional) != 2 {
		return nil, false, usage(fmt.Sprintf("a mount needs SOURCE and MOUNTPOINT, not %d arguments", len(positional)), "")
	}
	for _, l := range lists {
		if err := list.Set(l); err != nil {
			return nil, false, usage(err.Error(), "")
		}
	}
	if j, err = newJob(o, flags, positional, stderr); err != nil {
		return nil, false, err
	}
	j.helper = true
	return j, fake, nil
}
