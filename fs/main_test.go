package fs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/cache/attrindex"
)

func TestMain(m *testing.M) {
	for name, run := range childParts() {
		if path := os.Getenv(name); path != "" {
			if err := run(path); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// A mounted is a file system on a real mount over a local store.
type mounted struct {
	*Mount
	t       testing.TB
	dir     string // the mountpoint
	service backend.Service
	store   backend.Store // of bucket "buk"
	o       Options
	done    bool
}

// testLog sends what the file system logs to the test's output.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// newStore is a local store with one bucket, "buk".
func newStore(t testing.TB) backend.Service {
	t.Helper()
	s, err := local.New(t.TempDir(), local.Options{NoSync: true, RestoreTime: 300 * time.Millisecond})
	must(t, err)
	must(t, s.CreateBucket(t.Context(), "buk"))
	return s
}

// mount mounts bucket "buk" of a new local store.
func mount(t testing.TB, change ...func(*Options)) *mounted {
	t.Helper()
	return mountOn(t, newStore(t), change...)
}

func mountOn(t testing.TB, service backend.Service, change ...func(*Options)) *mounted {
	t.Helper()
	o := Options{
		Service: service, Bucket: "buk", Source: "test", CacheDir: t.TempDir(),
		Delay: 10 * time.Millisecond, Log: testLog(t), SpoolSize: 1 << 30,
	}
	for _, fn := range change {
		fn(&o)
	}
	store, err := service.Open(t.Context(), "buk")
	must(t, err)
	m := &mounted{t: t, dir: t.TempDir(), service: service, store: store, o: o}
	m.start()
	t.Cleanup(m.stop)
	return m
}

func (m *mounted) start() {
	m.t.Helper()
	var err error
	m.Mount, err = NewMount(m.dir, m.o)
	must(m.t, err)
	m.done = false
}

// stop unmounts and closes; what is unsent stays in the journal.
func (m *mounted) stop() {
	m.t.Helper()
	if m.done {
		return
	}
	m.done = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(m.t, m.Unmount())
	must(m.t, m.Close(ctx))
}

// drain waits until the store has everything.
func (m *mounted) drain() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	must(m.t, m.Drain(ctx))
}

// remount begins anew with an empty cache, so that only the store can tell.
func (m *mounted) remount() {
	m.t.Helper()
	m.drain()
	m.stop()
	m.o.CacheDir = m.t.TempDir()
	m.start()
}

func (m *mounted) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mounted) write(name, content string) {
	m.t.Helper()
	must(m.t, os.WriteFile(m.path(name), []byte(content), 0o644))
}

func (m *mounted) read(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(name))
	must(m.t, err)
	return string(b)
}

// put stores an object behind the mount's back.
func (m *mounted) put(key, content string, attrs backend.Attrs) backend.Object {
	m.t.Helper()
	body := io.NewSectionReader(strings.NewReader(content), 0, int64(len(content)))
	obj, err := m.store.Put(m.t.Context(), key, body, backend.PutOptions{Attrs: attrs})
	must(m.t, err)
	return obj
}

// object reads an object behind the mount's back.
func (m *mounted) object(key string) (backend.Object, string) {
	m.t.Helper()
	obj, err := m.store.Head(m.t.Context(), key)
	must(m.t, err)
	r, err := m.store.Get(m.t.Context(), key, obj.ETag, 0, -1)
	must(m.t, err)
	b, err := io.ReadAll(r)
	must(m.t, err)
	must(m.t, r.Close())
	return obj, string(b)
}

// keys lists the store flat, without indexes of attributes.
func (m *mounted) keys() []string {
	m.t.Helper()
	return slices.DeleteFunc(m.allKeys(), attrindex.IsKey)
}

func (m *mounted) allKeys() []string {
	m.t.Helper()
	var keys []string
	for e, err := range m.store.List(m.t.Context(), "", "", backend.ListOptions{}) {
		must(m.t, err)
		keys = append(keys, e.Key)
	}
	return keys
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
