package s3

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/thawfs/thawfs/backend"
)

// Head implements backend.Store.
func (s *Store) Head(ctx context.Context, key string) (backend.Object, error) {
	if err := s.checkKey(key); err != nil {
		return backend.Object{}, s.fail(ctx, "head", key, err)
	}
	obj, err := s.head(ctx, key)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "head", key, s.explain(ctx, key, err))
	}
	return obj, nil
}

func (s *Store) head(ctx context.Context, key string) (backend.Object, error) {
	out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return backend.Object{}, err
	}
	if out.ContentLength == nil {
		return backend.Object{}, fmt.Errorf("%w: the answer names no size", backend.ErrUnavailable)
	}
	obj := backend.Object{
		Key: key, Size: *out.ContentLength, ModTime: modTime(out.LastModified), ETag: bare(out.ETag),
		Attrs: backend.Attrs{
			Meta: readMeta(out.Metadata),
			Header: readHeader(out.ContentType, out.ContentEncoding, out.ContentLanguage,
				out.ContentDisposition, out.CacheControl, out.ExpiresString),
			Class: className(string(out.StorageClass)),
		},
	}
	obj.State, obj.Until = headState(obj.Class, aws.ToString(out.Restore), string(out.ArchiveStatus), answeredAt(out.ResultMetadata))
	return obj, nil
}

// explain finds the words behind an answer to HEAD, which has no body: wrong keys, an expired
// token and a wrong clock all come as a bare 400 or 403.
func (s *Store) explain(ctx context.Context, key string, err error) error {
	if status := statusOf(err); status != 400 && status != 403 {
		return err
	}
	out, told := s.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key, Range: aws.String("bytes=0-0")})
	if told == nil {
		_ = out.Body.Close() // not wanted
		return err
	}
	switch sentinelOf(codeOf(told), statusOf(told)) {
	case backend.ErrArchived, backend.ErrNotExist: // the GET got further than the HEAD did
		return err
	}
	if codeOf(told) == "" || codeOf(told) == "InvalidRange" {
		return err
	}
	return told
}

// Delete implements backend.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.checkKey(key); err != nil {
		return s.fail(ctx, "delete", key, err)
	}
	_, err := s.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if err == nil || codeOf(err) == "NoSuchKey" {
		return nil
	}
	// versitygw refuses it for the directory of that name, also if that is no object.
	if _, absent := s.head(ctx, key); strings.HasSuffix(key, "/") && answerOf(absent) == backend.ErrNotExist {
		return nil
	}
	return s.fail(ctx, "delete", key, err)
}

// conditions are a Cond as headers.
func conditions(c backend.Cond) (ifMatch, ifNoneMatch *string) {
	ifMatch = quoted(c.IfMatch)
	if c.IfAbsent {
		ifNoneMatch = aws.String("*")
	}
	return ifMatch, ifNoneMatch
}

// changed makes ErrChanged of a server's way to say that the object a change is conditional on
// is not there at all.
func changed(c backend.Cond, err error) error {
	if c.IfMatch != "" && statusOf(err) == 404 && codeOf(err) != "NoSuchBucket" && codeOf(err) != "NoSuchUpload" {
		return fmt.Errorf("%w: it is gone", backend.ErrChanged)
	}
	return err
}

// modTime is a time as the store tells it, to the second: headers know no fractions, and an
// object shall have the same time in a listing.
func modTime(t *time.Time) time.Time {
	return aws.ToTime(t).UTC().Truncate(time.Second)
}

func bare(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

// quoted is an ETag as a header; nil, which leaves it out, for none.
func quoted(etag string) *string {
	if etag == "" {
		return nil
	}
	q := `"` + etag + `"`
	return &q
}

func className(class string) string {
	if class == "" {
		return standard
	}
	return class
}

// with adds middleware to one request.
func with(mw ...func(*middleware.Stack) error) func(*awss3.Options) {
	return func(o *awss3.Options) { o.APIOptions = append(o.APIOptions, mw...) }
}
