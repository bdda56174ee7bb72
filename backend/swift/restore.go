package swift

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// The archive of OVH seals objects of the storage policy PCA. HEAD and listings tell the state;
// a GET of what is sealed is answered by 429 and starts the retrieval, so that no GET may be
// made but for that (OVH guide "Unfreezing your data stored in the Public Cloud Archive").
const sealHeader = "X-Ovh-Retrieval-State"

// archivePolicies are the storage policies that seal.
var archivePolicies = []string{"PCA"}

func isArchive(policy string) bool {
	for _, p := range archivePolicies {
		if strings.EqualFold(policy, p) {
			return true
		}
	}
	return false
}

// sealState reads the state of one object; without one it is an ordinary object. How long an
// unsealed one stays so is not told.
func sealState(v string) backend.State {
	switch strings.ToLower(v) {
	case "sealed":
		return backend.Archived
	case "unsealing":
		return backend.Restoring
	case "unsealed":
		return backend.Restored
	}
	return backend.Online
}

// worse returns the state that says less of the bytes.
func worse(a, b backend.State) backend.State {
	rank := map[backend.State]int{backend.Online: 0, backend.Restored: 1, backend.Restoring: 2, backend.Archived: 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// worst completes the state of a large object in an archive: as good as the worst segment. The
// manifest of a static one cannot be read without a GET, so all segments in the places where
// they may lie are counted.
func (s *Store) worst(ctx context.Context, k *known) error {
	if !isArchive(s.policy) || k.kind != staticLarge && k.kind != dynamicLarge {
		return nil
	}
	names, err := s.sealedPlaces(ctx, *k)
	for _, r := range names {
		k.State = worse(k.State, sealState(r.Seal))
	}
	return err
}

// sealedPlaces lists the segments of a large object with their states.
func (s *Store) sealedPlaces(ctx context.Context, k known) ([]row, error) {
	container, prefix := s.segments(), k.raw+"/"
	if k.kind == dynamicLarge {
		container, prefix, _ = strings.Cut(k.prefix, "/")
	}
	var all []row
	for marker := ""; ; {
		rows, err := s.svc.listing(ctx, container, url.Values{
			"format": {"json"}, "limit": {strconv.Itoa(maxPage)}, "marker": {marker}, "prefix": {prefix}, "policy_extra": {"true"},
		})
		if statusOf(err) == http.StatusNotFound || err == nil && len(rows) == 0 {
			return ownRows(all, prefix), nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
		marker = rows[len(rows)-1].Name
	}
}

// ownRows leaves out the segments of objects that lie below one of ours.
func ownRows(rows []row, prefix string) []row {
	own := slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		id, number, ok := strings.Cut(strings.TrimPrefix(r.Name, prefix), "/")
		return !ok || strings.Contains(number, "/") || !ours(set(id))
	})
	if len(own) > 0 {
		return own
	}
	return rows
}

// sealedSegments are the segments of k, whose manifest cannot be read: those of its name.
func (s *Store) sealedSegments(ctx context.Context, k known) ([]segment, error) {
	rows, err := s.sealedPlaces(ctx, k)
	var segments []segment
	for _, r := range ownRows(rows, k.raw+"/") {
		if g := (segment{Name: "/" + s.segments() + "/" + r.Name, Size: r.Bytes, ETag: r.Hash}); ours(setOf(g)) {
			segments = append(segments, g)
		}
	}
	return segments, err
}

// Restore implements backend.Restorer: the one GET of something sealed that is made. Swift's
// archive knows neither tiers nor how long a copy shall stay.
func (s *Store) Restore(ctx context.Context, key string, _ backend.RestoreOptions) error {
	k, err := s.head(ctx, key)
	if err == nil && k.State == backend.Archived {
		err = s.unseal(ctx, s.name, k.raw)
		if err == nil && k.kind != plainObject {
			err = s.unsealSegments(ctx, k)
		}
	}
	if err != nil {
		return s.fail(ctx, "restore", key, err)
	}
	return nil
}

func (s *Store) unsealSegments(ctx context.Context, k known) error {
	rows, err := s.sealedPlaces(ctx, k)
	if err != nil {
		return err
	}
	container := s.segments()
	if k.kind == dynamicLarge {
		container, _, _ = strings.Cut(k.prefix, "/")
	}
	for _, r := range rows {
		if sealState(r.Seal) == backend.Archived {
			if err := s.unseal(ctx, container, r.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// unseal starts the retrieval of one object: its refusal is what was wanted.
func (s *Store) unseal(ctx context.Context, container, name string) error {
	resp, err := s.svc.do(ctx, request{
		method: http.MethodGet, container: container, key: name, header: map[string]string{"Range": "bytes=0-0"}, cold: true,
	})
	if err == nil {
		return resp.Body.Close() // it was not sealed any more
	}
	if errors.Is(err, backend.ErrArchived) || statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
		return nil
	}
	return err
}
