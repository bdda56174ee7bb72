package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/thawfs/thawfs/backend"
)

// Buckets implements backend.Service. All names are fetched before the first is yielded: not
// every server sorts them.
func (s *Service) Buckets(ctx context.Context) iter.Seq2[backend.Bucket, error] {
	return func(yield func(backend.Bucket, error) bool) {
		all, err := s.buckets(ctx)
		if err != nil {
			yield(backend.Bucket{}, s.fail(ctx, "list buckets", "", err))
			return
		}
		for _, b := range all {
			if !yield(b, nil) {
				return
			}
		}
	}
}

func (s *Service) buckets(ctx context.Context) ([]backend.Bucket, error) {
	var all []backend.Bucket
	pages := awss3.NewListBucketsPaginator(s.home(), &awss3.ListBucketsInput{MaxBuckets: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range page.Buckets {
			all = append(all, backend.Bucket{Name: aws.ToString(b.Name), Created: aws.ToTime(b.CreationDate)})
		}
	}
	slices.SortFunc(all, func(a, b backend.Bucket) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// CreateBucket implements backend.Service. It asks first whether the bucket exists: in
// us-east-1, and on servers that imitate it, creating one's own bucket again succeeds.
func (s *Service) CreateBucket(ctx context.Context, name string) error {
	if err := checkBucket(name); err != nil {
		return s.fail(ctx, "create bucket", name, err)
	}
	c := s.home()
	if _, err := c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &name}); err == nil {
		return s.fail(ctx, "create bucket", name, backend.ErrExist)
	}
	in := &awss3.CreateBucketInput{Bucket: &name}
	// Elsewhere the region is often but a word, which has to match if it is sent.
	if region := c.Options().Region; !s.custom && region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(region),
		}
	}
	if _, err := c.CreateBucket(ctx, in); err != nil {
		return s.fail(ctx, "create bucket", name, err)
	}
	return nil
}

// DeleteBucket implements backend.Service.
func (s *Service) DeleteBucket(ctx context.Context, name string) error {
	c, err := s.locate(ctx, name)
	if err == nil {
		_, err = c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: &name})
	}
	if err != nil {
		return s.fail(ctx, "delete bucket", name, err)
	}
	return nil
}

// Open implements backend.Service. A bucket of another region is reached there.
func (s *Service) Open(ctx context.Context, name string) (backend.Store, error) {
	c, err := s.locate(ctx, name)
	if err != nil {
		return nil, s.fail(ctx, "open", name, err)
	}
	return &Store{svc: s, bucket: name, client: c}, nil
}

// locate returns the client for the region of an existing bucket.
func (s *Service) locate(ctx context.Context, name string) (*client, error) {
	if err := checkBucket(name); err != nil {
		return nil, err
	}
	c := s.home()
	out, err := c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &name})
	if err == nil {
		s.recognize(out.ResultMetadata)
		return c, nil
	}
	// Asked in the wrong region, AWS answers 301, 400 or 403 and names the right one.
	if region := headerOf(err, "X-Amz-Bucket-Region"); region != "" && region != c.Options().Region {
		c = s.in(region)
		if _, err = c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &name}); err == nil {
			return c, nil
		}
	}
	return nil, s.explain(ctx, c, name, err)
}

// explain asks once more in a way whose answer has a body: HEAD tells wrong keys, an expired
// token and a wrong clock all as 400 or 403 (versitygw: 404).
func (s *Service) explain(ctx context.Context, c *client, bucket string, err error) error {
	if status := statusOf(err); status != 400 && status != 403 && status != 404 {
		return err
	}
	_, told := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(1)})
	if told != nil && codeOf(told) != "" {
		return told
	}
	return err
}

// checkBucket refuses what would not reach the server as a bucket's name: the SDK takes an ARN
// for an access point, a slash ends the name.
func checkBucket(name string) error {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '/' || c == ':' || c == '?' || c == '#' || c == '%' {
			return fmt.Errorf("%w: bucket name %q", backend.ErrInvalid, name)
		}
	}
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("%w: bucket name %q", backend.ErrInvalid, name)
	}
	return nil
}

// fail makes the error of an operation on a bucket.
func (s *Service) fail(ctx context.Context, op, bucket string, err error) error {
	var done *backend.Error
	if errors.As(err, &done) {
		return done
	}
	store := bucketURL("")
	if bucket != "" {
		store = "s3:/" // the bucket is the key: together, s3://bucket
	}
	return failure(ctx, store, op, bucket, err)
}
