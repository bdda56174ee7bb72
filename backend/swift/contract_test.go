package swift

import (
	"net/http"
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestContract(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backend.Service { return service(t, servers.Swift(t)) })
}

// service returns the account of a test server.
func service(t testing.TB, at servers.SwiftAccount, wrap ...func(http.RoundTripper) http.RoundTripper) *Service {
	t.Helper()
	o := Options{Auth: Auth{URL: at.AuthURL, User: at.User, Password: at.Key}}
	for _, w := range wrap {
		o.Wrap = w
	}
	svc, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return svc
}
