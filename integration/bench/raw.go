package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/thawfs/thawfs/integration/servers"
)

const (
	rawRange = 8 << 20  // bytes a GET
	rawPart  = 16 << 20 // bytes a part
	bucket   = "bench"
)

// raw is the bare SDK as somebody would use it who wants nothing but speed: the baseline.
type raw struct {
	c      *awss3.Client
	ranges int // GETs and parts in flight of large objects
	small  int // requests in flight of small ones
	bufs   sync.Pool
}

func newRaw(at servers.S3, endpoint string, distant bool) *raw {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.DisableCompression = 256, true
	t.ReadBufferSize, t.WriteBufferSize = 64<<10, 64<<10
	r := &raw{ranges: 4, small: 32}
	if distant {
		r.ranges, r.small = 16, 64
	}
	r.bufs.New = func() any { b := make([]byte, 1<<20); return &b }
	r.c = awss3.New(awss3.Options{
		BaseEndpoint: &endpoint, Region: at.Region, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(at.AccessKey, at.SecretKey, ""),
		HTTPClient:                 &http.Client{Transport: t},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	return r
}

func unsigned(o *awss3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// get reads an object by ranges in parallel and checks it.
func (r *raw) get(ctx context.Context, key string, c content) error {
	return each(r.ranges, int((c.size+rawRange-1)/rawRange), func(i int) error {
		off := int64(i) * rawRange
		return r.getRange(ctx, key, c, off, min(rawRange, c.size-off))
	})
}

func (r *raw) getRange(ctx context.Context, key string, c content, off, n int64) error {
	out, err := r.c.GetObject(ctx, &awss3.GetObjectInput{
		Bucket: aws.String(bucket), Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	})
	if err != nil {
		return err
	}
	defer out.Body.Close() // read to its end
	buf := r.bufs.Get().(*[]byte)
	defer r.bufs.Put(buf)
	end := off + n
	for off < end {
		m, err := io.ReadFull(out.Body, (*buf)[:min(int64(len(*buf)), end-off)])
		if err := errors.Join(err, c.check((*buf)[:m], off)); err != nil {
			return err
		}
		off += int64(m)
	}
	return nil
}

// verify fails unless the store holds exactly c under key.
func (r *raw) verify(ctx context.Context, key string, c content) error {
	head, err := r.c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		return fmt.Errorf("head %s: %w", key, err)
	}
	if aws.ToInt64(head.ContentLength) != c.size {
		return fmt.Errorf("%s has %d bytes in the store, not %d", key, aws.ToInt64(head.ContentLength), c.size)
	}
	return r.get(ctx, key, c)
}

// put stores an object, in parallel parts if it is large.
func (r *raw) put(ctx context.Context, key string, c content) error {
	if c.size <= rawPart {
		_, err := r.c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: c.section(), ContentLength: &c.size}, unsigned)
		return err
	}
	up, err := r.c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, (c.size+rawPart-1)/rawPart)
	err = each(r.ranges, len(parts), func(i int) error {
		off := int64(i) * rawPart
		n := min(rawPart, c.size-off)
		out, err := r.c.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: aws.String(bucket), Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)),
			Body: io.NewSectionReader(c, off, n), ContentLength: &n,
		}, unsigned)
		if err == nil {
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1))}
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = r.c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: aws.String(bucket), Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// putAll stores many small objects.
func (r *raw) putAll(ctx context.Context, files []file) error {
	return each(r.small, len(files), func(i int) error { return r.put(ctx, files[i].key, files[i].content) })
}

// list returns the keys that begin with prefix.
func (r *raw) list(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	pages := awss3.NewListObjectsV2Paginator(r.c, &awss3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

// remove deletes keys, a thousand at a time.
func (r *raw) remove(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), 1000)
		del := &types.Delete{Quiet: aws.Bool(true)}
		for _, key := range keys[:n] {
			del.Objects = append(del.Objects, types.ObjectIdentifier{Key: aws.String(key)})
		}
		out, err := r.c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: aws.String(bucket), Delete: del})
		if err != nil {
			return err
		}
		if len(out.Errors) > 0 {
			return fmt.Errorf("delete %s: %s", aws.ToString(out.Errors[0].Key), aws.ToString(out.Errors[0].Message))
		}
		keys = keys[n:]
	}
	return nil
}

// each calls do for 0 to n-1, at most limit at a time, and returns one of the errors.
func each(limit, n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, limit)
	next := make(chan int)
	for range min(limit, n) {
		wg.Go(func() {
			var failed error
			for i := range next {
				if failed == nil {
					failed = do(i)
				}
			}
			errs <- failed
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
