package blocks

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

// zeros is a store that answers at once, as fast as memory is read.
type zeros struct{ backend.Store }

type zeroBody struct{ left int64 }

func (z *zeroBody) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

func (*zeroBody) Close() error { return nil }

func (zeros) Get(_ context.Context, _, _ string, _, n int64) (io.ReadCloser, error) {
	return &zeroBody{n}, nil
}

func benchmarkReads(b *testing.B, c *Cache, size int64, piece int, offset func(i int) int64, parallel bool) {
	b.Helper()
	obj := backend.Object{Key: "key", Size: size, ETag: "1"}
	r := c.Open(zeros{}, ref("key"), obj)
	defer r.Close()
	b.SetBytes(int64(piece))
	b.ReportAllocs()
	if parallel {
		b.RunParallel(func(pb *testing.PB) {
			p := make([]byte, piece)
			for i := rand.IntN(1 << 30); pb.Next(); i++ {
				if _, err := r.ReadAt(b.Context(), p, offset(i)); err != nil {
					b.Error(err)
				}
			}
		})
		return
	}
	p := make([]byte, piece)
	for i := 0; b.Loop(); i++ {
		if _, err := r.ReadAt(b.Context(), p, offset(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func within(size int64, piece int) func(i int) int64 {
	return func(i int) int64 { return int64(i) * int64(piece) % (size - int64(piece) + 1) }
}

func BenchmarkReadAtFromMemory(b *testing.B) {
	for _, piece := range []int{4 << 10, 128 << 10} {
		for _, parallel := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dKiB/parallel=%t", piece>>10, parallel), func(b *testing.B) {
				benchmarkReads(b, newMemoryCache(b, Options{}), 1<<20, piece, within(1<<20, piece), parallel)
			})
		}
	}
}

func BenchmarkReadAtFromDisk(b *testing.B) {
	const size = 64 << 20
	c := newMemoryCache(b, Options{Dir: b.TempDir(), Capacity: 1 << 30, Memory: 1})
	obj := backend.Object{Key: "key", Size: size, ETag: "1"}
	f, err := c.Fill(b.Context(), zeros{}, ref("key"), obj)
	if err != nil {
		b.Fatal(err)
	}
	_ = f.Close()
	c.memory.forget(refHash(ref("key")))
	for _, piece := range []int{4 << 10, 128 << 10, 1 << 20} {
		for _, parallel := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dKiB/parallel=%t", piece>>10, parallel), func(b *testing.B) {
				benchmarkReads(b, c, size, piece, within(size, piece), parallel)
			})
		}
	}
}

// BenchmarkReadAtFromStore reads on and on through an object that is never here.
func BenchmarkReadAtFromStore(b *testing.B) {
	const size = 1 << 40
	for _, capacity := range []int64{0, 256 << 20} {
		b.Run(fmt.Sprintf("disk=%dMiB", capacity>>20), func(b *testing.B) {
			c := newMemoryCache(b, Options{Dir: b.TempDir(), Capacity: capacity})
			benchmarkReads(b, c, size, 1<<20, within(size, 1<<20), false)
			b.ReportMetric(float64(c.Stats().Dropped)/float64(b.N), "dropped/op")
		})
	}
}
