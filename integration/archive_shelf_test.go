package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
	"github.com/thawfs/thawfs/integration/s3archive"
	"github.com/thawfs/thawfs/integration/servers"
)

// A shelf is a store with an archive, and what a test must know of it.
type shelf struct {
	backend.Service
	paid  func(ref backend.Ref) int           // restores that a bill would show
	jam   func(on bool)                       // while on, restores fail
	lapse func(t *testing.T, ref backend.Ref) // ends a restored copy

	double *s3archive.Server // of the S3 shelf; nil of others
	url    string            // where its clients go
}

// shelves are the archives that the tests of stubs run over. takes is how long a restore
// lasts.
var shelves = []struct {
	name string
	open func(t *testing.T, takes time.Duration) *shelf
}{
	{"local", localShelf},
	{"s3", s3Shelf},
}

const never = 24 * time.Hour // a restore that no test sees the end of

// onShelves runs a test over each archive.
func onShelves(t *testing.T, takes time.Duration, test func(t *testing.T, s *shelf)) {
	t.Parallel()
	for _, k := range shelves {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.open(t, takes))
		})
	}
}

func localShelf(t *testing.T, takes time.Duration) *shelf {
	t.Helper()
	service, err := local.New(t.TempDir(), local.Options{NoSync: true, RestoreTime: takes})
	must(t, err)
	c := &counting{Service: service, asked: map[backend.Ref]int{}}
	return &shelf{
		Service: c, paid: c.paid, jam: c.jam,
		lapse: func(t *testing.T, ref backend.Ref) {
			t.Helper()
			store, err := service.Open(t.Context(), ref.Bucket)
			must(t, err)
			must(t, store.(backend.Restorer).Restore(t.Context(), ref.Key, backend.RestoreOptions{Keep: time.Nanosecond}))
			must(t, until(t, func() bool { return stateOf(t, store, ref.Key) == backend.Archived }))
		},
	}
}

// s3Shelf is MinIO with our double of S3's archive before it.
func s3Shelf(t *testing.T, takes time.Duration) *shelf {
	t.Helper()
	return doubleShelf(t, func(o *s3archive.Options) { o.Takes = s3archive.Always(takes) })
}

func doubleShelf(t *testing.T, change func(*s3archive.Options)) *shelf {
	t.Helper()
	at, clock := servers.MinIO(t), &s3archive.Clock{}
	o := s3archive.Options{Endpoint: at.Endpoint, AccessKey: at.AccessKey, SecretKey: at.SecretKey, Region: at.Region, Now: clock.Now}
	change(&o)
	double := s3archive.New(o)
	web := httptest.NewServer(double)
	t.Cleanup(func() { web.Close(); double.Close() })
	at.Endpoint = web.URL
	return &shelf{
		Service: openS3(t, at), double: double, url: web.URL, jam: double.Deny,
		paid: func(ref backend.Ref) int { return double.Paid(ref.Bucket, ref.Key) },
		lapse: func(t *testing.T, ref backend.Ref) {
			clock.Advance(30 * 24 * time.Hour)
		},
	}
}

// counting counts the restores that its stores are asked for, and can make them fail.
type counting struct {
	backend.Service
	mu     sync.Mutex
	asked  map[backend.Ref]int // guarded by mu
	jammed bool                // guarded by mu
}

func (c *counting) Open(ctx context.Context, bucket string) (backend.Store, error) {
	s, err := c.Service.Open(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return &countingStore{s.(powers), c, bucket}, nil
}

func (c *counting) paid(ref backend.Ref) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[ref]
}

func (c *counting) jam(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jammed = on
}

// count notes a restore; it reports whether that is to fail.
func (c *counting) count(ref backend.Ref) (jammed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.jammed {
		c.asked[ref]++
	}
	return c.jammed
}

// powers are those of the stores that are counted: none may be lost on the way.
type powers interface {
	backend.Store
	backend.Copier
	backend.PartUploader
	backend.PartCopier
	backend.BatchDeleter
	backend.Restorer
}

type countingStore struct {
	powers
	c      *counting
	bucket string
}

func (s *countingStore) Restore(ctx context.Context, key string, o backend.RestoreOptions) error {
	if s.c.count(backend.Ref{Bucket: s.bucket, Key: key}) {
		return &backend.Error{Store: s.bucket, Op: "restore", Key: key, Err: backend.ErrPermission}
	}
	return s.powers.Restore(ctx, key, o)
}

// A coldMount is a mount of a bucket with archived objects.
type coldMount struct {
	*mounted
	shelf *shelf
	store backend.Store
	log   *logLines
}

// mountCold mounts a bucket of s. Answers are believed for long, so that what is seen to
// change was told by the recall manager.
func mountCold(t *testing.T, s *shelf, change ...func(*fs.Options)) *coldMount {
	t.Helper()
	log := &logLines{t: t}
	first := func(o *fs.Options) {
		o.TTL, o.Delay = 10*time.Minute, time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	m := mount(t, s, append([]func(*fs.Options){first}, change...)...)
	store, err := s.Open(t.Context(), m.o.Bucket)
	must(t, err)
	return &coldMount{m, s, store, log}
}

// policy is a change of what opens of archived objects do.
func policy(r recall.Options) func(*fs.Options) { return func(o *fs.Options) { o.Recall = r } }

// freeze puts an object of an archive class behind the mount's back.
func (m *coldMount) freeze(key string, content []byte) backend.Ref {
	m.t.Helper()
	return m.put(key, content, "GLACIER")
}

func (m *coldMount) put(key string, content []byte, class string) backend.Ref {
	m.t.Helper()
	body := io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content)))
	_, err := m.store.Put(m.t.Context(), key, body, backend.PutOptions{Attrs: backend.Attrs{Class: class}})
	must(m.t, err)
	return m.ref(key)
}

func (m *coldMount) ref(key string) backend.Ref { return backend.Ref{Bucket: m.o.Bucket, Key: key} }

// unasked fails if anything was begun for key.
func (m *coldMount) unasked(key string) {
	m.t.Helper()
	m.paidFor(key, 0)
	if job, ok := m.Recall().Job(m.ref(key)); ok && job.Phase != recall.Refused {
		m.t.Errorf("%s has a job: %+v", key, job)
	}
}

func (m *coldMount) paidFor(key string, want int) {
	m.t.Helper()
	if got := m.shelf.paid(m.ref(key)); got != want {
		m.t.Errorf("%s: %d restores were paid for, want %d", key, got, want)
	}
}

// xattr reads a virtual xattr of a file; "" if it has none.
func (m *coldMount) xattr(name, attr string) string {
	m.t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(m.path(name), "user.thawfs."+attr, buf)
	for err == unix.EINTR { // by a signal of Go's own
		n, err = unix.Getxattr(m.path(name), "user.thawfs."+attr, buf)
	}
	if errors.Is(err, unix.ENODATA) {
		return ""
	}
	must(m.t, err)
	return string(buf[:n])
}

// setXattr writes a virtual xattr, again when a signal of Go's own interrupted it.
func (m *coldMount) setXattr(name, attr, value string) error {
	for {
		err := unix.Setxattr(m.path(name), "user.thawfs."+attr, []byte(value), 0)
		if err != unix.EINTR {
			return err
		}
	}
}

// wantState waits until the mount shows key in a state.
func (m *coldMount) wantState(key string, want backend.State) {
	m.t.Helper()
	if err := until(m.t, func() bool { return m.xattr(key, "state") == want.String() }); err != nil {
		m.t.Fatalf("%s is %s, not %s: %v", key, m.xattr(key, "state"), want, err)
	}
}

// wantJob waits until the recall manager has brought the job of key so far.
func (m *coldMount) wantJob(key string, want recall.Phase) {
	m.t.Helper()
	if err := until(m.t, func() bool { return m.xattr(key, "job") == string(want) }); err != nil {
		m.t.Fatalf("the job of %s is %s, not %s: %v", key, m.xattr(key, "job"), want, err)
	}
}

// wantOpen opens a file and fails unless that has the outcome want, 0 for success.
func (m *coldMount) wantOpen(name string, flags int, want syscall.Errno) {
	m.t.Helper()
	fd, err := open(m.path(name), flags)
	if err == nil {
		must(m.t, syscall.Close(fd))
	}
	if got, _ := err.(syscall.Errno); got != want {
		m.t.Errorf("open(%s, %#x): %v (%d), want %v", name, flags, err, got, want)
	}
}

// open is open(2), again when a signal of Go's own interrupted it, and without O_NONBLOCK,
// which package os would set.
func open(path string, flags int) (int, error) {
	for {
		fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func stateOf(t *testing.T, store backend.Store, key string) backend.State {
	t.Helper()
	obj, err := store.Head(t.Context(), key)
	must(t, err)
	return obj.State
}

// until waits for ok, half a minute at most.
func until(t *testing.T, ok func() bool) error {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			return fmt.Errorf("it did not come about within half a minute")
		}
		select {
		case <-t.Context().Done():
			return t.Context().Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

// logLines keeps what a mount logs and shows it with the test.
type logLines struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.lines = append(l.lines, string(p))
	l.mu.Unlock()
	return logTo{l.t}.Write(p)
}

// with returns the lines that hold a text.
func (l *logLines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		if bytes.Contains([]byte(line), []byte(text)) {
			found = append(found, line)
		}
	}
	return found
}
