package recall

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a Manager over the archive shelf of a local store, in a bubble of virtual time.
type world struct {
	*Manager
	t     *testing.T
	o     Options
	store *backendtest.Faulty // of bucket
	log   bytes.Buffer

	mu      sync.Mutex
	changes []backend.Object // as told by Changed
}

const (
	restoreTime = 4 * time.Hour
	bucket      = "shelf"
)

// bubble runs do in a world whose store restores in restoreTime.
func bubble(t *testing.T, change func(*Options), do func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, restoreTime, change)
		defer func() { must(t, w.Close()) }()
		do(t, w)
	})
}

func newWorld(t *testing.T, takes time.Duration, change func(*Options)) *world {
	t.Helper()
	svc, err := local.New(t.TempDir(), local.Options{NoSync: true, RestoreTime: takes})
	must(t, err)
	must(t, svc.CreateBucket(t.Context(), bucket))
	faulty := backendtest.NewFaultyService(svc)
	_, err = faulty.Open(t.Context(), bucket)
	must(t, err)
	w := &world{t: t, store: faulty.Bucket(bucket)}
	w.o = Options{
		Path:    filepath.Join(t.TempDir(), "recall.db"),
		Open:    faulty.Open,
		Changed: w.changed,
		noSync:  true,
		Log:     slog.New(slog.NewTextHandler(&locked{w: &w.log}, nil)),
	}
	if change != nil {
		change(&w.o)
	}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	m, err := New(w.o)
	must(w.t, err)
	w.Manager = m
}

// restart closes the Manager and begins another one over its journal.
func (w *world) restart() {
	w.t.Helper()
	must(w.t, w.Close())
	w.start()
	synctest.Wait()
}

func (w *world) changed(ref backend.Ref, obj backend.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, obj)
}

// told returns the states that Changed was told of key since the last time.
func (w *world) told(key string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var states []string
	rest := w.changes[:0]
	for _, obj := range w.changes {
		if obj.Key == key {
			states = append(states, obj.State.String())
		} else {
			rest = append(rest, obj)
		}
	}
	w.changes = rest
	return strings.Join(states, " ")
}

// archive stores an archived object of size bytes.
func (w *world) archive(key string, size int) (backend.Ref, backend.Object) {
	w.t.Helper()
	return w.put(key, "GLACIER", size)
}

func (w *world) put(key, class string, size int) (backend.Ref, backend.Object) {
	w.t.Helper()
	body := io.NewSectionReader(strings.NewReader(strings.Repeat("x", size)), 0, int64(size))
	obj, err := w.store.Put(w.t.Context(), key, body, backend.PutOptions{Attrs: backend.Attrs{Class: class}})
	must(w.t, err)
	return backend.Ref{Bucket: bucket, Key: key}, obj
}

func (w *world) head(key string) backend.Object {
	w.t.Helper()
	obj, err := w.store.Head(w.t.Context(), key)
	must(w.t, err)
	return obj
}

// open opens ref as cat does.
func (w *world) open(ref backend.Ref, obj backend.Object) error {
	return w.Open(w.t.Context(), ref, obj, Caller{UID: 1000, Exe: "/bin/cat", PID: 1})
}

// restores is how many restores have been sent.
func (w *world) restores() int { return w.store.Count(backendtest.OpRestore) }

func (w *world) wantPhase(ref backend.Ref, want Phase) Job {
	w.t.Helper()
	j, _ := w.Job(ref)
	if j.Phase != want {
		w.t.Errorf("job of %q is %q (%s), want %q", ref, j.Phase, j.Err, want)
	}
	return j
}

func (w *world) wantRestores(want int) {
	w.t.Helper()
	if got := w.restores(); got != want {
		w.t.Errorf("%d restores were sent, want %d", got, want)
	}
}

// pass lets virtual time pass, and the Manager act on it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func cancelAfter(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
