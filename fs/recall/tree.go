package recall

import (
	"context"
	"iter"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// Tree yields what is stored below prefix, from one listing, without the markers of
// directories.
func (m *Manager) Tree(ctx context.Context, bucket, prefix string) iter.Seq2[Target, error] {
	return func(yield func(Target, error) bool) {
		store, err := m.o.Open(ctx, bucket)
		if err != nil {
			yield(Target{}, err)
			return
		}
		for e, err := range store.List(ctx, prefix, "", backend.ListOptions{}) {
			if err == nil && strings.HasSuffix(e.Key, "/") && e.Size == 0 {
				continue
			}
			t := Target{Ref: backend.Ref{Bucket: bucket, Key: e.Key}, Object: e.Object}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}
