package s3

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/thawfs/thawfs/backend"
)

// Restore implements backend.Restorer. It asks for the state first, because what a request may
// say depends on the class, and servers refuse it in different words for an object that is
// readable. A request for an object that is restored already moves the end of its copy; one
// while it is being restored makes that faster, where the store knows faster tiers.
func (s *Store) Restore(ctx context.Context, key string, opts backend.RestoreOptions) error {
	obj, err := s.Head(ctx, key)
	if err != nil {
		return err
	}
	if obj.State == backend.Online {
		return nil
	}
	in := &awss3.RestoreObjectInput{Bucket: &s.bucket, Key: &key, RestoreRequest: restoreRequest(obj.Class, opts)}
	_, err = s.client.RestoreObject(ctx, in, with(md5Instead))
	switch codeOf(err) {
	case "RestoreAlreadyInProgress", "ObjectAlreadyInActiveTierError":
		return nil
	}
	if err != nil {
		return s.fail(ctx, "restore", key, err)
	}
	return nil
}

// restoreRequest leaves out what a class forbids: objects that INTELLIGENT_TIERING has archived
// come back for good, and a number of days is an error (S3 user guide, "Restoring objects from
// the S3 Intelligent-Tiering archive tiers").
func restoreRequest(class string, opts backend.RestoreOptions) *types.RestoreRequest {
	r := &types.RestoreRequest{}
	if opts.Tier != "" {
		r.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(opts.Tier)}
	}
	if archive(class) {
		const day = 24 * time.Hour
		r.Days = aws.Int32(max(1, int32((opts.Keep+day-1)/day)))
	}
	return r
}
