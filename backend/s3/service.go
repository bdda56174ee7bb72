package s3

import (
	"context"
	"iter"

	"github.com/thawfs/thawfs/backend"
)

// Buckets implements backend.Service.
func (s *Service) Buckets(ctx context.Context) iter.Seq2[backend.Bucket, error] { return nil }

// CreateBucket implements backend.Service.
func (s *Service) CreateBucket(ctx context.Context, name string) error { return nil }

// DeleteBucket implements backend.Service.
func (s *Service) DeleteBucket(ctx context.Context, name string) error { return nil }

// Open implements backend.Service. A bucket of another region is reached there.
func (s *Service) Open(ctx context.Context, name string) (backend.Store, error) { return nil, nil }
