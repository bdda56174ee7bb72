package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a directory",
		Long: `Writes a manual page for each command into DIR, for packages. They bear the date
of SOURCE_DATE_EPOCH, else that of today.`,
		Hidden: true,
		Example: `  thawfs man /tmp/man1
  man -l /tmp/man1/thawfs-mount.1`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.InitDefaultCompletionCmd()
			untagged(root)
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return wrong(fmt.Sprintf("the directory %s cannot be made: %v", args[0], reason(err)), "").because(err)
			}
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "thawfs", Manual: "thawfs"}, args[0])
		},
	}
}

// untagged keeps the time of making out of the pages.
func untagged(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, c := range cmd.Commands() {
		untagged(c)
	}
}
