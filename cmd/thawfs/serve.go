package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/fs"
)

// A job is one `thawfs mount`, understood.
type job struct {
	options
	source     source
	mountpoint string // as mountPath makes it
	helper     bool   // mount(8) called
	stderr     io.Writer
	levels     *slog.LevelVar // of the log, from openLogger on
}

// open makes the driver for the source.
func (j *job) open(ctx context.Context, log *slog.Logger) (backend.Service, error) {
	if j.source.scheme == "local" {
		return local.New(j.source.dir, local.Options{})
	}
	if j.source.scheme == swiftScheme {
		return j.openSwift(ctx, log)
	}
	if j.source.scheme == "glacier" {
		root, err := j.cacheRoot(j.helper)
		if err != nil {
			return nil, err
		}
		return j.openVaults(ctx, root, log)
	}
	return s3.New(ctx, s3.Options{
		Endpoint: j.endpoint, Region: j.region, Profile: j.profile, Anonymous: j.anonymous, Log: log,
		AccessKey: j.accessKey, SecretKey: j.secretKey, SessionToken: j.sessionToken,
	})
}

// reachStore returns the store of j's source, which is there and can be read.
func (j *job) reachStore(ctx context.Context, log *slog.Logger) (backend.Service, error) {
	limited, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	if err := j.knock(limited); err != nil {
		return nil, err
	}
	service, err := j.open(limited, log)
	if err == nil {
		err = j.connect(limited, service)
	}
	if err != nil {
		return nil, j.explain(ctx, err)
	}
	return service, nil
}

// serve mounts and serves until the mount has ended; to is told when it serves (nil in the
// foreground). What is left in the journal then is returned.
func (j *job) serve(to *parent) (pending, error) {
	signals := make(chan os.Signal, 4)
	hangup := unix.SIGHUP
	if to != nil || j.logFile != "" || os.Getenv("JOURNAL_STREAM") != "" {
		signal.Ignore(hangup) // no terminal, nothing to hang up; once there is a log it means to reopen it
		hangup = unix.SIGTERM
	}
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, hangup)
	defer signal.Stop(signals)
	profiled, err := startProfile(j.cpuProfile)
	if err != nil {
		return pending{}, err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, hangup)
	d, l, err := j.start(ctx, to)
	cancel()
	if err != nil {
		return pending{}, err
	}
	left := d.run(l, signals)
	return left, errors.Join(d.release(), profiled())
}

// start does everything up to the moment when the mount serves, and undoes it if something
// fails on the way.
func (j *job) start(ctx context.Context, to *parent) (d *daemon, control net.Listener, err error) {
	var undo undoing
	defer func() {
		if err != nil {
			undo.all()
		}
	}()
	cache, err := j.claim()
	if err != nil {
		return nil, nil, err
	}
	undo.add(func() { _ = cache.Close() }) // a lock
	log, file, err := j.openLogger(cache.path)
	if err != nil {
		return nil, nil, err
	}
	if file != nil {
		undo.add(func() { _ = file.Close() }) // the reason is told to the user
	}
	created := j.newStore()
	service, err := j.reachStore(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	vaults, isVaults := service.(*glacier.Service)
	if isVaults {
		undo.add(func() { _ = vaults.Close() }) // another error is on its way to the user
	}
	socket, err := listenControl(j.mountpoint)
	if err != nil {
		return nil, nil, err
	}
	undo.add(func() { _ = socket.Close() }) // nobody has connected to any purpose
	pages, err := j.listenPage()
	if err != nil {
		return nil, nil, err
	}
	if pages != nil {
		undo.add(func() { _ = pages.Close() }) // nobody looks yet
	}
	m, err := j.mountFS(service, cache.path, log)
	if err != nil {
		return nil, nil, wrong(fmt.Sprintf("%s cannot be mounted on %s: %v", j.source, j.mountpoint, err), "").because(err)
	}
	undo.add(func() { takeDown(m) })
	j.warm(ctx, m)
	d = newDaemon(m, j.about(cache.path, file), log, j.drainTimeout, newProgress(j.watcher(to)))
	d.level, d.pages = j.levels, pages
	if pages != nil {
		d.about.Page = "http://" + pages.Addr().String() + "/"
	}
	if m, ok := service.(backend.Metered); ok {
		d.meter = m.Meter()
	}
	stopReopening := func() {}
	if file != nil {
		stopReopening = file.reopenOnHangup(log)
		undo.add(stopReopening)
	}
	d.release = func() error {
		stopReopening()
		var errs []error
		if isVaults {
			errs = append(errs, vaults.Close())
		}
		if file != nil {
			errs = append(errs, file.Close())
		}
		return errors.Join(append(errs, cache.Close())...)
	}
	note := j.vaultNote(vaults)
	if to == nil && note != "" {
		fmt.Fprintln(j.stderr, note)
	}
	if to != nil {
		if err := errors.Join(leaveTerminal(file), to.tell(message{Ready: &d.about, Pending: pendingOf(m), Created: created, Note: note})); err != nil {
			return nil, nil, err
		}
	}
	tellSystemd(log, "READY=1\nSTATUS="+j.source.String()+" on "+j.mountpoint)
	log.Info("mounted", slog.String("source", d.about.Source), slog.String("mountpoint", j.mountpoint), slog.Int("pid", d.about.PID))
	return d, socket, nil
}

// watcher is where progress is drawn: nowhere for a mount in the background.
func (j *job) watcher(to *parent) io.Writer {
	if to != nil {
		return io.Discard
	}
	return j.stderr
}

// claim checks the machine and takes the cache directory.
func (j *job) claim() (*cacheDir, error) {
	root, err := j.cacheRoot(j.helper)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, j.cacheName(j.source))
	if err := apart(j.mountpoint, dir, j.source); err != nil {
		return nil, err
	}
	if err := systemFUSE().check(j.allowOther); err != nil {
		return nil, err
	}
	if err := prepareMountpoint(j.mountpoint); err != nil {
		return nil, err
	}
	return openCache(dir, holder{os.Getpid(), j.source.String(), j.mountpoint})
}

// newStore reports whether mounting will create the store.
func (j *job) newStore() bool {
	if j.source.scheme != "local" {
		return false
	}
	names, err := os.ReadDir(j.source.dir)
	return errors.Is(err, os.ErrNotExist) || err == nil && len(names) == 0
}

func (j *job) about(cache string, log *logFile) about {
	a := about{
		Source: j.source.String(), Mountpoint: j.mountpoint, PID: os.Getpid(), Version: version(), Cache: cache,
		ReadOnly: j.readOnly, Since: time.Now(),
	}
	if j.logFile == toJournal {
		a.Log = toJournal
	}
	if log != nil {
		a.Log = log.path
	}
	return a
}

// takeDown ends a mount that nobody will use.
func takeDown(m *fs.Mount) {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = unmountFS(ctx, m) // another error is on its way to the user
	_ = m.Close(ctx)
}

// undoing collects what has to be undone, the last first.
type undoing []func()

func (u *undoing) add(f func()) { *u = append(*u, f) }

func (u *undoing) all() {
	for i := len(*u) - 1; i >= 0; i-- {
		(*u)[i]()
	}
}
