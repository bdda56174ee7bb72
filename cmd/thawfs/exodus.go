package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/fs/recall"
)

// An exodus brings everything out of a vault, or what is below a prefix of it, to another place:
// `thawfs restore -r glacier://VAULT --to DIR`. It goes over the catalogue again and again.
// Each time it fetches what is ready, leaves alone what is on its way, and asks for more as
// far as the day's limit goes. What has arrived stands in a ledger, and what was asked for in
// the service's list of jobs, so that it may be ended at any time and goes on where it was.
type exodus struct {
	store  *glacier.Store
	prefix string
	to     landing
	ledger *ledger
	tier   string
	daily  int64         // bytes to ask for in a day; 0: no limit
	wait   bool          // go on until all is out
	poll   time.Duration // between two looks
	stderr io.Writer
	show   *progress

	out, outBytes atomic.Int64 // of this pass, with what was out before
	failures      atomic.Int64
}

// An exodusPass is what one pass has found.
type exodusPass struct {
	all, waiting, left             int // archives: in all, on their way, not asked for
	allBytes, waitBytes, leftBytes int64
}

// landing is where archives go.
type landing interface {
	// land brings an archive that can be read to its place, checked as a whole.
	land(ctx context.Context, store *glacier.Store, obj backend.Object) error
	// has reports whether the place holds that archive already.
	has(ctx context.Context, store *glacier.Store, obj backend.Object) (bool, error)
}

const landings = 3 // archives fetched at once, each in parallel ranges

// run returns when all is out, or with wait unset when nothing more can be done now.
func (x *exodus) run(ctx context.Context) error {
	defer x.show.clear()
	for {
		t, err := x.pass(ctx)
		if err != nil {
			return err
		}
		open := t.waiting + t.left
		x.show.say(x.line(t))
		switch {
		case open == 0 && x.failures.Load() > 0:
			return wrong(fmt.Sprintf("%s could not be brought out; the rest is there", count(int(x.failures.Load()), "archive", "archives")),
				"The same command tries them again.")
		case open == 0:
			return nil
		case !x.wait:
			x.show.clear()
			fmt.Fprintln(x.stderr, x.line(t))
			return exitCode(exitPending)
		}
		timer := time.NewTimer(x.poll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// pass looks at every archive once.
func (x *exodus) pass(ctx context.Context) (exodusPass, error) {
	var t exodusPass
	x.out.Store(0)
	x.outBytes.Store(0)
	x.failures.Store(0)
	full := false // the day's limit is reached
	var g errgroup.Group
	g.SetLimit(landings)
	for e, err := range x.store.List(ctx, x.prefix, "", backend.ListOptions{}) {
		if err != nil {
			return t, errors.Join(err, g.Wait())
		}
		obj := e.Object
		if strings.HasSuffix(obj.Key, "/") {
			continue
		}
		t.all++
		t.allBytes += obj.Size
		if x.ledger.has(obj.ETag) {
			x.gone(obj)
			continue
		}
		if obj.State.Readable() {
			g.Go(func() error { return x.fetch(ctx, obj) })
			continue
		}
		if obj.State == backend.Archived {
			asked, err := x.ask(ctx, obj, &full)
			if err != nil {
				return t, errors.Join(err, g.Wait())
			}
			if !asked {
				t.left++
				t.leftBytes += obj.Size
				continue
			}
		}
		if !x.ledger.has(obj.ETag) {
			t.waiting++
			t.waitBytes += obj.Size
		}
	}
	return t, g.Wait()
}

// gone counts an archive that is out.
func (x *exodus) gone(obj backend.Object) {
	x.out.Add(1)
	x.outBytes.Add(obj.Size)
}

// ask begins a retrieval, unless the place has the archive from before there was a ledger, or
// the day's limit is reached.
func (x *exodus) ask(ctx context.Context, obj backend.Object, full *bool) (asked bool, err error) {
	if has, err := x.to.has(ctx, x.store, obj); err != nil || has {
		if has {
			x.gone(obj)
			err = x.ledger.arrived(obj.ETag)
		}
		return true, err
	}
	if *full {
		return false, nil
	}
	ok, err := x.ledger.take(obj.Size, x.daily, time.Now())
	if err != nil || !ok {
		*full = true
		return false, err
	}
	err = x.store.Restore(ctx, obj.Key, backend.RestoreOptions{Tier: x.tier})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, backend.ErrQuota):
		*full = true // the account's own policy: later
		return false, nil
	case errors.Is(err, backend.ErrNotExist):
		x.trouble(obj, err)
		return true, nil
	}
	return false, err
}

// fetch brings one archive out. One that fails does not keep the others.
func (x *exodus) fetch(ctx context.Context, obj backend.Object) error {
	err := x.to.land(ctx, x.store, obj)
	if err == nil {
		err = x.ledger.arrived(obj.ETag)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		x.trouble(obj, err)
		return nil
	}
	x.gone(obj)
	x.show.say(fmt.Sprintf("%s brought out, %s", humanize.Comma(x.out.Load()), humanize.IBytes(uint64(x.outBytes.Load()))))
	return nil
}

// trouble tells of an archive that failed.
func (x *exodus) trouble(obj backend.Object, err error) {
	x.failures.Add(1)
	x.show.clear()
	fmt.Fprintf(x.stderr, "thawfs: %s: %s\n", obj.Key, words(err))
}

// line says how far it is, with a bar of the bytes.
func (x *exodus) line(t exodusPass) string {
	const wide = 20
	done := 0
	if t.allBytes > 0 {
		done = int(wide * x.outBytes.Load() / t.allBytes)
	}
	s := fmt.Sprintf("[%s%s] %s of %s archives out, %s of %s", strings.Repeat("#", done), strings.Repeat(".", wide-done),
		humanize.Comma(x.out.Load()), humanize.Comma(int64(t.all)), humanize.IBytes(uint64(x.outBytes.Load())), humanize.IBytes(uint64(t.allBytes)))
	if t.waiting > 0 {
		s += fmt.Sprintf("; %s on their way", humanize.Comma(int64(t.waiting)))
	}
	if t.left > 0 {
		s += fmt.Sprintf("; %s (%s) for other days", humanize.Comma(int64(t.left)), humanize.IBytes(uint64(t.leftBytes)))
	}
	return s
}

// estimate says what is left to bring out, and what that takes.
func (x *exodus) estimate(ctx context.Context, w io.Writer) error {
	prices, err := recall.DefaultPrices()
	if err != nil {
		return err
	}
	var n int
	var size int64
	for e, err := range x.store.List(ctx, x.prefix, "", backend.ListOptions{}) {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(e.Key, "/") && !x.ledger.has(e.ETag) {
			n++
			size += e.Size
		}
	}
	fmt.Fprintf(w, "%s, %s to bring out.\n", count(n, "archive", "archives"), humanize.IBytes(uint64(size)))
	for _, tier := range recall.Tiers() {
		if cost, known := prices.Estimate("VAULT", tier, n, size, 0); known {
			fmt.Fprintf(w, "  %-10s about %.2f %s\n", tier, cost, prices.Currency)
		}
	}
	if x.daily > 0 && size > 0 {
		fmt.Fprintf(w, "At %s a day it takes %s.\n", humanize.IBytes(uint64(x.daily)), count(int((size+x.daily-1)/x.daily), "day", "days"))
	}
	fmt.Fprintf(w, "Prices of %s in %s, without what leaves Amazon's network.\n", prices.Date, prices.Region)
	return nil
}
