package glacier_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/backend/glacier/glaciertest"
)

// TestContract runs over the double, whose jobs take no hours here. Archives of more than 4
// MiB go in parts.
func TestContract(t *testing.T) {
	const soon = 10 * time.Millisecond
	srv := httptest.NewServer(glaciertest.New(glaciertest.Options{Standard: soon, Expedited: soon, Bulk: soon, Inventory: soon}))
	t.Cleanup(srv.Close)
	backendtest.Run(t, func(t *testing.T) backend.Service {
		return open(t, glacier.Options{Endpoint: srv.URL, Look: time.Millisecond, Single: 4 << 20, PartSize: 1 << 20})
	})
}

// open is New with what every test needs.
func open(t *testing.T, o glacier.Options) *glacier.Service {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.AccessKey, o.SecretKey, o.Region, o.NoSync = "access", "secret", "us-east-1", true
	s, err := glacier.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return s
}
