package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/signal"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func cacheCommand() *cobra.Command {
	c := &caching{}
	cmd := &cobra.Command{
		Use:   "cache COMMAND",
		Short: "Show and steer what is kept on this machine",
		Long: `Tells how full the cache of a mount is, and changes what is in it. It holds
copies of what the store has: dropping them loses nothing. What was written and
is not in the store yet lies elsewhere and is not touched.

PATH is in a mount; without one it is the mount that the working directory lies
in, or the only one.`,
		Example: `  thawfs cache                              how full, how useful
  thawfs cache pin /mnt/photos/favourites   fetch it, and keep it here
  thawfs cache drop /mnt/photos/2019
  thawfs cache limit 50G                    until the mount ends`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, http.MethodGet, "", "", nil) },
	}
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "as JSON")
	sub := func(use, short, example string, args cobra.PositionalArgs, run func(*cobra.Command, []string) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Long: short + ".", Example: example, Args: args, RunE: run})
	}
	sub("stats [PATH]", "Show how full the cache is, and how useful", "  thawfs cache stats /mnt/photos", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error { return c.run(cmd, http.MethodGet, first(args), "", nil) })
	sub("drop [PATH]", "Take files from the disk; without PATH all but what is pinned", "  thawfs cache drop /mnt/photos/2019", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, http.MethodPost, first(args), "drop", nil)
		})
	sub("pin PATH", "Bring files to the disk, archived ones aside, and keep them there", "  thawfs cache pin /mnt/photos/favourites", exactly("PATH"),
		func(cmd *cobra.Command, args []string) error { return c.run(cmd, http.MethodPost, args[0], "pin", nil) })
	sub("unpin PATH", "Let files go when room is needed", "  thawfs cache unpin /mnt/photos/favourites", exactly("PATH"),
		func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, http.MethodPost, args[0], "unpin", nil)
		})
	sub("limit SIZE [PATH]", "Set how much may be kept, until the mount ends (else --cache-size)", "  thawfs cache limit 50G", cobra.RangeArgs(1, 2),
		func(cmd *cobra.Command, args []string) error {
			var n byteSize
			if err := n.Set(args[0]); err != nil {
				return usage(err.Error(), "See: thawfs cache limit --help")
			}
			if n < leastSize {
				return usage("a cache of "+n.String()+" is too small to work with", "Give it at least "+size(leastSize)+".")
			}
			return c.run(cmd, http.MethodPost, first(args[1:]), "limit", url.Values{"bytes": {strconv.FormatInt(int64(n), 10)}})
		})
	return cmd
}

// leastSize is what a cache needs to work.
const leastSize = 16 << 20 // bytes

// caching is one `thawfs cache`.
type caching struct{ json bool }

// cached is an item of the answers below /v1/cache: what is done so far, and at the end how the
// cache is.
type cached struct {
	Files   int          `json:"files"`
	Bytes   int64        `json:"bytes,omitempty"` // of pin
	Skipped int          `json:"skipped,omitempty"`
	Path    string       `json:"path,omitempty"`  // a file that could not be pinned
	Error   string       `json:"error,omitempty"` // why
	Cache   *cacheStatus `json:"cache,omitempty"` // of the last one
}

// run asks the mount of path to do what action says, and tells the outcome.
func (c *caching) run(cmd *cobra.Command, method, path, action string, q url.Values) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	m, err := oneMount(ctx, path)
	if err != nil {
		return err
	}
	if q == nil {
		q = url.Values{}
	}
	q.Set("path", m.spots[0].rel)
	var last cached
	line := newProgress(cmd.ErrOrStderr())
	err = readStream(ctx, m.c, method, "/v1/cache/"+action+"?"+q.Encode(), nil, func(item cached) error {
		last = item
		switch {
		case item.Error != "":
			line.clear()
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", item.Path, item.Error)
		case item.Cache == nil:
			line.say(fmt.Sprintf("Fetched: %s (%s)", count(item.Files, "file", "files"), size(item.Bytes)))
		}
		return nil
	})
	line.clear()
	if ctx.Err() != nil {
		return &problem{What: "interrupted", Do: "What was done until then stays.", Code: exitStopped, cause: context.Cause(ctx)}
	}
	if err != nil {
		return err
	}
	if err := c.tell(cmd.OutOrStdout(), action, last); err != nil {
		return err
	}
	if last.Skipped > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

func (c *caching) tell(w io.Writer, action string, last cached) error {
	if c.json {
		return json.NewEncoder(w).Encode(last)
	}
	files := count(last.Files, "file", "files")
	switch action {
	case "drop":
		files = "Dropped: " + files + ". "
	case "pin":
		files = fmt.Sprintf("Pinned: %s (%s). ", files, size(last.Bytes))
	case "unpin":
		files = "No longer pinned: " + files + ". "
	default:
		files = ""
	}
	_, err := fmt.Fprintf(w, "%sCache: %s.\n", files, last.Cache)
	return err
}
