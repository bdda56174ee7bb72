package recall

import (
	"fmt"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// BenchmarkScan is what the poller does under the lock of the Manager each time it wakes.
func BenchmarkScan(b *testing.B) {
	now := time.Now()
	m := &Manager{jobs: map[backend.Ref]*job{}, holds: map[backend.Ref]int{}}
	for i := range 100_000 {
		ref := backend.Ref{Bucket: bucket, Key: fmt.Sprint("photos/", i)}
		m.jobs[ref] = &job{ref: ref, rec: record{Phase: Restoring}, born: now, looked: now, tried: now, expect: usual(glacier, bulk)}
	}
	for b.Loop() {
		if len(m.takeDue(now)) > 0 {
			b.Fatal("something is due")
		}
		if _, any := m.nextLocked(now); !any {
			b.Fatal("nothing ever is")
		}
	}
}
