package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/fs/recall"
)

// Exit codes of `thawfs restore`, besides 0 (all readable) and exitFailed. sysexits.h has
// the numbers: EX_TEMPFAIL and EX_NOPERM.
const (
	exitPending = 75
	exitRefused = 77
	exitStopped = 130 // by Ctrl-C
)

func restoreCommand() *cobra.Command {
	r := &restorer{exodus: newExodusFlags()}
	printPrices := false
	cmd := &cobra.Command{
		Use:   "restore [flags] PATH...",
		Short: "Bring archived files back",
		Long: `Asks the store for a readable copy of archived files, and with --wait waits for
them. What is readable or on its way is not asked for again: after Ctrl-C, which
leaves at once, or a restart the same command goes on where it was.

With --to it empties a vault that need not be mounted: PATH is glacier://VAULT.
Each archive is verified, and each day asks for --daily more.

Exit code 0: all is readable; 75: some is not yet (in a dry run: not readable);
77: the budget of the day refused some; 1: something else went wrong.`,
		Example: `  thawfs restore -r --dry-run /mnt/photos/2019    what it would take
  thawfs restore -r --wait=12h /mnt/photos/2019
  find /mnt/photos -name '*.raw' -print0 | thawfs restore --files-from -
  thawfs restore -r --wait glacier://tapes --to /srv/tapes
  rustic restore --warm-up-batch 1000 \
      --warm-up-command 'thawfs restore --wait %paths' latest /tmp/out`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.exodus.to != "" {
				return r.exodus.run(cmd, r.req, args)
			}
			r.stdin, r.stdout, r.stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if printPrices {
				_, err := r.stdout.Write(recall.DefaultTable())
				return err
			}
			return r.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&r.req.Recursive, "recursive", "r", false, "everything below directories")
	f.Var((*tierName)(&r.req.Tier), "tier", "Bulk (default), Standard or Expedited")
	f.Var((*dayCount)(&r.req.Days), "days", "how long copies stay readable")
	f.Var((*waitTime)(&r.req.Wait), "wait", "until all is readable, or for a time: --wait=2h")
	f.Lookup("wait").NoOptDefVal = waitForever
	f.BoolVarP(&r.req.DryRun, "dry-run", "n", false, "only say what it would take")
	f.Var(text{&r.filesFrom, "FILE"}, "files-from", "a path a line, or with NULs between; - is stdin")
	f.BoolVar(&r.req.OverBudget, "over-budget", false, "go beyond the budget of the day")
	f.BoolVar(&r.json, "json", false, "lines of JSON: objects, progress, result")
	f.Var(&r.style, "progress", "auto, none, or rustic (lines for its warm-up)")
	f.BoolVar(&printPrices, "print-prices", false, "what is known of prices, for --recall-prices")
	r.style = choice{"auto", []string{"auto", "none", "rustic"}}
	r.exodus.register(f)
	return cmd
}

// restorer is one `thawfs restore`.
type restorer struct {
	req       restoreRequest
	filesFrom string
	json      bool
	style     choice
	exodus    *exodusFlags

	stdin          io.Reader
	stdout, stderr io.Writer
}

// run sends the paths to their mounts and shows what comes back.
func (r *restorer) run(ctx context.Context, args []string) error {
	paths, err := r.paths(args)
	if err != nil {
		return err
	}
	mounts, err := locate(ctx, paths)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	v := r.view(mounts)
	err = r.ask(ctx, mounts, v)
	v.clear()
	switch {
	case ctx.Err() != nil:
		return &problem{What: "interrupted", Do: "What was asked for goes on. The same command again goes on where this one was.", Code: exitStopped, cause: err}
	case err != nil:
		return err
	}
	return v.end()
}

// ask has all mounts restore at once, and returns when they are done.
func (r *restorer) ask(ctx context.Context, mounts []*mountSpots, v *restoreView) error {
	errs := make([]error, len(mounts))
	var wg sync.WaitGroup
	for i, m := range mounts {
		req := r.req
		for _, s := range m.spots {
			req.Paths = append(req.Paths, s.rel)
		}
		wg.Go(func() {
			errs[i] = readStream(ctx, m.c, http.MethodPost, "/v1/restore", req, func(e restoreEvent) error { return v.take(i, e) })
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// paths are those of the command line and of --files-from.
func (r *restorer) paths(args []string) ([]string, error) {
	if r.filesFrom != "" {
		listed, err := r.readList()
		if err != nil {
			return nil, wrong(fmt.Sprintf("the list %s cannot be read: %v", r.filesFrom, reason(err)), "").because(err)
		}
		return append(args, listed...), nil // none at all is nothing to do
	}
	if len(args) == 0 {
		return nil, usage("PATH is missing: thawfs restore [flags] PATH...", "See: thawfs restore --help")
	}
	return args, nil
}

func (r *restorer) readList() (paths []string, err error) {
	var list []byte
	if r.filesFrom == "-" {
		list, err = io.ReadAll(r.stdin)
	} else {
		list, err = os.ReadFile(r.filesFrom)
	}
	if err != nil {
		return nil, err
	}
	between := []byte("\n")
	if bytes.IndexByte(list, 0) >= 0 {
		between = []byte{0}
	}
	for p := range bytes.SplitSeq(list, between) {
		if len(p) > 0 {
			paths = append(paths, string(p))
		}
	}
	return paths, nil
}

// view shows what comes back, with paths of the user's.
func (r *restorer) view(mounts []*mountSpots) *restoreView {
	v := &restoreView{stdout: r.stdout, stderr: r.stderr, json: r.json, dryRun: r.req.DryRun, tier: r.req.Tier, parts: make([]recall.Progress, len(mounts))}
	v.rustic = r.style.value == "rustic"
	if r.style.value == "auto" && !r.json && interactive(r.stderr) {
		v.bar = r.stderr
	}
	for _, m := range mounts {
		v.roots = append(v.roots, m.about.Mountpoint)
	}
	return v
}

// pathIn is where the user finds what a mount calls rel.
func (v *restoreView) pathIn(mount int, rel string) string { return filepath.Join(v.roots[mount], rel) }

// waitTime is a period; without a value it is endless.
type waitTime time.Duration

const waitForever = "forever"

func (w *waitTime) Set(s string) error {
	if s == waitForever {
		*w = -1
		return nil
	}
	return (*period)(w).Set(s)
}

func (w *waitTime) String() string {
	if *w <= 0 {
		return ""
	}
	return (*period)(w).String()
}
func (w *waitTime) Type() string { return "TIME" }

// tierName is a tier; those of S3 are recognized in any spelling.
type tierName string

func (t *tierName) Set(s string) error {
	if s == "" {
		return errors.New("a tier has a name: Bulk, Standard or Expedited")
	}
	*t = tierName(s)
	for _, known := range recall.Tiers() {
		if strings.EqualFold(known, s) {
			*t = tierName(known)
		}
	}
	return nil
}
func (t *tierName) String() string { return string(*t) }
func (t *tierName) Type() string   { return "TIER" }
