package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of thawfs, Go and the kernel",
		Example: "  thawfs version",
		Args:    exactly(),
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "thawfs %s\n%s %s/%s\nLinux %s\n",
				version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel())
		},
	}
}

// version is what the build knows of itself: a tagged version, else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	v := cmp.Or(info.Main.Version, "(devel)")
	if rev := set["vcs.revision"]; v == "(devel)" && rev != "" {
		v = rev[:min(len(rev), 12)]
		if set["vcs.modified"] == "true" {
			v += "+changes"
		}
	}
	return v
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "(unknown)"
	}
	return unix.ByteSliceToString(u.Release[:])
}
