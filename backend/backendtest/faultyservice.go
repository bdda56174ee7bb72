package backendtest

import (
	"context"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// FaultyService is a service whose stores are Faulty: the same one at every Open of a
// bucket, so that a test can reach it. Its own methods do not fail.
type FaultyService struct {
	backend.Service

	mu     sync.Mutex
	stores map[string]*Faulty // by bucket; guarded by mu
}

// NewFaultyService wraps svc, whose stores must be Full.
func NewFaultyService(svc backend.Service) *FaultyService {
	return &FaultyService{Service: svc, stores: map[string]*Faulty{}}
}

// Open implements backend.Service.
func (s *FaultyService) Open(ctx context.Context, bucket string) (backend.Store, error) {
	st, err := s.Service.Open(ctx, bucket)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores[bucket] == nil {
		s.stores[bucket] = NewFaulty(st)
	}
	return s.stores[bucket], nil
}

// Bucket returns the store of a bucket that was opened before, else nil.
func (s *FaultyService) Bucket(bucket string) *Faulty {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stores[bucket]
}
