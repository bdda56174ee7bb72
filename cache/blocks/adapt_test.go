package blocks

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A link is a store of zeros behind a network that is only a model: each request waits for
// latency, then its body comes at a rate that depends on how many there are.
type link struct {
	backend.Store
	latency time.Duration
	rate    func(streams int) float64 // bytes/s of each

	mu       sync.Mutex
	streams  int
	peak     int
	requests int
	bytes    int64
}

// distant is the model of LIMITS: 30 ms, and 90 MB/s for every connection.
func distant() *link {
	return &link{latency: 30 * time.Millisecond, rate: func(int) float64 { return 90e6 }}
}

// loopback is a server on two cores: 1.2 GB/s for one, 1.6 GB/s for two together, and less
// for more than that.
func loopback() *link {
	return &link{latency: 300 * time.Microsecond, rate: func(n int) float64 {
		return min(1.2e9, (1.65e9-0.02e9*float64(n))/float64(n))
	}}
}

func (l *link) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	l.mu.Lock()
	l.requests++
	l.mu.Unlock()
	select {
	case <-time.After(l.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	l.streams++
	l.peak = max(l.peak, l.streams)
	l.mu.Unlock()
	return &linkBody{l: l, left: n}, nil
}

type linkBody struct {
	l    *link
	left int64
}

func (b *linkBody) Read(p []byte) (int, error) { return b.skip(int64(len(p))) }

func (b *linkBody) skip(n int64) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n = min(n, b.left)
	b.l.mu.Lock()
	rate := b.l.rate(b.l.streams)
	b.l.bytes += n
	b.l.mu.Unlock()
	time.Sleep(time.Duration(float64(n) / rate * 1e9))
	b.left -= n
	return int(n), nil
}

func (b *linkBody) Close() error {
	b.l.mu.Lock()
	b.l.streams--
	b.l.mu.Unlock()
	return nil
}

// sequentially reads n bytes of an object in pieces, as the kernel does, and returns how long
// that took.
func sequentially(t *testing.T, c *Cache, l *link, key string, n int64, piece int) time.Duration {
	t.Helper()
	obj := backend.Object{Key: key, Size: n, ETag: "1"}
	r := c.Open(l, ref(key), obj)
	defer r.Close()
	p := make([]byte, piece)
	begun := time.Now()
	for off := int64(0); off < n; off += int64(piece) {
		if m, err := r.ReadAt(t.Context(), p, off); err != nil || m != len(p) {
			t.Fatalf("ReadAt(%d) = %d, %v", off, m, err)
		}
	}
	return time.Since(begun)
}

// fetchRange is one whole range, whose bytes nobody looks at.
func (l *link) fetchRange(t *testing.T) {
	body, err := l.Get(t.Context(), "", "", 0, rangeSize)
	if err != nil {
		t.Error(err)
		return
	}
	b := body.(*linkBody)
	for err == nil {
		_, err = b.skip(1 << 20)
	}
	_ = b.Close()
}

// inParallel is how long n bytes take with that many ranges always in flight.
func inParallel(t *testing.T, l *link, n int64, parallel int) time.Duration {
	t.Helper()
	begun := time.Now()
	next := make(chan int64, n/rangeSize)
	for off := int64(0); off < n; off += rangeSize {
		next <- off
	}
	close(next)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for range next {
				l.fetchRange(t)
			}
		})
	}
	wg.Wait()
	return time.Since(begun)
}

func TestDistantStoreIsReadInParallel(t *testing.T) {
	const size = 256 << 20
	for _, piece := range []int{128 << 10, 1 << 20} {
		t.Run(fmt.Sprintf("%d KiB", piece>>10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newMemoryCache(t, Options{})
				l := distant()
				best := inParallel(t, l, size, 16)
				first := sequentially(t, c, l, "first", size, piece)
				second := sequentially(t, c, l, "second", size, piece)
				long := sequentially(t, c, l, "long", 3*size, piece)
				t.Logf("16 ranges in parallel %v; first %v, second %v, long one %v; level %d",
					best, first, second, long, c.tempo.parallel())
				check := func(what string, took, best time.Duration, percent int) {
					t.Helper()
					if took*time.Duration(percent)/100 > best {
						t.Errorf("%s took %v, want %d %% of the speed of %v", what, took, percent, best)
					}
				}
				check("the first file of a mount", first, best, 65)
				check("the second file", second, best, 80)
				check("a longer file", long, 3*best, 80)
			})
		})
	}
}

func TestNearStoreIsReadInPairs(t *testing.T) {
	const size = 256 << 20
	synctest.Test(t, func(t *testing.T) {
		c := newMemoryCache(t, Options{})
		l := loopback()
		best := inParallel(t, l, size, 2)
		l.peak = 0
		first := sequentially(t, c, l, "first", size, 1<<20)
		second := sequentially(t, c, l, "second", size, 1<<20)
		t.Logf("2 ranges in parallel %v; first %v, second %v; peak %d, level %d", best, first, second, l.peak, c.tempo.parallel())
		if first*9/10 > best || second*95/100 > best {
			t.Errorf("first took %v, second %v, want 90 %% and 95 %% of the speed of %v", first, second, best)
		}
		if l.peak > 5 {
			t.Errorf("peak of ranges in flight %d, want no more than a trial with 4", l.peak)
		}
	})
}

// fetchRanges fetches n ranges, as many at a time as tp says.
func fetchRanges(t *testing.T, tp *tempo, l *link, n int) {
	t.Helper()
	over := make(chan struct{}, n)
	for flying := 0; n > 0 || flying > 0; {
		for n > 0 && tp.begin(flying) {
			n--
			flying++
			go func() {
				defer func() { over <- struct{}{} }()
				defer tp.end()
				begun := tp.now()
				tp.latency(l.latency)
				l.fetchRange(t)
				tp.sample(begun, rangeSize)
			}()
		}
		<-over
		flying--
	}
}

func TestTempoFollowsTheStore(t *testing.T) {
	const requests = 64
	near, far, slow := loopback, distant, func() *link {
		l := distant() // a line of 100 MB/s: connections only share it
		l.rate = func(n int) float64 { return 100e6 / float64(n) }
		return l
	}
	for _, tt := range []struct {
		name        string
		first       func() *link
		begin       int // level after the first answers
		then        func() *link
		least, most int // level after many more
	}{
		{"near", near, 2, near, 2, 2},
		{"far", far, 16, far, 16, 16},
		{"far at first", far, 16, near, 2, 4},
		{"near at first", near, 2, far, 16, 16},
		{"far but narrow", slow, 16, slow, 2, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tp := newTempo(requests)
				fetchRanges(t, tp, tt.first(), 20)
				if n := tp.parallel(); n != tt.begin {
					t.Fatalf("level after the first answers = %d, want %d", n, tt.begin)
				}
				then := tt.then()
				fetchRanges(t, tp, then, 6000)
				if n := cmp.Or(tp.trial, tp.level); n < tt.least || n > tt.most {
					t.Errorf("level after 6000 ranges = %d, want %d to %d", n, tt.least, tt.most)
				}
				n, begun := 2000, time.Now()
				fetchRanges(t, tp, then, n)
				took := time.Since(begun)
				if best := inParallel(t, then, int64(n)*rangeSize, tt.most); took*9/10 > best {
					t.Errorf("%d ranges took %v, want 90 %% of the speed of %v", n, took, best)
				}
			})
		})
	}
}

func newMemoryCache(t testing.TB, o Options) *Cache {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
