package fs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/fs/fstest"
	"github.com/thawfs/thawfs/fs/recall"
)

// A target is a real mount of bucket "bucket" of a local store, through stores that fail on demand.
type target struct {
	m       *Mount
	o       Options
	base    string // everything of this target lies below
	pass    bool
	caches  int
	store   backend.Store // for strangers
	faulty  *backendtest.FaultyService
	logs    *logBuffer
	stopped bool
}

// shortTTL is what a target believes its memory for unless its Setup says longer. Kernel and
// cache each wait it out.
const shortTTL = 15 * time.Millisecond

// newTarget mounts a new store below base, which exists.
func newTarget(base string, s fstest.Setup) (*target, error) {
	service, store, err := newService(filepath.Join(base, "store"), s)
	if err != nil {
		return nil, err
	}
	return mountTarget(base, service, store, s)
}

// newService is a store in dir with one bucket, as mounts and as strangers use it.
func newService(dir string, s fstest.Setup) (backend.Service, backend.Store, error) {
	var limits backend.PartLimits
	if s.SmallParts {
		limits = backend.PartLimits{MinSize: 8 << 10, MaxPut: 32 << 10}
	}
	service, err := local.New(dir, local.Options{NoSync: true, Parts: limits})
	if err != nil {
		return nil, nil, err
	}
	if err := service.CreateBucket(context.Background(), "bucket"); err != nil {
		return nil, nil, err
	}
	others, err := local.New(dir, local.Options{NoSync: true, RestoreTime: time.Nanosecond})
	if err != nil {
		return nil, nil, err
	}
	store, err := others.Open(context.Background(), "bucket")
	return mutantService{service, func(f backendtest.Full) backendtest.Full { return slowShelf{f} }}, store, err
}

// slowShelf takes restores and begins none: when an object comes back is for the story to say.
type slowShelf struct{ backendtest.Full }

func (slowShelf) Restore(context.Context, string, backend.RestoreOptions) error { return nil }

// mountTarget mounts bucket "bucket" of service, which strangers use as store.
func mountTarget(base string, service backend.Service, store backend.Store, s fstest.Setup) (*target, error) {
	t := &target{base: base, pass: s.Passthrough, store: store, faulty: backendtest.NewFaultyService(service), logs: &logBuffer{}}
	t.o = Options{
		Service: t.faulty, Bucket: "bucket", Source: "model", Delay: s.Delay, TTL: shortTTL, NegativeTTL: shortTTL,
		SpoolSize: 1 << 30, indexTuning: quickIndex, Log: slog.New(slog.NewTextHandler(t.logs, nil)),
		Recall: recall.Options{Burst: -1, DayObjects: -1, DayBytes: -1},
	}
	if s.LongTTL {
		t.o.TTL, t.o.NegativeTTL = time.Hour, time.Hour
	}
	if err := os.Mkdir(t.Dir(), 0o755); err != nil {
		return nil, err
	}
	return t, t.start(true)
}

// quickIndex has indexes written for every file, at once. The times that a local store tells are
// exact: versions need not settle.
var quickIndex = attrindex.Tuning{Quiet: time.Millisecond, Settled: -1, Few: 1, Exact: true}

func (t *target) start(empty bool) (err error) {
	if empty {
		t.caches++
	}
	t.o.CacheDir = filepath.Join(t.base, fmt.Sprint("cache", t.caches))
	if t.m, err = NewMount(t.Dir(), t.o); err != nil {
		return err
	}
	t.stopped = false
	t.m.passthrough.Store(t.m.passthrough.Load() && t.pass)
	return nil
}

func (t *target) Dir() string          { return filepath.Join(t.base, "mnt") }
func (t *target) Store() backend.Store { return t.store }

func (t *target) Patience() time.Duration {
	if t.o.TTL > shortTTL {
		return 0
	}
	return 2*shortTTL + 5*time.Millisecond
}

func (t *target) Drain(ctx context.Context) error { return t.m.Drain(ctx) }

func (t *target) Remount(empty bool) error {
	if err := t.stop(); err != nil {
		return err
	}
	return t.start(empty)
}

// stop ends the mount; what was not sent stays in the journal.
func (t *target) stop() error {
	if t.stopped {
		return nil
	}
	t.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(t.m.Unmount(), t.m.Close(ctx))
}

// Crash cuts the connection to the kernel, so that no open file is flushed or released.
func (t *target) Crash() error {
	t.stopped = true
	if err := syscall.Unmount(t.Dir(), syscall.MNT_FORCE|syscall.MNT_DETACH); err != nil {
		return err
	}
	t.m.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := t.m.Close(ctx); err != nil {
		return err
	}
	return t.start(false)
}

func (t *target) Fault(f fstest.Fault) {
	ft := backendtest.Fault{Op: backendtest.Op(f.Op), Times: f.Times, Late: f.Kind == "late"}
	if f.Op == "any" {
		ft.Op = ""
	}
	switch f.Kind {
	case "cut":
		ft.Cut = 3
	case "delay":
		ft.Delay = 5 * time.Millisecond
	}
	if s := t.faulty.Bucket("bucket"); s != nil {
		s.Inject(ft)
	}
}

// Heal ends faults, and what was believed because of them: here, and a moment later by the kernel.
func (t *target) Heal() {
	if s := t.faulty.Bucket("bucket"); s != nil {
		s.Heal()
	}
	if t.m.entries.Back() && t.o.TTL == shortTTL {
		time.Sleep(t.Patience())
	}
}

// logBuffer keeps what a mount logs, for the case that its story fails.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// play runs a story on a new mount below a directory of its own, which is removed.
func play(ctx context.Context, s fstest.Story) (logs string, err error) {
	base, err := os.MkdirTemp(fastDir(), "thawfs-model")
	if err != nil {
		return "", err
	}
	t, err := newTarget(base, s.Setup)
	if err != nil {
		return "", err
	}
	err = fstest.Run(ctx, t, fstest.OS{}, s)
	err = errors.Join(err, t.stop(), os.RemoveAll(base))
	return t.logs.String(), err
}

// TestModelRegressions plays what went wrong once.
func TestModelRegressions(t *testing.T) {
	t.Parallel()
	for name, text := range fstest.Regressions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := fstest.ParseStory(text)
			must(t, err)
			if logs, err := play(t.Context(), s); err != nil {
				t.Errorf("%v\n%s", err, logs)
			}
		})
	}
}

// TestModelStory plays the story in the file that THAWFS_STORY names, again and again for a
// while, and shortens it if it fails: for failures that come and go.
func TestModelStory(t *testing.T) {
	name := os.Getenv("THAWFS_STORY")
	if name == "" {
		t.Skip("THAWFS_STORY names no file")
	}
	text, err := os.ReadFile(name)
	must(t, err)
	s, err := fstest.ParseStory(string(text))
	must(t, err)
	f := newFailures(t)
	fails := func(s fstest.Story) bool {
		for range 20 {
			if f.failed(s, func() (string, error) { return play(t.Context(), s) }) {
				return true
			}
		}
		return false
	}
	if fails(s) {
		fstest.Shrink(s, fails)
		t.Error("the mount is not what the model says")
	}
}

// TestModel takes mounts through random stories, for as long as THAWFS_MODEL says.
func TestModel(t *testing.T) {
	parallel(t)
	const workers = 3 // they wait more than they work
	for i := range workers {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			try(t, modelTime(t), fstest.Stories(40), play)
		})
	}
}

// TestModelCold takes mounts through random stories about archived files.
func TestModelCold(t *testing.T) {
	parallel(t)
	try(t, modelTime(t), fstest.ColdStories(40), play)
}

// TestModelTwoMounts takes two mounts of one store through random stories.
func TestModelTwoMounts(t *testing.T) {
	parallel(t)
	try(t, modelTime(t)/2, fstest.PairStories(40), playPair)
}

// parallel is t.Parallel for tests that use rapid, which shall leave no files behind: a story
// says more, and is printed. Flags are set while nothing runs in parallel yet.
func parallel(t *testing.T) {
	must(t, flag.Set("rapid.nofailfile", "true"))
	if testing.Short() { // the same stories each time; long runs look for new ones
		must(t, flag.Set("rapid.seed", "7"))
	}
	t.Parallel()
}

// try draws and plays stories for a time, and shortens one that fails.
func try(t *testing.T, d time.Duration, stories *rapid.Generator[fstest.Story], play func(context.Context, fstest.Story) (string, error)) {
	f := newFailures(t)
	deadline := time.Now().Add(d)
	for time.Now().Before(deadline) {
		rapid.Check(t, func(rt *rapid.T) {
			if f.none() && time.Now().After(deadline) {
				return
			}
			s := stories.Draw(rt, "story")
			if f.failed(s, func() (string, error) { return play(t.Context(), s) }) {
				rt.Fatal("not what the model says")
			}
		})
	}
}

// playPair runs a story on two new mounts of one new store.
func playPair(ctx context.Context, s fstest.Story) (logs string, err error) {
	base, err := os.MkdirTemp(fastDir(), "thawfs-model")
	if err != nil {
		return "", err
	}
	service, store, err := newService(filepath.Join(base, "store"), s.Setup)
	if err != nil {
		return "", err
	}
	var mounts [2]*target
	for i := range mounts {
		dir := filepath.Join(base, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		if mounts[i], err = mountTarget(dir, service, store, s.Setup); err != nil {
			return "", err
		}
	}
	err = fstest.RunPair(ctx, mounts[0], mounts[1], s)
	err = errors.Join(err, mounts[0].stop(), mounts[1].stop(), os.RemoveAll(base))
	return mounts[0].logs.String() + "--\n" + mounts[1].logs.String(), err
}

// modelTime is how long random stories are tried.
func modelTime(t *testing.T) time.Duration {
	t.Helper()
	if s := os.Getenv("THAWFS_MODEL"); s != "" {
		d, err := time.ParseDuration(s)
		must(t, err)
		return d
	}
	return 20 * time.Second
}

// failures remembers stories that failed and prints the shortest at the end of the test.
// What failed once fails again without being run: timing must not confuse the shrinking.
type failures struct {
	seen     map[string]bool
	shortest string
	err      error
	logs     string
	played   int
	ops      int
}

func newFailures(t *testing.T) *failures {
	f := &failures{seen: map[string]bool{}}
	t.Cleanup(func() {
		t.Logf("played %d stories of %d operations", f.played, f.ops)
		if f.err != nil {
			t.Logf("%v\nThe shortest story, for a table of stories:\n\n%s\n%s", f.err, f.shortest, f.logs)
		}
	})
	return f
}

func (f *failures) none() bool { return f.err == nil }

func (f *failures) failed(s fstest.Story, play func() (string, error)) bool {
	text := s.String()
	if f.seen[text] {
		return true
	}
	logs, err := play()
	f.played++
	f.ops += len(s.Ops)
	if err == nil {
		return false
	}
	f.seen[text] = true
	if f.err == nil || len(text) < len(f.shortest) {
		f.shortest, f.err, f.logs = text, err, logs
	}
	return true
}

// fastDir is where stories are played: in memory if that is possible.
func fastDir() string {
	const shm = "/dev/shm"
	if f, err := os.CreateTemp(shm, "thawfs-model"); err == nil {
		_ = errors.Join(f.Close(), os.Remove(f.Name()))
		return shm
	}
	return ""
}
