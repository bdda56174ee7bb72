package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/faultproxy"
	"github.com/thawfs/thawfs/integration/servers"
)

// faulty mounts a bucket of a server of its own behind a proxy that does as it is told.
func faulty(t *testing.T, change ...func(*fs.Options)) (*mounted, *faultproxy.Proxy) {
	t.Helper()
	p := faultproxy.New(t, servers.MinIO(t))
	return mount(t, openS3(t, p.S3), change...), p
}

// everyNth befalls each nth request.
func everyNth(n int, f faultproxy.Fault) func(*http.Request) faultproxy.Fault {
	i := 0
	return func(*http.Request) faultproxy.Fault {
		if i++; i%n == 0 {
			return f
		}
		return faultproxy.Fault{}
	}
}

// TestStoreFailures writes, renames, removes and reads while the store, or the way to it, fails in
// one way. Nothing is lost, nothing is corrupt, and no upload is left over but one whose begin the
// store has answered in vain: the SDK begins another, and nobody knows of the first. It has no parts.
func TestStoreFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule func() func(*http.Request) faultproxy.Fault
	}{
		{"one in five is 500", func() func(*http.Request) faultproxy.Fault {
			return everyNth(5, faultproxy.Fault{Status: 500, Code: "InternalError"})
		}},
		{"one in five is 503", func() func(*http.Request) faultproxy.Fault {
			return everyNth(5, faultproxy.Fault{Status: 503, Code: "ServiceUnavailable"})
		}},
		{"one in five is SlowDown", func() func(*http.Request) faultproxy.Fault {
			return everyNth(5, faultproxy.Fault{Status: 503, Code: "SlowDown"})
		}},
		{"one answer in five is lost", func() func(*http.Request) faultproxy.Fault {
			return everyNth(5, faultproxy.Fault{Late: true, Reset: true})
		}},
		{"one answer in seven becomes 500", func() func(*http.Request) faultproxy.Fault {
			return everyNth(7, faultproxy.Fault{Late: true, Status: 500, Code: "InternalError"})
		}},
		{"requests are cut in their body", func() func(*http.Request) faultproxy.Fault {
			return everyNth(3, faultproxy.Fault{CutRequest: 1000})
		}},
		{"answers are cut in their body", func() func(*http.Request) faultproxy.Fault {
			return everyNth(3, faultproxy.Fault{CutAnswer: 100})
		}},
		{"answers end early", func() func(*http.Request) faultproxy.Fault {
			return everyNth(3, faultproxy.Fault{ChopAnswer: 100})
		}},
		{"bits of requests flip", func() func(*http.Request) faultproxy.Fault {
			return everyNth(3, faultproxy.Fault{FlipRequest: 700})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, p := faulty(t)
			p.Set(tt.rule())
			want := workload(t, m)
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			must(t, m.Drain(ctx))
			p.Set(nil)
			if failed := len(p.Seen()); failed < 20 {
				t.Errorf("only %d requests", failed)
			}
			holds(t, m, want)
			if !strings.Contains(tt.name, "answer") {
				noUploads(t, m)
			}
		})
	}
}

// workload changes files in every way and returns what they must be.
func workload(t *testing.T, m *mounted) map[string][]byte {
	t.Helper()
	want := map[string][]byte{}
	save := func(name string, data []byte) {
		t.Helper()
		patiently(t, func() error { return os.WriteFile(m.path(name), data, 0o644) })
		want[name] = data
	}
	patiently(t, func() error { return existing(os.Mkdir(m.path("d"), 0o755)) })
	for i := range 12 {
		save(fmt.Sprint("d/", i), noise(byte(i), 3000*i+900))
	}
	save("big", noise(50, 18<<20)) // in parts
	for i := range 4 {
		name := fmt.Sprint("d/", i)
		patiently(t, func() error { return os.Chmod(m.path(name), 0o600) })
		save(name, noise(byte(100+i), 5000))
	}
	patiently(t, func() error { return absent(os.Remove(m.path("d/4"))) })
	delete(want, "d/4")
	patiently(t, func() error { return absent(os.Rename(m.path("d/5"), m.path("d/moved"))) })
	want["d/moved"] = want["d/5"]
	delete(want, "d/5")
	for name, data := range want {
		patiently(t, func() error {
			got, err := os.ReadFile(m.path(name))
			if err == nil && !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes that are wrong", name, len(got))
			}
			return err
		})
	}
	return want
}

// patiently repeats what a store that fails may refuse: with EIO or a time-out, never anything
// else.
func patiently(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for range 40 {
		if err = do(); err == nil {
			return
		}
		if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.ESTALE) {
			t.Fatal(err)
		}
	}
	t.Fatal(err)
}

func existing(err error) error {
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

func absent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// holds compares the store, seen by a new mount, with want.
func holds(t *testing.T, m *mounted, want map[string][]byte) {
	t.Helper()
	m.remount()
	seen := map[string]bool{}
	for name := range treeSums(t, m.dir) {
		seen[name] = true
	}
	delete(seen, "d")
	for name, data := range want {
		got, err := os.ReadFile(m.path(name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("the store's %s: %d bytes, %v; want %d", name, len(got), err, len(data))
		}
		delete(seen, name)
	}
	for name := range seen {
		t.Errorf("%s should not be there", name)
	}
}

// noUploads finds uploads that nobody will finish.
func noUploads(t *testing.T, m *mounted) {
	t.Helper()
	store, err := m.o.Service.Open(t.Context(), m.o.Bucket)
	must(t, err)
	for up, err := range store.(backend.PartUploader).Uploads(t.Context(), "") {
		t.Errorf("an upload is left over: %v, %v", up, err)
	}
}

// TestTheStoreIsAway stops the server. Reads of what is cached and writes go on, until the
// spool is full; when it is back, all of it is sent.
func TestTheStoreIsAway(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, "minio")
	m := mount(t, openS3(t, s.S3), func(o *fs.Options) { o.SpoolSize, o.TTL = 4<<20, time.Second })
	must(t, os.WriteFile(m.path("before"), noise(1, 100_000), 0o644))
	must(t, m.Drain(t.Context()))
	_, err := os.ReadDir(m.dir)
	must(t, err)
	must(t, s.Kill())
	time.Sleep(m.o.TTL + time.Second) // nothing of what is remembered is fresh
	if got, err := os.ReadFile(m.path("before")); err != nil || !bytes.Equal(got, noise(1, 100_000)) {
		t.Errorf("a cached file without the store: %d bytes, %v", len(got), err)
	}
	begin := time.Now()
	n := 0
	for ; err == nil && n < 50; n++ {
		err = os.WriteFile(m.path(fmt.Sprint("away", n)), noise(byte(n), 400_000), 0o644)
	}
	n-- // the last one failed
	if d := time.Since(begin); !errors.Is(err, syscall.ENOSPC) || n < 8 || d > 2*time.Minute {
		t.Errorf("after %d files and %v: %v, want ENOSPC", n, d, err)
	}
	must(t, s.Restart())
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	must(t, m.Drain(ctx))
	if st := m.Queue().Stats(); st.Down || st.Pending > 0 {
		t.Errorf("after a drain: %+v", st)
	}
	m.remount()
	for i := range n {
		if got, err := os.ReadFile(m.path(fmt.Sprint("away", i))); err != nil || !bytes.Equal(got, noise(byte(i), 400_000)) {
			t.Errorf("away%d: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestAnswersThatAreLate lets every answer wait for longer than anybody has patience: an
// interrupted reader leaves at once, and nothing is lost.
func TestAnswersThatAreLate(t *testing.T) {
	t.Parallel()
	m, p := faulty(t)
	must(t, os.WriteFile(m.path("old"), noise(1, 10_000), 0o644))
	m.remount()
	start := time.Now()
	late := time.Minute
	if testing.Short() {
		late = 3 * time.Second
	}
	p.Set(func(*http.Request) faultproxy.Fault { return faultproxy.Fault{Delay: late} })
	must(t, os.WriteFile(m.path("old.new"), noise(2, 10_000), 0o644))
	t.Logf("a new file took %v", time.Since(start))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begin := time.Now()
	if err := exec.CommandContext(ctx, "cat", m.path("old")).Run(); err == nil {
		t.Error("cat ended well within a second")
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("a reader that was killed took %v to end", d)
	}
	p.Set(nil)
	must(t, m.Drain(t.Context()))
	m.remount()
	for name, seed := range map[string]byte{"old": 1, "old.new": 2} {
		if got, err := os.ReadFile(m.path(name)); err != nil || !bytes.Equal(got, noise(seed, 10_000)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestAGetOfAnotherVersion has the store answer a read with an older version, as one that is
// only consistent in the end does. A reader never sees it.
func TestAGetOfAnotherVersion(t *testing.T) {
	t.Parallel()
	m, p := faulty(t)
	must(t, os.WriteFile(m.path("file"), noise(1, 50_000), 0o644))
	m.remount()
	var mu sync.Mutex
	var old *http.Response
	var body []byte
	keep := func(r *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		var err error
		body, err = io.ReadAll(r.Body)
		copied := *r
		old = &copied
		old.Header = r.Header.Clone()
		r.Body = io.NopCloser(bytes.NewReader(body))
		return err
	}
	object := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/file")
	}
	p.Set(func(r *http.Request) faultproxy.Fault {
		if object(r) {
			return faultproxy.Fault{Answer: keep}
		}
		return faultproxy.Fault{}
	})
	_, err := os.ReadFile(m.path("file"))
	must(t, err)
	must(t, os.WriteFile(m.path("file"), noise(2, 50_000), 0o644))
	p.Set(nil)
	m.remount()
	replay := func(r *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		r.StatusCode, r.Status, r.Header = old.StatusCode, old.Status, old.Header.Clone()
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return nil
	}
	replayed := 0
	p.Set(func(r *http.Request) faultproxy.Fault {
		if object(r) && replayed < 3 {
			replayed++
			return faultproxy.Fault{Answer: replay}
		}
		return faultproxy.Fault{}
	})
	patiently(t, func() error {
		got, err := os.ReadFile(m.path("file"))
		if err == nil && !bytes.Equal(got, noise(2, 50_000)) {
			t.Error("an older version was shown")
		}
		return err
	})
	if replayed == 0 {
		t.Error("nothing was replayed")
	}
}

// TestTheClockIsWrong has the store find our clock wrong: the error says so.
func TestTheClockIsWrong(t *testing.T) {
	t.Parallel()
	p := faultproxy.New(t, servers.MinIO(t))
	p.Set(func(*http.Request) faultproxy.Fault {
		return faultproxy.Fault{Status: 403, Code: "RequestTimeTooSkewed"}
	})
	store, err := openS3(t, p.S3).Open(t.Context(), "any")
	if err == nil {
		_, err = store.Head(t.Context(), "key")
		for range store.List(t.Context(), "", "", backend.ListOptions{}) {
			break
		}
		err = errors.Join(err, store.Delete(t.Context(), "key"))
	}
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("the error is %v: it does not speak of the clock", err)
	}
}

// TestCredentialsExpire has the store refuse expired credentials for a while, under load. What
// was written meanwhile is sent when they are good again.
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	m, p := faulty(t)
	must(t, os.WriteFile(m.path("a"), noise(1, 9000), 0o644))
	must(t, m.Drain(t.Context()))
	p.Set(func(*http.Request) faultproxy.Fault {
		return faultproxy.Fault{Status: 400, Code: "ExpiredToken"}
	})
	must(t, os.WriteFile(m.path("a"), noise(2, 9000), 0o644))
	f, err := os.OpenFile(m.path("a"), os.O_RDWR, 0)
	must(t, err)
	time.AfterFunc(2*time.Second, func() { p.Set(nil) })
	patientlyAny(t, f.Sync)
	must(t, f.Close())
	m.remount()
	if got, err := os.ReadFile(m.path("a")); err != nil || !bytes.Equal(got, noise(2, 9000)) {
		t.Errorf("a: %d bytes, %v", len(got), err)
	}
}

// patientlyAny repeats do for a while whatever the error.
func patientlyAny(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(100 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
