// Command thawfs mounts object storage as a directory.
//
//	thawfs mount s3://photos /mnt/photos
//	thawfs umount /mnt/photos
//
// One file a subcommand: mount.go, umount.go, ls.go, restore.go, status.go, demo.go,
// version.go. The flags of a mount are in options.go. A mount is made by serve.go in the process that will serve it: this one with
// --foreground, else a child that spawn.go starts. daemon.go is its life from then on,
// control.go how other commands talk to it. What can go wrong before a mount serves is put
// into words in mountpoint.go, fusecheck.go, cachedir.go and explain.go.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr)) }

// run is the program: args as in os.Args, the exit code back.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if isHelper(args) {
		return runHelper(ctx, args, stderr)
	}
	root := newRoot(args)
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if quiet, ok := errors.AsType[exitCode](err); ok {
		return int(quiet)
	}
	return report(stderr, err)
}

// exitCode is an error about which everything is said already.
type exitCode int

func (e exitCode) Error() string { return "" }

// newRoot makes the command tree of the program that was called as args[0].
func newRoot(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "thawfs COMMAND",
		Short: "Object storage as a directory",
		Long: `thawfs mounts object storage as a directory: S3, whatever speaks its protocol,
vaults of S3 Glacier, or a store in a local directory.`,
		Example: `  thawfs demo                             something to play with, at once
  thawfs mount s3://photos /mnt/photos    one bucket
  thawfs mount s3:// /mnt/all             every bucket of the account
  thawfs ls -l /mnt/photos                what is archived
  thawfs restore -r --wait /mnt/photos    bring it back
  thawfs umount /mnt/photos               send what is pending, unmount`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.DisableFlagsInUseLine = true
	root.SuggestionsMinimumDistance = 2
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flagProblem(cmd, err)
	})
	root.AddCommand(mountCommand(args), umountCommand(), lsCommand(), restoreCommand(), inventoryCommand(), statusCommand(),
		topCommand(), flushCommand(), cacheCommand(), logCommand(), configCommand(), doctorCommand(),
		demoCommand(args), versionCommand(), manCommand())
	return root
}

// noSuchCommand refuses arguments of the root command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	do := "See: thawfs --help"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		do = "Did you mean thawfs " + near[0] + "?"
	}
	return usage("there is no command "+quote(args[0]), do)
}
