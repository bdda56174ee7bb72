package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
)

// A daemon serves one mount from the moment the kernel shows it until everything is sent or
// left in the journal. It ends when somebody unmounts it, by any means, or on a signal.
type daemon struct {
	m            *fs.Mount
	about        about
	log          *slog.Logger
	drainTimeout time.Duration
	line         *progress      // for who watches it in the foreground
	meter        *backend.Meter // of the driver; nil if it makes no requests
	level        *slog.LevelVar
	pages        net.Listener // of the status page; nil if there is none
	release      func() error // after run: gives free what it was made of

	leave  chan struct{} // closed when the rest shall stay in the journal
	setOff func()        // closes leave
	gone   chan struct{} // closed when the kernel no longer shows the mount
	done   chan struct{} // closed when all is ended; left is set then
	left   pending
}

const (
	// lingerLimit is how long a daemon goes on sending after somebody used plain umount.
	lingerLimit = 24 * time.Hour
	// closeLimit is how long ending may take once nothing is sent any more.
	closeLimit = 30 * time.Second
	// busyLimit is how long requests of programs may take after a lazy unmount.
	busyLimit = 5 * time.Second
)

func newDaemon(m *fs.Mount, a about, log *slog.Logger, drainTimeout time.Duration, line *progress) *daemon {
	leave := make(chan struct{})
	return &daemon{
		m: m, about: a, log: log, drainTimeout: drainTimeout, line: line,
		leave: leave, setOff: sync.OnceFunc(func() { close(leave) }),
		gone: make(chan struct{}), done: make(chan struct{}),
	}
}

// run serves until the end. Requests come from l, which it closes, and from signals.
func (d *daemon) run(l net.Listener, signals <-chan os.Signal) pending {
	go func() { // not waited for: what programs hold open after a lazy unmount ends with this process
		d.m.Wait()
		close(d.gone)
	}()
	var wg sync.WaitGroup
	defer wg.Wait()
	srv := &http.Server{Handler: d.control(), ReadHeaderTimeout: closeLimit, ConnContext: withPeer}
	wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("control socket failed", slog.Any("err", err))
		}
	})

	defer d.servePage(d.pages)()

	limit := lingerLimit
	select {
	case <-d.gone:
	case sig := <-signals:
		d.log.Info("told to end", slog.String("signal", sig.String()))
		limit = d.drainTimeout
		tellSystemd(d.log, "STOPPING=1\nSTATUS=sending what is pending")
		deadline := time.Now().Add(limit)
		d.drain(signals, limit)
		d.unmountAnyhow()
		limit = max(time.Until(deadline), 0)
	}
	d.drain(signals, limit)
	d.end()

	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		d.log.Warn("control socket not closed", slog.Any("err", err))
		_ = srv.Close() // it has just failed
	}
	return d.left
}

// drain sends what is pending until limit, the next signal or a request to leave it.
func (d *daemon) drain(signals <-chan os.Signal, limit time.Duration) {
	p := pendingOf(d.m)
	if p.Files == 0 || d.mayLeave() {
		return
	}
	d.log.Info("sending what is pending, another signal leaves it in the journal",
		slog.Int("files", p.Files), slog.Int64("bytes", p.Bytes), slog.Duration("limit", limit))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- d.m.Drain(ctx) }()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	defer d.line.clear()
	for waiting := true; waiting; {
		select {
		case err := <-sent:
			if err != nil {
				d.log.Warn("not everything was sent", slog.Any("err", err))
			}
			return
		case <-tick.C:
			d.line.show(pendingOf(d.m))
		case sig := <-signals:
			d.line.clear()
			d.log.Info("told not to wait", slog.String("signal", sig.String()))
			d.setOff()
			waiting = false
		case <-d.leave:
			d.log.Info("told not to wait")
			waiting = false
		}
	}
	cancel()
	<-sent
}

// mayLeave reports whether the rest shall stay in the journal.
func (d *daemon) mayLeave() bool {
	select {
	case <-d.leave:
		return true
	default:
		return false
	}
}

// unmountAnyhow unmounts for a signal: nobody is there to close what is still open.
func (d *daemon) unmountAnyhow() {
	ctx, cancel := context.WithTimeout(context.Background(), busyLimit)
	defer cancel()
	err := unmountFS(ctx, d.m)
	if err != nil {
		d.log.Warn("busy, taking the mount away from its users", slog.Any("err", err))
		if err := detach(d.about.Mountpoint); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: gone meanwhile
			d.log.Error("cannot unmount", slog.Any("err", err))
		}
	}
	select {
	case <-d.gone:
	case <-time.After(busyLimit):
	}
}

// end closes everything and says what stays in the journal.
func (d *daemon) end() {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	d.left = pendingOf(d.m)
	if err := d.m.Close(ctx); err != nil {
		d.log.Error("not ended cleanly", slog.Any("err", err))
	}
	if d.left.Files > 0 {
		d.log.Warn("left in the journal for the next mount", slog.Int("files", d.left.Files),
			slog.Int64("bytes", d.left.Bytes), slog.Int("failed", d.left.Failed))
	}
	d.log.Info("ended", slog.String("source", d.about.Source), slog.String("mountpoint", d.about.Mountpoint))
	close(d.done)
}

// unmount is `thawfs umount`: it returns when everything is ended, with what is left.
func (d *daemon) unmount(ctx context.Context, leave bool) (pending, error) {
	select {
	case <-d.gone:
	default:
		if err := unmountFS(ctx, d.m); err != nil {
			return pending{}, err
		}
	}
	if leave {
		d.setOff()
	}
	select {
	case <-d.done:
		return d.left, nil
	case <-ctx.Done():
		return pending{}, ctx.Err()
	}
}
