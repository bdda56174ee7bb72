package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "status [flags] [PATH]",
		Short: "Show mounts, pending uploads and restores",
		Long: `Shows the mount that PATH lies in, or all mounts of this user: what is not in
the store yet and why, what is on its way back from an archive, who asked for it
and when it is due, what restores have taken of today's budget, how full the
cache is and what was asked of the store.`,
		Example: `  thawfs status
  thawfs status --jobs /mnt/photos
  thawfs status --json | jq '.[].pending.files'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reports, err := statuses(cmd.Context(), args, all || asJSON)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(reports)
			}
			if len(reports) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "Nothing is mounted.")
			}
			for i, r := range reports {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				r.print(cmd.OutOrStdout(), all, time.Now())
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&all, "jobs", false, "all uploads and restores, also those that are done")
	cmd.Flags().BoolVar(&asJSON, "json", false, "everything as JSON")
	return cmd
}

// statuses asks the mount of a path, or all of them.
func statuses(ctx context.Context, args []string, all bool) ([]status, error) {
	reports := []status{}
	if len(args) > 0 {
		mounts, err := locate(ctx, args)
		if err != nil {
			return nil, err
		}
		s, err := mounts[0].c.status(ctx, all)
		return append(reports, s), err
	}
	for _, c := range daemons() {
		s, err := c.status(ctx, all)
		if err == nil {
			reports = append(reports, s)
		} else if errors.Is(err, context.Canceled) {
			return nil, err
		} // else it has ended, or is of somebody else
	}
	slices.SortFunc(reports, func(a, b status) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
	return reports, nil
}

// daemons are all mounts that this user can talk to, and sockets that nobody listens to.
func daemons() []*client {
	var all []*client
	for _, dir := range runtimeDirs() {
		paths, err := filepath.Glob(filepath.Join(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir), "*.sock"))
		if err != nil {
			panic(err) // the pattern is right
		}
		for _, path := range paths {
			all = append(all, &client{path})
		}
	}
	return all
}

func (c *client) status(ctx context.Context, all bool) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // it only looks into its memory
	defer cancel()
	path := "/v1/status"
	if all {
		path += "?jobs=1"
	}
	var s status
	return s, c.call(ctx, http.MethodGet, path, &s)
}
