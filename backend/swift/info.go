package swift

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
)

// limits are the parts of what a server tells at /info that matter here. Where it tells nothing
// (RadosGW, old ones) the defaults of Swift hold.
type limits struct {
	Swift struct {
		MaxFile int64 `json:"max_file_size"` // bytes
	} `json:"swift"`
	SLO struct {
		MaxSegments int `json:"max_manifest_segments"`
	} `json:"slo"`
	Bulk *struct {
		MaxDeletes int `json:"max_deletes_per_request"`
	} `json:"bulk_delete"`
	TempURL *struct {
		Digests []string `json:"allowed_digests"`
	} `json:"tempurl"`
}

const (
	defaultMaxFile     = 5 * gib
	defaultMaxSegments = 1000
)

// askLimits asks the server, next to whose accounts /info lies.
func (s *Service) askLimits(ctx context.Context, account string) (l limits, err error) {
	u, err := url.Parse(account)
	if err != nil {
		return l, err
	}
	data, _, err := s.read(ctx, request{method: http.MethodGet, root: true, key: path.Join(u.Path, "..", "..", "info")})
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(data, &l)
}

// maxFile is how many bytes one PUT may have.
func (l limits) maxFile() int64 {
	if n := l.Swift.MaxFile; n > 0 {
		return min(n, defaultMaxFile)
	}
	return defaultMaxFile
}

// maxSegments is how many segments one manifest may have.
func (l limits) maxSegments() int {
	if n := l.SLO.MaxSegments; n > 0 {
		return min(n, 10_000)
	}
	return defaultMaxSegments
}
