package swift

import (
	"net/http"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// Meter implements backend.Metered.
func (s *Service) Meter() *backend.Meter { return &s.meter }

// operation names a request; those to the identity service are logins.
func operation(r *http.Request) string {
	switch {
	case strings.Contains(r.URL.Path, "/auth"):
		return "log in"
	case r.Method == http.MethodGet && (r.URL.Query().Has("format") || r.URL.Query().Has("prefix") || r.URL.Query().Has("limit")):
		return "list"
	}
	return strings.ToLower(r.Method)
}
