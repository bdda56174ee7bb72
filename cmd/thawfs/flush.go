package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/fs"
)

func flushCommand() *cobra.Command {
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "flush [flags] [PATH]",
		Short: "Wait until the store has what was written",
		Long: `Sends what is pending at and below PATH now, and returns when the store has
confirmed it. Without PATH all of the mount that the working directory lies in,
or of the only one. Files that are still open count as of their last close.

Exit code 0: the store has it; 75: not all of it when --timeout or Ctrl-C ended
the wait, it goes on being sent; 1: the store refuses some of it.`,
		Example: `  thawfs flush /mnt/photos/2024
  thawfs flush --timeout 5m && echo safe`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flush(cmd.Context(), first(args), timeout, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Var((*period)(&timeout), "timeout", "give up waiting after this long")
	f.BoolVar(&asJSON, "json", false, "the outcome as JSON")
	return cmd
}

// flushed is an item of the answer to POST /v1/flush: how much is left; the last one is the
// outcome.
type flushed struct {
	pending
	Done   bool         `json:"done"`
	Failed []uploadItem `json:"failures,omitempty"` // of the last one: what the store refuses
}

// flush has the daemon send and shows how it gets on.
func flush(ctx context.Context, path string, timeout time.Duration, asJSON bool, stdout, stderr io.Writer) error {
	m, err := oneMount(ctx, path)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	line := newProgress(stderr)
	var last flushed
	err = readStream(ctx, m.c, http.MethodPost, "/v1/flush?"+url.Values{"path": {m.spots[0].rel}}.Encode(), nil, func(f flushed) error {
		last = f
		if !f.Done {
			line.show(f.pending)
		}
		return nil
	})
	line.clear()
	if asJSON && (err == nil || ctx.Err() != nil) {
		if jerr := json.NewEncoder(stdout).Encode(last); jerr != nil {
			return jerr
		}
	}
	switch {
	case ctx.Err() != nil:
		return &problem{What: fmt.Sprintf("not in the store yet: %s", last.pending), Do: "It goes on being sent.", Code: exitPending, cause: ctx.Err()}
	case err != nil:
		return err
	case len(last.Failed) > 0:
		return refused(last)
	}
	return nil
}

// refused says what the store does not take.
func refused(f flushed) *problem {
	what := fmt.Sprintf("the store does not take %s: %s: %s", count(f.pending.Failed, "change", "changes"), f.Failed[0].Path, f.Failed[0].Error)
	return wrong(what, "They are kept here and tried again. All of them: thawfs status --jobs")
}

// flush answers POST /v1/flush. When its client goes, the sending goes on.
func (d *daemon) flush(w http.ResponseWriter, r *http.Request) {
	p, err := d.m.Locate(r.Context(), r.FormValue("path"))
	if err != nil {
		answer(w, nil, cannotFind(err))
		return
	}
	stream(w, func(s *streamer) error {
		done := make(chan error, 1)
		go func() { done <- d.m.Flush(r.Context(), p) }()
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := s.sendNow(flushed{pending: d.pendingBelow(p)}); err != nil {
					return errors.Join(err, <-done) // the client is gone, and with it the context
				}
			case err := <-done:
				return d.flushEnd(s, p, err)
			}
		}
	})
}

// flushEnd sends the outcome. An error about changes is told by them.
func (d *daemon) flushEnd(s *streamer, p fs.Place, err error) error {
	last := flushed{pending: d.pendingBelow(p), Done: true}
	if last.pending.Failed > 0 {
		for _, w := range d.m.Queue().Pending() {
			if w.Err != nil && (covers(p, fs.Place{Ref: w.Ref}) || p.Ref.Bucket == "") && len(last.Failed) < maxShown {
				last.Failed = append(last.Failed, d.upload(w))
			}
		}
	}
	if err != nil && len(last.Failed) == 0 {
		return wrong(words(err), "").because(err)
	}
	return s.send(last)
}

func (d *daemon) pendingBelow(p fs.Place) pending {
	files, bytes, failed := d.m.PendingBelow(p)
	return pending{files, bytes, failed}
}
