package backendtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

// A recorder is a testing.TB that keeps failures for itself, so that a test can demand them.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string // guarded by mu
	cleanups []func() // guarded by mu
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// record runs a check against svc and returns what it complained of.
func record(t *testing.T, ch check, svc backend.Service) []string {
	r := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { ch.run(newBucket(t.Context(), r, svc)) })
	wg.Wait()
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return r.failures
}

// newLocal is a store with small parts and quick restores.
func newLocal(t *testing.T) backend.Service {
	svc, err := local.New(t.TempDir(), local.Options{
		NoSync:      true,
		RestoreTime: 30 * time.Millisecond,
		Parts:       backend.PartLimits{MinSize: 4 << 10},
	})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// A brokenService opens stores that wrap breaks.
type brokenService struct {
	backend.Service
	wrap func(Full) backend.Store
}

func (s brokenService) Open(ctx context.Context, name string) (backend.Store, error) {
	st, err := s.Service.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.wrap(st.(Full)), nil
}

// find returns the check whose name begins with prefix.
func find(t *testing.T, prefix string) check {
	t.Helper()
	for _, ch := range checks() {
		if strings.HasPrefix(ch.name, prefix) {
			return ch
		}
	}
	t.Fatalf("no check %q", prefix)
	return check{}
}

func TestChecksFindBrokenStores(t *testing.T) {
	for _, bug := range bugs() {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			failures := record(t, find(t, bug.check), bug.service(newLocal(t)))
			if len(failures) == 0 {
				t.Errorf("the check %q passes", bug.check)
			}
			for _, f := range failures {
				t.Logf("%.200s", f)
			}
		})
	}
}

// TestEveryCheckCanFail runs the whole contract against stores that are wrong all over.
func TestEveryCheckCanFail(t *testing.T) {
	svc := brokenService{newLocal(t), func(s Full) backend.Store { return deaf{s} }}
	for _, ch := range checks() {
		var store backend.Store = deaf{}
		if ch.power != nil && !ch.power(store) {
			store = deafOnce{}
		}
		if len(record(t, ch, deafService{svc, store})) == 0 {
			t.Errorf("the check %q passes on a store that does nothing", ch.name)
		}
	}
}
