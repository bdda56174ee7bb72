package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
)

// restoreRequest is what POST /v1/restore takes.
type restoreRequest struct {
	Paths      []string      `json:"paths"` // below the mountpoint
	Recursive  bool          `json:"recursive"`
	Tier       string        `json:"tier"` // empty: what is good for many
	Days       int           `json:"days"` // 0: as mounted
	OverBudget bool          `json:"over_budget"`
	DryRun     bool          `json:"dry_run"`
	Wait       time.Duration `json:"wait_ns"` // once all is asked for; negative: as long as it takes
}

// restoreEvent is an item of the stream that answers it.
type restoreEvent struct {
	Object   *restoredObject  `json:"object,omitempty"`
	Progress *recall.Progress `json:"progress,omitempty"`
	Offer    *offer           `json:"offer,omitempty"` // the last of a dry run
}

// restoredObject is what became of one file; those that needed nothing are left out.
type restoredObject struct {
	Path    string         `json:"path"` // below the mountpoint
	Outcome recall.Outcome `json:"outcome"`
	Error   string         `json:"error,omitempty"`
}

// offer is what a restore would take, by tier.
type offer struct {
	Quotes []recall.Quote `json:"quotes"`
	Prices priceTable     `json:"prices"`
}

// priceTable says where estimates come from.
type priceTable struct {
	Date     string `json:"date"`
	Region   string `json:"region"`
	Currency string `json:"currency"`
}

// restore answers POST /v1/restore. It ends when its client goes; what was asked for until
// then goes on.
func (d *daemon) restore(w http.ResponseWriter, r *http.Request) {
	var req restoreRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		answer(w, nil, wrong("the request cannot be understood: "+err.Error(), ""))
		return
	}
	stream(w, func(s *streamer) error {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		run := &restoring{d: d, req: req, s: s, giveUp: cancel, want: map[recall.Lot]recall.Tally{}}
		return run.do(ctx, recall.Explicit{UID: peerOf(ctx), Tier: req.Tier, Days: req.Days, OverBudget: req.OverBudget})
	})
}

// restoring is one `thawfs restore` as the daemon sees it.
type restoring struct {
	d   *daemon
	req restoreRequest
	s   *streamer

	lost     int          // paths that lead nowhere; they count as failed
	handed   atomic.Int64 // targets
	all      atomic.Bool  // handed is final
	told     atomic.Int64 // results: when they are as many, all is asked for
	clock    sync.Once    // of the wait
	giveUp   func()       // ends the wait
	timedOut atomic.Bool
	want     map[recall.Lot]recall.Tally // of a dry run: what would be asked for
}

// do restores and tells the client.
func (r *restoring) do(ctx context.Context, e recall.Explicit) error {
	places, err := r.locate(ctx)
	if err != nil {
		return err
	}
	o := recall.BatchOptions{
		Explicit: e, DryRun: r.req.DryRun, Wait: r.req.Wait != 0 && !r.req.DryRun,
		Each: r.each, Progress: func(p recall.Progress) { r.progress(p) },
	}
	_, err = r.d.m.Recall().Batch(ctx, r.targets(ctx, places), o)
	switch {
	case errors.Is(err, recall.ErrClosed):
		return wrong("the mount ends; what was asked for goes on", "Mount it again and run the same command.").because(err)
	case err != nil && !r.timedOut.Load():
		return cannotFind(err)
	case r.req.DryRun:
		return r.s.send(restoreEvent{Offer: r.offer(ctx)})
	}
	return nil
}

// each is told of every object.
func (r *restoring) each(res recall.Result) {
	again := r.told.Add(1) > r.handed.Load() && r.all.Load()
	if res.Outcome == recall.IsArchived {
		lot := recall.Lot{Bucket: res.Ref.Bucket, Class: res.Object.Class}
		t := r.want[lot]
		t.Objects++
		t.Bytes += res.Object.Size
		r.want[lot] = t
	}
	if res.Outcome != recall.IsReadable || again {
		r.tell(r.d.m.Path(res.Ref), res.Outcome, res.Err)
	}
	r.beginWait()
}

// beginWait starts the clock once everything is asked for.
func (r *restoring) beginWait() {
	if r.req.Wait <= 0 || !r.all.Load() || r.told.Load() < r.handed.Load() {
		return
	}
	r.clock.Do(func() {
		time.AfterFunc(r.req.Wait, func() { // if all is over by then, nobody minds
			r.timedOut.Store(true)
			r.giveUp()
		})
	})
}

// tell sends one object. A client that is gone is noticed by its context.
func (r *restoring) tell(path string, o recall.Outcome, err error) {
	obj := restoredObject{Path: path, Outcome: o}
	if err != nil {
		obj.Error = words(err)
	}
	_ = r.s.sendNow(restoreEvent{Object: &obj})
}

func (r *restoring) progress(p recall.Progress) {
	p.Failed.Objects += r.lost
	_ = r.s.sendNow(restoreEvent{Progress: &p}) // see tell
}

// targets are the objects at and below places.
func (r *restoring) targets(ctx context.Context, places []fs.Place) iter.Seq2[recall.Target, error] {
	return func(yield func(recall.Target, error) bool) {
		defer func() {
			r.all.Store(true)
			r.beginWait()
		}()
		hand := func(p fs.Place) bool {
			r.handed.Add(1)
			return yield(target(p), nil)
		}
		for _, p := range places {
			if !p.Dir {
				if !hand(p) {
					return
				}
				continue
			}
			for file, err := range r.d.m.Tree(ctx, p) {
				if err != nil {
					yield(recall.Target{}, err)
					return
				}
				if !hand(file) {
					return
				}
			}
		}
	}
}

// target leaves it to the store to say what is not known, or was known too long ago.
func target(p fs.Place) recall.Target {
	t := recall.Target{Ref: p.Ref, Object: p.Object}
	if p.Object.State == backend.Restored && time.Now().After(p.Object.Until) {
		t.Object.State = backend.Unknown
	}
	return t
}

func (r *restoring) offer(ctx context.Context) *offer {
	m := r.d.m.Recall()
	prices := m.Prices()
	o := &offer{Prices: priceTable{prices.Date, prices.Region, prices.Currency}}
	for _, tier := range recall.Tiers() {
		o.Quotes = append(o.Quotes, m.Quote(ctx, r.want, tier, r.req.Days))
	}
	return o
}
