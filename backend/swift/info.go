package swift

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"sync"
)

// info is what a server tells of its limits at /info, asked for once. Where it tells nothing
// (RadosGW, old ones) the defaults of Swift hold.
type info struct {
	mu    sync.Mutex // held while it is asked for, so that this is done once
	known bool       // guarded by mu
	told  limits     // guarded by mu
}

// limits are the parts of /info that matter here.
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
	defaultMaxDeletes  = 1000
)

func (i *info) get(ctx context.Context, s *Service) limits {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known {
		return i.told
	}
	l, err := s.askInfo(ctx)
	if err != nil {
		if status := statusOf(err); status == 0 || transient(err) {
			return l // another time
		}
	}
	i.known, i.told = true, l
	return l
}

func (s *Service) askInfo(ctx context.Context) (l limits, err error) {
	sess, err := s.keys.session(ctx)
	if err != nil {
		return l, err
	}
	u, err := url.Parse(sess.url)
	if err != nil {
		return l, err
	}
	r := request{method: http.MethodGet, root: true, key: path.Join(u.Path, "..", "..", "info")}
	data, _, err := s.read(ctx, r)
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(data, &l)
}

// maxFile is how many bytes one PUT may have.
func (i *info) maxFile(ctx context.Context, s *Service) int64 {
	if n := i.get(ctx, s).Swift.MaxFile; n > 0 {
		return min(n, defaultMaxFile)
	}
	return defaultMaxFile
}

// maxSegments is how many segments one manifest may have.
func (i *info) maxSegments(ctx context.Context, s *Service) int {
	if n := i.get(ctx, s).SLO.MaxSegments; n > 0 {
		return min(n, 10_000)
	}
	return defaultMaxSegments
}
