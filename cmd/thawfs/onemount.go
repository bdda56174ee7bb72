package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// oneMount finds the mount of a command whose PATH may be left out: that of path, else the
// one that the working directory lies in, else the only one.
func oneMount(ctx context.Context, path string) (*mountSpots, error) {
	if path != "" {
		mounts, err := locate(ctx, []string{path})
		if err != nil {
			return nil, err
		}
		return mounts[0], nil
	}
	if dir, err := os.Getwd(); err == nil {
		if mounts, err := locate(ctx, []string{dir}); err == nil {
			mounts[0].spots[0].rel = "." // all of it
			return mounts[0], nil
		}
	}
	var found []*mountSpots
	for _, c := range daemons() {
		who, err := c.about(ctx)
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		if err == nil { // else it has ended, or is of somebody else
			found = append(found, &mountSpots{c: c, about: who, spots: []spot{{who.Mountpoint, "."}}})
		}
	}
	switch len(found) {
	case 0:
		return nil, wrong("nothing is mounted", "Mount something first: thawfs mount SOURCE MOUNTPOINT")
	case 1:
		return found[0], nil
	}
	var names []string
	for _, m := range found {
		names = append(names, m.about.Mountpoint)
	}
	slices.Sort(names)
	return nil, usage(fmt.Sprintf("%d mounts are there: it is not clear which one is meant", len(found)),
		"Name it, or a path in it: "+strings.Join(names, ", "))
}

// first is the first of args, "" if there is none.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
