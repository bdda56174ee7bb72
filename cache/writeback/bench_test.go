package writeback

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

// BenchmarkCommit is the creation of a file of 10 KiB up to its close, with the group
// commit running and nothing being sent.
func BenchmarkCommit(b *testing.B) {
	data := []byte(text(1, 10<<10))
	create := func(b *testing.B, q *Queue, n int64) {
		f, err := q.OpenFile(ref(fmt.Sprintf("dir%d/file%d", n%100, n)), OpenOptions{Attrs: attrsOf("1")})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.WriteAt(data, 0); err != nil {
			b.Fatal(err)
		}
		if err := f.Commit(attrsOf("2")); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	begin := func(b *testing.B) *Queue {
		q, err := New(Options{
			Dir: b.TempDir() + "/wb", Log: slog.New(slog.DiscardHandler),
			Open: func(context.Context, string) (backend.Store, error) { return newShelf(), nil },
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := q.Close(context.Background()); err != nil {
				b.Error(err)
			}
		})
		return q
	}
	b.Run("serial", func(b *testing.B) {
		q := begin(b)
		for n := int64(0); b.Loop(); n++ {
			create(b, q, n)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closes/s")
	})
	b.Run("parallel", func(b *testing.B) {
		q := begin(b)
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				create(b, q, n.Add(1))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closes/s")
	})
	b.Run("symlinks", func(b *testing.B) {
		q := begin(b)
		for n := int64(0); b.Loop(); n++ {
			if err := q.Put(ref(fmt.Sprintf("dir%d/link%d", n%100, n)), data[:40], attrsOf("1"), backend.Object{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closes/s")
	})
}
