package s3

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/thawfs/thawfs/backend"
)

// Put implements backend.Store.
//
// The SDK tries again when an answer is lost. If the first attempt had succeeded, a conditional
// second one fails with ErrChanged: nothing in the answer tells our own version from another's.
func (s *Store) Put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	obj, answer, err := s.put(ctx, key, body, opts)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "put", key, err)
	}
	return s.stored(ctx, obj, answer), nil
}

func (s *Store) put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (obj backend.Object, answer middleware.Metadata, err error) {
	if err := s.checkKey(key); err != nil {
		return obj, answer, err
	}
	if limit := s.PartLimits().MaxPut; body.Size() > limit {
		return obj, answer, fmt.Errorf("%w: %d bytes, one request takes %d", backend.ErrTooLarge, body.Size(), limit)
	}
	attrs, err := wire(opts.Attrs)
	if err != nil {
		return obj, answer, err
	}
	err = s.under(ctx, key, opts.Cond, &s.svc.can.putMatch, &s.svc.can.putAbsent, func(c backend.Cond) error {
		for {
			p, err := s.svc.sums.prepare(body, opts.CRC64NVME)
			if err != nil {
				return err
			}
			made, told, err := s.putOnce(ctx, key, p, attrs, c)
			if err == nil {
				obj, answer = made, told
			}
			if err == nil || !s.svc.sums.refused(err, p.how) {
				return unnamable(c, err)
			}
		}
	})
	obj.Attrs = clone(opts.Attrs)
	return obj, answer, err
}

func (s *Store) putOnce(ctx context.Context, key string, p *sending, attrs wireAttrs, c backend.Cond) (backend.Object, middleware.Metadata, error) {
	size := p.body.Size()
	body := p.reader()
	in := &awss3.PutObjectInput{
		Bucket: &s.bucket, Key: &key, Body: body, ContentLength: &size,
		ChecksumCRC64NVME: p.crcHeader(), ContentMD5: p.md5Header(),
		Metadata: attrs.meta, StorageClass: attrs.class,
		ContentType: attrs.contentType, ContentEncoding: attrs.encoding, ContentLanguage: attrs.language,
		ContentDisposition: attrs.disposition, CacheControl: attrs.cc,
	}
	in.IfMatch, in.IfNoneMatch = conditions(c)
	out, err := s.client.PutObject(ctx, in, unsigned, with(attrs.apiOptions()...))
	if err != nil {
		return backend.Object{}, middleware.Metadata{}, cmp.Or(body.failure(), err)
	}
	etag := bare(out.ETag)
	if err := p.confirm(out.ChecksumCRC64NVME, etag, out.ServerSideEncryption, out.SSECustomerAlgorithm); err != nil {
		return backend.Object{}, middleware.Metadata{}, err
	}
	return backend.Object{Key: key, Size: size, ETag: etag}, out.ResultMetadata, nil
}

// unnamable finds the keys that a server has no way for: nothing else is missing for a PUT
// that is not conditional, in a bucket that is there (moto, of a key with a newline).
func unnamable(c backend.Cond, err error) error {
	if statusOf(err) == http.StatusNotFound && codeOf(err) == "" && c == (backend.Cond{}) {
		return fmt.Errorf("%w: the store does not find its way to such a key", backend.ErrInvalid)
	}
	return err
}

// unsigned leaves the SHA-256 of the body out of the signature: it costs ten times what the
// checksum does that travels in a signed header, and proves no more.
func unsigned(o *awss3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}
