package s3

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	maxBatch       = 1000 // keys a DeleteObjects
	batchesAtATime = 4
)

// DeleteBatch implements backend.BatchDeleter.
func (s *Store) DeleteBatch(ctx context.Context, keys []string) map[string]error {
	var (
		mu     sync.Mutex // guards failed
		failed = map[string]error{}
		wg     sync.WaitGroup
		slots  = make(chan struct{}, batchesAtATime)
	)
	fail := func(key string, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed[key] = s.fail(ctx, "delete", key, err)
	}
	var good []string
	for _, key := range keys {
		switch err := s.checkKey(key); {
		case err != nil:
			fail(key, err)
		case strings.ContainsFunc(key, func(r rune) bool { return !inXML(r) }):
			// The list of keys is XML, which cannot hold these. One request each.
			if err := s.Delete(ctx, key); err != nil {
				fail(key, err)
			}
		default:
			good = append(good, key)
		}
	}
	for batch := range slices.Chunk(good, maxBatch) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s.deleteBatch(ctx, batch, fail)
		})
	}
	wg.Wait()
	return failed
}

func (s *Store) deleteBatch(ctx context.Context, keys []string, fail func(string, error)) {
	in := &awss3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Quiet: aws.Bool(true)}}
	for _, key := range keys {
		in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: &key})
	}
	out, err := s.client.DeleteObjects(ctx, in, with(md5Instead))
	if err != nil {
		for _, key := range keys {
			fail(key, err)
		}
		return
	}
	for _, e := range out.Errors {
		if code := aws.ToString(e.Code); code != "NoSuchKey" {
			fail(aws.ToString(e.Key), &smithy.GenericAPIError{Code: code, Message: aws.ToString(e.Message)})
		}
	}
}

// md5Instead sends Content-MD5, which every server takes, where the SDK would send the CRC32
// that S3 has come to accept in its place.
func md5Instead(stack *middleware.Stack) error {
	if _, err := stack.Finalize.Remove("AWSChecksum:ComputeInputPayloadChecksum"); err != nil {
		return fmt.Errorf("the SDK's checksum step has another name: %w", err)
	}
	return smithyhttp.AddContentChecksumMiddleware(stack)
}
