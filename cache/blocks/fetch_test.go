package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

func TestReadersOfOneRangeShareTheRequest(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 1<<20)
	hold := make(chan struct{})
	b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Hold: hold})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := b.reader("key", obj)
			defer r.Close()
			p := make([]byte, 1000)
			if n, err := r.ReadAt(b.ctx, p, int64(i*50_000)); err != nil || !bytes.Equal(p[:n], data[i*50_000:][:1000]) {
				t.Errorf("ReadAt(%d) = %d, %v", i*50_000, n, err)
			}
		})
	}
	close(hold)
	wg.Wait()
	if n := b.store.Count(backendtest.OpGet); n != 1 {
		t.Errorf("20 readers of an object of 1 MiB: %d GETs, want 1", n)
	}
}

func TestRandomReadsFetchOnlyTheirGranules(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 40<<20)
	r := b.reader("key", obj)
	defer r.Close()
	for _, off := range []int{33 << 20, 5 << 20, 21 << 20, 11 << 20, 38 << 20, 1 << 20} {
		b.want(r, data, off+1000, 4096)
	}
	if n, m := b.store.Count(backendtest.OpGet), b.store.BytesRead(); n != 6 || m != 6*granuleSize {
		t.Errorf("6 random reads: %d GETs of %d bytes in all, want 6 of %d", n, m, 6*granuleSize)
	}
}

func TestInterleavedSequentialReadersDoNotThrash(t *testing.T) {
	b := newBench(t, Options{Capacity: -1})
	obj, data := b.put("key", 64<<20)
	r := b.reader("key", obj)
	defer r.Close()
	for off := 0; off < 32<<20; off += granuleSize {
		b.want(r, data, off, granuleSize)
		b.want(r, data, 32<<20+off, granuleSize)
	}
	if n, m := b.store.Count(backendtest.OpGet), b.store.BytesRead(); n > 40 || m != int64(len(data)) {
		t.Errorf("two interleaved reads of 32 MiB: %d GETs of %d bytes in all, want at most 40 of %d", n, m, len(data))
	}
}

// TestKernelOrderIsSequential reads as the kernel reads ahead: several requests at a time.
func TestKernelOrderIsSequential(t *testing.T) {
	b := newBench(t, Options{Capacity: -1})
	obj, data := b.put("key", 64<<20)
	r := b.reader("key", obj)
	defer r.Close()
	const step, parallel = 256 << 10, 8
	for off := 0; off < len(data); off += parallel * step {
		var wg sync.WaitGroup
		for i := range parallel {
			wg.Go(func() {
				p := make([]byte, step)
				n, err := r.ReadAt(b.ctx, p, int64(off+i*step))
				if err != nil || !bytes.Equal(p[:n], data[off+i*step:][:step]) {
					t.Errorf("ReadAt(%d) = %d, %v", off+i*step, n, err)
				}
			})
		}
		wg.Wait()
	}
	if n, m := b.store.Count(backendtest.OpGet), b.store.BytesRead(); n > 40 || m > int64(len(data))*11/10 {
		t.Errorf("sequential read with 8 requests at a time: %d GETs of %d bytes in all, want at most 40 of %d", n, m, len(data))
	}
}

func TestManyReadersStayWithinTheMemory(t *testing.T) {
	const budget, size = 64 << 20, 1<<20 + 300_000
	b := newBench(t, Options{Memory: budget, Capacity: 200 << 20})
	obj, data := b.put("key", size)
	stop := make(chan struct{})
	var watch, wg sync.WaitGroup
	var most int64
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				most = max(most, b.cache.Stats().Memory)
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	for i := range 500 {
		wg.Go(func() {
			// Each reads an object of its own, as far as the cache knows.
			r := b.cache.Open(b.store, backend.Ref{Bucket: fmt.Sprint(i), Key: "key"}, obj)
			defer r.Close()
			p := make([]byte, 1<<20)
			for off := 0; off < size; off += len(p) {
				n, err := r.ReadAt(b.ctx, p, int64(off))
				if err != nil || !bytes.Equal(p[:n], data[off:off+n]) {
					t.Errorf("reader %d: ReadAt(%d) = %d, %v", i, off, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	if most > budget {
		t.Errorf("500 readers used %d bytes of buffers, want at most %d", most, budget)
	}
	if n := b.store.Peak(backendtest.OpGet); n > defaultRequests {
		t.Errorf("%d GETs in flight, want at most %d", n, defaultRequests)
	}
	b.settle()
	if err := b.cache.invariants(); err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes fetched for %d, memory %d", b.store.BytesRead(), 500*size, most)
}

func TestTheSmallestMemoryIsEnough(t *testing.T) {
	b := newBench(t, Options{Memory: 1, Requests: 1})
	obj, data := b.put("key", 9<<20)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			r := b.reader("key", obj)
			defer r.Close()
			p := make([]byte, len(data))
			if n, err := r.ReadAt(b.ctx, p, 0); err != nil || !bytes.Equal(p[:n], data) {
				t.Errorf("ReadAt of all = %d, %v", n, err)
			}
		})
	}
	wg.Wait()
}

func TestChangedObjectIsSaidSo(t *testing.T) {
	b := newBench(t, Options{})
	old, data := b.put("key", 20<<20)
	r := b.reader("key", old)
	defer r.Close()
	b.want(r, data, 0, 100)
	b.settle()
	b.putBytes("key", randomBytes(99, 20<<20))
	b.want(r, data, 100, 100) // is here, and of that version
	p := make([]byte, 8<<20)
	if n, err := r.ReadAt(b.ctx, p, 12<<20); !errors.Is(err, backend.ErrChanged) {
		t.Fatalf("ReadAt of an overwritten version = %d, %v; want ErrChanged", n, err)
	}
	if n, err := r.ReadAt(b.ctx, p, 0); !errors.Is(err, backend.ErrChanged) || !bytes.Equal(p[:n], data[:n]) {
		t.Fatalf("ReadAt of an overwritten version that is here in part = %d, %v; want ErrChanged behind bytes of the old version", n, err)
	}
}

func TestFailureForAWhileIsBridged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		obj, data := b.put("key", 3<<20)
		b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Cut: 300_000, Err: backend.ErrUnavailable})
		b.store.Inject(backendtest.Fault{Op: backendtest.OpGet})
		r := b.reader("key", obj)
		defer r.Close()
		b.want(r, data, 0, 1<<20)
		if n, m := b.store.Count(backendtest.OpGet), b.store.BytesRead(); n != 3 || m != 1<<20 {
			t.Errorf("read over two failures: %d GETs of %d bytes, want 3 of %d", n, m, 1<<20)
		}
	})
}

func TestLastingFailureIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		obj, data := b.put("key", 3<<20)
		b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Times: -1})
		r := b.reader("key", obj)
		defer r.Close()
		if _, err := r.ReadAt(b.ctx, make([]byte, 100), 0); !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("ReadAt from a store that is away: %v, want ErrUnavailable", err)
		}
		if n := b.store.Count(backendtest.OpGet); n != fetchAttempts {
			t.Errorf("%d GETs, want %d", n, fetchAttempts)
		}
		b.store.Heal()
		b.want(r, data, 0, 3<<20)
	})
}

func TestArchivedIsNotTriedAgain(t *testing.T) {
	b := newBench(t, Options{})
	obj, _ := b.put("key", 3<<20)
	b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Times: -1, Err: backend.ErrArchived})
	r := b.reader("key", obj)
	defer r.Close()
	if _, err := r.ReadAt(b.ctx, make([]byte, 100), 0); !errors.Is(err, backend.ErrArchived) {
		t.Errorf("ReadAt of an archived object: %v, want ErrArchived", err)
	}
	if n := b.store.Count(backendtest.OpGet); n != 1 {
		t.Errorf("%d GETs, want 1", n)
	}
}

func TestFailedReadAheadIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		obj, data := b.put("key", 20<<20)
		b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Skip: 1, Times: -1, Cut: 2 * granuleSize, Err: backend.ErrUnavailable})
		r := b.reader("key", obj)
		defer r.Close()
		b.want(r, data, 0, granuleSize)
		b.want(r, data, granuleSize, granuleSize)
		synctest.Wait()
		time.Sleep(time.Minute) // read-ahead gives up
		b.store.Heal()
		b.want(r, data, 2*granuleSize, 15<<20)
		if st := b.cache.Stats(); st.Requests < 4 {
			t.Errorf("%d requests: nothing was read ahead", st.Requests)
		}
	})
}

func TestInterruptedReadGoesOnUntilNobodyWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		obj, data := b.put("key", 20<<20)
		b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Times: -1, Delay: time.Second})
		r := b.reader("key", obj)
		for range 9 { // each time interrupted after 0.1 s
			ctx, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
			if _, err := r.ReadAt(ctx, make([]byte, 100), 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("interrupted ReadAt: %v", err)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(b.ctx, 200*time.Millisecond)
		defer cancel()
		if n, err := r.ReadAt(ctx, make([]byte, 100), 0); n != 100 || err != nil {
			t.Errorf("ReadAt after interrupted ones = %d, %v; want the bytes that are on their way", n, err)
		}
		if n := b.store.Count(backendtest.OpGet); n != 1 {
			t.Errorf("interrupted and repeated reads: %d GETs, want 1", n)
		}

		// Another reader waits for what the first one began and leaves: it goes on.
		go r.ReadAt(b.ctx, make([]byte, 100), 10<<20)
		time.Sleep(10 * time.Millisecond)
		r.Close()
		other := b.reader("key", obj)
		b.want(other, data, 10<<20, 100)
		if n := b.store.Count(backendtest.OpGet); n != 2 {
			t.Errorf("%d GETs, want 2", n)
		}

		// Nobody waits and the reader is closed: it ends at once.
		ctx, cancel2 := context.WithTimeout(b.ctx, 10*time.Millisecond)
		defer cancel2()
		if _, err := other.ReadAt(ctx, make([]byte, 100), 15<<20); err == nil {
			t.Error("ReadAt came back before the store's answer")
		}
		begun := time.Now()
		other.Close()
		b.cache.fetches.Wait()
		if d := time.Since(begun); d != 0 {
			t.Errorf("fetch that nobody wanted went on for %v", d)
		}
	})
}

func TestCloseEndsReads(t *testing.T) {
	b := newBench(t, Options{})
	obj, _ := b.put("key", 20<<20)
	b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Times: -1, Hold: make(chan struct{})})
	r := b.reader("key", obj)
	failed := make(chan error)
	go func() {
		_, err := r.ReadAt(b.ctx, make([]byte, 100), 0)
		failed <- err
	}()
	for b.store.Count(backendtest.OpGet) == 0 {
		time.Sleep(time.Millisecond)
	}
	b.reopen()
	if err := <-failed; !errors.Is(err, errClosed) {
		t.Errorf("ReadAt of a cache that was closed: %v, want %v", err, errClosed)
	}
	if _, err := r.ReadAt(b.ctx, make([]byte, 100), 0); !errors.Is(err, errClosed) {
		t.Errorf("ReadAt of a closed cache: %v, want %v", err, errClosed)
	}
	r.Close()
}
