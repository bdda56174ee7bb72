package swift

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

const (
	segmentsSuffix = "_segments" // of the container that holds the segments of another one's objects
	maxContainer   = 256         // bytes of a name (max_container_name_length)
)

// Buckets implements backend.Service. Containers of segments are left out, as long as the
// container exists whose segments they hold; by name they can be opened.
func (s *Service) Buckets(ctx context.Context) iter.Seq2[backend.Bucket, error] {
	return func(yield func(backend.Bucket, error) bool) {
		names, err := s.containers(ctx)
		if err != nil {
			yield(backend.Bucket{}, s.fail(ctx, "list containers", "", err))
			return
		}
		for _, name := range names {
			base, ok := strings.CutSuffix(name, segmentsSuffix)
			if _, exists := slices.BinarySearch(names, base); ok && exists {
				continue
			}
			if !yield(backend.Bucket{Name: name}, nil) {
				return
			}
		}
	}
}

// containers returns all names, in byte order.
func (s *Service) containers(ctx context.Context) ([]string, error) {
	var names []string
	for marker := ""; ; marker = names[len(names)-1] {
		q := url.Values{"format": {"json"}, "marker": {marker}, "limit": {strconv.Itoa(maxPage)}}
		data, _, err := s.read(ctx, request{method: http.MethodGet, query: q})
		if err != nil {
			return nil, err
		}
		var rows []struct{ Name string }
		if len(data) > 0 {
			if err := json.Unmarshal(data, &rows); err != nil {
				return nil, fmt.Errorf("%w: listing: %w", backend.ErrUnavailable, err)
			}
		}
		for _, r := range rows {
			names = append(names, r.Name)
		}
		if len(rows) == 0 {
			slices.SortFunc(names, cmp.Compare)
			return slices.Compact(names), nil
		}
	}
}

// CreateBucket implements backend.Service. It asks first: to Swift, making what exists is a
// success.
func (s *Service) CreateBucket(ctx context.Context, name string) error {
	err := checkContainer(name)
	if err == nil {
		_, err = s.openContainer(ctx, name)
		if err == nil {
			err = backend.ErrExist
		} else if statusOf(err) == http.StatusNotFound {
			err = s.createContainer(ctx, name, s.o.Policy)
		}
	}
	if err != nil {
		return s.fail(ctx, "create container", name, err)
	}
	return nil
}

func (s *Service) createContainer(ctx context.Context, name, policy string) error {
	r := request{method: http.MethodPut, container: name, header: map[string]string{}}
	if policy != "" {
		r.header["X-Storage-Policy"] = policy
	}
	h, err := s.call(ctx, r)
	if err == nil && h.Get("X-Storage-Policy") == "" && policy != "" {
		s.log.Debug("container made", "key", name, "policy", policy)
	}
	return err
}

// DeleteBucket implements backend.Service. The container of its segments goes too, when it is
// empty.
func (s *Service) DeleteBucket(ctx context.Context, name string) error {
	err := checkContainer(name)
	if err == nil {
		_, err = s.call(ctx, request{method: http.MethodDelete, container: name})
	}
	if err != nil {
		return s.fail(ctx, "delete container", name, err)
	}
	s.mu.Lock()
	delete(s.companion, name)
	s.mu.Unlock()
	_, err = s.call(ctx, request{method: http.MethodDelete, container: name + segmentsSuffix})
	if err != nil && statusOf(err) != http.StatusNotFound {
		s.log.Warn("segments stay behind", "key", name+segmentsSuffix, "err", err)
	}
	return nil
}

// Open implements backend.Service.
func (s *Service) Open(ctx context.Context, name string) (backend.Store, error) {
	err := checkContainer(name)
	var h http.Header
	if err == nil {
		h, err = s.openContainer(ctx, name)
	}
	if err != nil {
		return nil, s.fail(ctx, "open", name, err)
	}
	return &Store{svc: s, name: name, policy: h.Get("X-Storage-Policy")}, nil
}

func (s *Service) openContainer(ctx context.Context, name string) (http.Header, error) {
	return s.call(ctx, request{method: http.MethodHead, container: name})
}

// checkContainer refuses what would not reach the server as a container's name.
func checkContainer(name string) error {
	if !backend.ValidKey(name) || strings.Contains(name, "/") || name == "." || name == ".." || len(name) > maxContainer {
		return fmt.Errorf("%w: container name %q", backend.ErrInvalid, name)
	}
	return nil
}

// segments is the container for the segments of s.
func (s *Store) segments() string { return s.name + segmentsSuffix }

// needSegments makes it if it is not there, of the same policy.
func (s *Store) needSegments(ctx context.Context) error {
	s.svc.mu.Lock()
	known := s.svc.companion[s.name]
	s.svc.mu.Unlock()
	if known {
		return nil
	}
	if err := checkContainer(s.segments()); err != nil {
		return errors.Join(backend.ErrUnsupported, err)
	}
	if err := s.svc.createContainer(ctx, s.segments(), s.policy); err != nil {
		return err
	}
	s.svc.mu.Lock()
	defer s.svc.mu.Unlock()
	s.svc.companion[s.name] = true
	return nil
}
