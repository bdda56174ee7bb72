package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/thawfs/thawfs/fs/recall"
)

func statusCommand() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "status [flags] [PATH]",
		Short: "Show mounts, pending uploads and restores",
		Long: `Shows the mount that PATH lies in, or all mounts of this user: what is not in
the store yet and why, what is on its way back from an archive, who asked for it
and when it is due, and what restores have taken of today's budget.`,
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
	cmd.Flags().BoolVar(&all, "jobs", false, "all restores, also those that are done")
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

// print writes s for a person.
func (s status) print(w io.Writer, all bool, now time.Time) {
	how := ""
	if s.ReadOnly {
		how = ", read-only"
	}
	fmt.Fprintf(w, "%s on %s%s (pid %d, since %s)\n", s.Source, s.Mountpoint, how, s.PID, s.Since.Local().Format("2006-01-02 15:04"))
	s.printUploads(w, now)
	s.printRecalls(w, all, now)
	b := s.Budget
	fmt.Fprintf(w, "  today     %s of %s files restored, %s of %s, %s\n", humanize.Comma(int64(b.Objects)), limitOf(int64(b.MaxObjects), humanize.Comma),
		humanize.IBytes(uint64(max(b.Bytes, 0))), limitOf(b.MaxBytes, func(n int64) string { return humanize.IBytes(uint64(n)) }), costText(b.Cost, 0, s.Currency))
}

func limitOf(n int64, text func(int64) string) string {
	if n < 0 {
		return noLimit
	}
	return text(n)
}

func (s status) printUploads(w io.Writer, now time.Time) {
	if s.Pending.Files == 0 {
		fmt.Fprintln(w, "  uploads   none pending")
		return
	}
	fmt.Fprintf(w, "  uploads   %s pending", s.Pending.pending)
	if s.Pending.Failed > 0 {
		fmt.Fprintf(w, ", %d failed and tried again", s.Pending.Failed)
	}
	if s.Pending.Down {
		fmt.Fprint(w, "; the store does not answer")
	}
	fmt.Fprintln(w)
	for _, u := range s.Pending.Errors {
		fmt.Fprintf(w, "            %s: %s\n", u.Path, u.Error)
	}
	if more := s.Pending.Failed - len(s.Pending.Errors); more > 0 && len(s.Pending.Errors) > 0 {
		fmt.Fprintf(w, "            and %d more\n", more)
	}
}

func (s status) printRecalls(w io.Writer, all bool, now time.Time) {
	fmt.Fprintf(w, "  restores  %s\n", s.Recalls)
	for _, j := range s.Jobs {
		fmt.Fprintf(w, "    %-9s  %-9s  %-22s  %8s  %-18s  %s\n", j.Phase, orDash(j.Tier), j.when(now), humanize.IBytes(uint64(max(j.Size, 0))), j.who(), j.Path)
		if j.Err != "" {
			fmt.Fprintf(w, "               %s\n", j.Err)
		}
	}
	if more := s.Recalls.Jobs - len(s.Jobs); more > 0 && !all {
		fmt.Fprintf(w, "    %d more: thawfs status --jobs %s\n", more, shellQuote(s.Mountpoint))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// when is the time that matters in the phase of a job.
func (j jobStatus) when(now time.Time) string {
	switch {
	case !j.ETA.IsZero():
		return "due " + due(j.ETA, now)
	case !j.Until.IsZero():
		return "until " + j.Until.Local().Format("2006-01-02 15:04")
	case !j.RetryAt.IsZero():
		return "retry " + due(j.RetryAt, now)
	}
	return "-"
}

// who asked for it.
func (j jobStatus) who() string {
	if j.Foreign {
		return "another client"
	}
	name := strconv.FormatUint(uint64(j.UID), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	if j.By == "" {
		return name
	}
	return filepath.Base(j.By) + " (" + name + ")"
}

// String is as in "2 on their way (3 GiB), 1 failed, 12 done".
func (c recallCounts) String() string {
	if c.Jobs == 0 {
		return "none"
	}
	var parts []string
	if c.OnTheirWay.Objects > 0 {
		parts = append(parts, tally(c.OnTheirWay)+" on the way")
	}
	if c.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", c.Failed))
	}
	if c.Readable.Objects > 0 {
		parts = append(parts, tally(c.Readable)+" readable")
	}
	return strings.Join(parts, ", ")
}

// tally is as in "2 files (3.0 GiB)".
func tally(t recall.Tally) string { return pending{Files: t.Objects, Bytes: t.Bytes}.String() }
