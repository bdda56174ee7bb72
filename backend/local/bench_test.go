package local_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

func benchStore(b *testing.B, o local.Options) backend.Store {
	s, err := local.New(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.CreateBucket(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	st, err := s.Open(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	return st
}

func put(tb testing.TB, st backend.Store, key, content string) backend.Object {
	tb.Helper()
	obj, err := st.Put(context.Background(), key, io.NewSectionReader(strings.NewReader(content), 0, int64(len(content))), backend.PutOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return obj
}

func BenchmarkPut(b *testing.B) {
	for name, o := range map[string]local.Options{"sync": {}, "nosync": {NoSync: true}} {
		for _, size := range []int{100, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				st := benchStore(b, o)
				content := strings.Repeat("x", size)
				for i := 0; b.Loop(); i++ {
					put(b, st, fmt.Sprintf("dir/key%d", i), content)
				}
			})
		}
	}
}

func BenchmarkHead(b *testing.B) {
	st := benchStore(b, local.Options{NoSync: true})
	put(b, st, "dir/key", "content")
	for b.Loop() {
		if _, err := st.Head(b.Context(), "dir/key"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{100, 16 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			st := benchStore(b, local.Options{NoSync: true})
			put(b, st, "key", strings.Repeat("x", size))
			b.SetBytes(int64(size))
			for b.Loop() {
				r, err := st.Get(b.Context(), "key", "", 0, -1)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	st := benchStore(b, local.Options{NoSync: true})
	for i := range 10_000 {
		put(b, st, fmt.Sprintf("flat/key%d", i), "content")
		put(b, st, fmt.Sprintf("dirs/dir%d/key", i), "content")
	}
	for _, prefix := range []string{"flat/", "dirs/"} {
		b.Run(prefix, func(b *testing.B) {
			for b.Loop() {
				n := 0
				for _, err := range st.List(b.Context(), prefix, "", backend.ListOptions{Delimited: true}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != 10_000 {
					b.Fatal(n)
				}
			}
		})
	}
}
