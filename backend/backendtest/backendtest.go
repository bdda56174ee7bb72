// Package backendtest is the contract of package backend as checks, and a store that fails
// on demand for the tests of everything above it.
//
// The test of a driver is one call:
//
//	backendtest.Run(t, func(t *testing.T) backend.Service { return myService(t) })
//
// A check is named for the sentence of the contract that it holds the store against. Where
// the contract lets a store refuse (a key it cannot hold, a condition it does not know) the
// check accepts exactly that error and then sees that nothing was changed.
package backendtest

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Run holds every promise of package backend against the service that open returns. The
// service must allow new buckets; Run deletes those it made. The checks run in parallel,
// each in a bucket of its own. Powers are found by type assertion: what a store does not
// have is not checked.
func Run(t *testing.T, open func(t *testing.T) backend.Service) {
	t.Helper()
	svc := open(t)
	var store backend.Store
	t.Run("contract", func(t *testing.T) { // returns when all parallel checks have
		store = newBucket(t.Context(), t, svc).store
		for _, ch := range checks() {
			if ch.power != nil && !ch.power(store) {
				continue
			}
			t.Run(ch.name, func(t *testing.T) {
				t.Parallel()
				ch.run(newBucket(t.Context(), t, svc))
			})
		}
	})
}

// A check is one promise. It is run if the store has the power it is about.
type check struct {
	name  string
	power func(backend.Store) bool // nil: of every store
	run   func(*bucket)
}

// checks returns the whole contract.
func checks() []check {
	return slices.Concat(
		serviceChecks(), keyChecks(), listChecks(), getChecks(), putChecks(), condChecks(),
		cancelChecks(), copyChecks(), partChecks(), partErrorChecks(), partCopyChecks(),
		batchChecks(), archiveChecks(), writeOnceChecks(),
	)
}

// hasPower is a check.power: whether a store implements P.
func hasPower[P any](s backend.Store) bool {
	_, ok := s.(P)
	return ok
}

// patience bounds a check, so that a store that hangs fails instead.
const patience = 2 * time.Minute

// A bucket is what a check works in: a new bucket, which is removed with all in it when
// the check is over.
type bucket struct {
	testing.TB
	ctx   context.Context
	svc   backend.Service
	name  string
	store backend.Store
}

// bucketName returns a name that no bucket has, which all stores allow.
func bucketName() string { return "thawfs-test-" + strings.ToLower(rand.Text()) }

func newBucket(ctx context.Context, t testing.TB, svc backend.Service) *bucket {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	b := &bucket{TB: t, ctx: ctx, svc: svc, name: bucketName()}
	if err := svc.CreateBucket(ctx, b.name); err != nil {
		t.Fatalf("CreateBucket(%q) = %v, want success", b.name, err)
	}
	t.Cleanup(func() { removeBucket(t, svc, b.name) })
	store, err := svc.Open(ctx, b.name)
	if err != nil {
		t.Fatalf("Open(%q) = %v, want success", b.name, err)
	}
	b.store = store
	return b
}

// removeBucket deletes a bucket of ours and all in it; it may be gone.
func removeBucket(t testing.TB, svc backend.Service, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	store, err := svc.Open(ctx, name)
	if err != nil {
		return // the check deleted it
	}
	if p, ok := store.(backend.PartUploader); ok {
		for up, err := range p.Uploads(ctx, "") {
			if err != nil {
				break
			}
			_ = p.Abort(ctx, up) // what is left shows when the bucket is deleted
		}
	}
	var keys []string
	for e, err := range store.List(ctx, "", "", backend.ListOptions{}) {
		if err != nil {
			break
		}
		keys = append(keys, e.Key)
	}
	parallel(len(keys), func(i int) { _ = store.Delete(ctx, keys[i]) })
	if err := svc.DeleteBucket(ctx, name); err != nil {
		t.Logf("clean up: %v", err)
	}
}
