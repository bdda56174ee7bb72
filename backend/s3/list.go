package s3

import (
	"context"
	"fmt"
	"iter"
	neturl "net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/thawfs/thawfs/backend"
)

// maxPage is how many entries S3 returns at most, whatever is asked for.
const maxPage = 1000

// List implements backend.Store. A page is asked for when the entries before it are consumed.
func (s *Store) List(ctx context.Context, prefix, after string, opts backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		in := s.listInput(prefix, after, opts)
		last := ""
		for {
			out, err := s.client.ListObjectsV2(ctx, in)
			var entries []backend.Entry
			if err == nil {
				entries, err = readPage(out)
			}
			if err != nil {
				yield(backend.Entry{}, s.fail(ctx, "list", prefix, err))
				return
			}
			for _, e := range entries {
				// Rolled up, keys behind after can have a prefix that is not, and one that
				// ended the page before can begin this one.
				if e.Key <= after || e.Key == last {
					continue
				}
				if e.Key < last { // directory buckets of S3 Express One Zone
					yield(backend.Entry{}, s.fail(ctx, "list", prefix, fmt.Errorf("%w: listings that are in no order (%q behind %q)", backend.ErrUnsupported, e.Key, last)))
					return
				}
				last = e.Key
				if !yield(e, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == "" {
				yield(backend.Entry{}, s.fail(ctx, "list", prefix, fmt.Errorf("%w: the listing is cut off and does not say how to go on", backend.ErrUnavailable)))
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

func (s *Store) listInput(prefix, after string, opts backend.ListOptions) *awss3.ListObjectsV2Input {
	in := &awss3.ListObjectsV2Input{
		Bucket: &s.bucket,
		// XML cannot hold control characters: one such key would make the page unreadable.
		EncodingType:             types.EncodingTypeUrl,
		OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus},
	}
	if prefix != "" {
		in.Prefix = &prefix
	}
	if after != "" {
		in.StartAfter = &after
	}
	if opts.Delimited {
		in.Delimiter = aws.String("/")
	}
	if opts.PageSize > 0 {
		in.MaxKeys = aws.Int32(int32(min(opts.PageSize, maxPage)))
	}
	return in
}

// readPage merges the objects and the common prefixes of a page into one order.
func readPage(out *awss3.ListObjectsV2Output) ([]backend.Entry, error) {
	decode := decoder(out.EncodingType)
	now := answeredAt(out.ResultMetadata)
	entries := make([]backend.Entry, 0, len(out.Contents)+len(out.CommonPrefixes))
	for _, o := range out.Contents {
		key, err := decode(aws.ToString(o.Key))
		if err != nil {
			return nil, err
		}
		obj := backend.Object{
			Key: key, Size: aws.ToInt64(o.Size), ModTime: modTime(o.LastModified), ETag: bare(o.ETag),
			Attrs: backend.Attrs{Class: className(string(o.StorageClass))},
		}
		obj.State, obj.Until = listState(obj.Class, o.RestoreStatus, now)
		entries = append(entries, backend.Entry{Object: obj})
	}
	for _, p := range out.CommonPrefixes {
		key, err := decode(aws.ToString(p.Prefix))
		if err != nil {
			return nil, err
		}
		entries = append(entries, backend.Entry{Object: backend.Object{Key: key}, Prefix: true})
	}
	slices.SortFunc(entries, func(a, b backend.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, nil
}

// decoder undoes the encoding of keys in a listing, if the server did encode them.
func decoder(how types.EncodingType) func(string) (string, error) {
	if how != types.EncodingTypeUrl {
		return func(key string) (string, error) { return key, nil }
	}
	return func(key string) (string, error) {
		decoded, err := neturl.QueryUnescape(key)
		if err != nil {
			return "", fmt.Errorf("%w: key in a listing: %w", backend.ErrUnavailable, err)
		}
		return decoded, nil
	}
}
