package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/thawfs/thawfs/backend"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// PartLimits implements backend.PartUploader (S3 user guide, "Multipart upload limits").
func (s *Store) PartLimits() backend.PartLimits {
	l := backend.PartLimits{MinSize: 5 * mib, MaxSize: 5 * gib, MaxParts: 10_000, MaxObject: 5 * tib, MaxPut: 5 * gib}
	if !s.svc.custom {
		l.MaxObject = int64(l.MaxParts) * l.MaxSize // 48.8 TiB
	}
	return l
}

// NewUpload implements backend.PartUploader.
func (s *Store) NewUpload(ctx context.Context, key string, opts backend.PutOptions) (backend.Upload, error) {
	up, err := s.newUpload(ctx, key, opts.Attrs)
	if err != nil {
		return backend.Upload{}, s.fail(ctx, "begin upload", key, err)
	}
	s.begun.add(up, opts.Attrs)
	return up, nil
}

func (s *Store) newUpload(ctx context.Context, key string, a backend.Attrs) (backend.Upload, error) {
	if err := s.checkKey(key); err != nil {
		return backend.Upload{}, err
	}
	attrs, err := wire(a)
	if err != nil {
		return backend.Upload{}, err
	}
	for {
		how := s.svc.parts.now()
		in := &awss3.CreateMultipartUploadInput{
			Bucket: &s.bucket, Key: &key, Metadata: attrs.meta, StorageClass: attrs.class,
			ContentType: attrs.contentType, ContentEncoding: attrs.encoding, ContentLanguage: attrs.language,
			ContentDisposition: attrs.disposition, CacheControl: attrs.cc,
		}
		if s.declares(how) {
			in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject
		}
		out, err := s.client.CreateMultipartUpload(ctx, in, with(attrs.apiOptions()...))
		if err == nil {
			return backend.Upload{Key: key, ID: aws.ToString(out.UploadId)}, nil
		}
		if !s.declares(how) || !s.svc.parts.refused(err, how) {
			return backend.Upload{}, unnamable(backend.Cond{}, err)
		}
	}
}

// declares reports whether uploads are begun with the promise of checksums, so that the object
// has one of its whole. AWS wants that; MinIO then refuses to copy a part, and versitygw takes
// the checksum of a copied part from the whole it is a part of. Without it both check what is
// sent with a part.
func (s *Store) declares(how string) bool { return how == crc64nvme && !s.svc.custom }

// UploadPart implements backend.PartUploader.
func (s *Store) UploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc uint64) (backend.Part, error) {
	for {
		p, err := s.svc.parts.prepare(body, &crc)
		if err != nil {
			return backend.Part{}, s.fail(ctx, "upload part", up.Key, err)
		}
		part, err := s.uploadPart(ctx, up, number, p)
		if err == nil {
			return part, nil
		}
		if !s.svc.parts.refused(err, p.how) {
			return backend.Part{}, s.fail(ctx, "upload part", up.Key, s.lost(ctx, up, err))
		}
	}
}

func (s *Store) uploadPart(ctx context.Context, up backend.Upload, number int, p *sending) (backend.Part, error) {
	size := p.body.Size()
	body := p.reader()
	out, err := s.client.UploadPart(ctx, &awss3.UploadPartInput{
		Bucket: &s.bucket, Key: &up.Key, UploadId: &up.ID, PartNumber: aws.Int32(int32(number)),
		Body: body, ContentLength: &size,
		ChecksumCRC64NVME: p.crcHeader(), ContentMD5: p.md5Header(),
	}, unsigned)
	if err != nil {
		return backend.Part{}, cmp.Or(body.failure(), err)
	}
	etag := bare(out.ETag)
	if err := p.confirm(out.ChecksumCRC64NVME, etag, out.ServerSideEncryption, out.SSECustomerAlgorithm); err != nil {
		return backend.Part{}, err
	}
	return backend.Part{Number: number, Size: size, ETag: etag, CRC: *p.crc}, nil
}

// noUpload knows the ways to say that an upload is unknown: MinIO has one of its own for IDs
// of a form it does not give.
func noUpload(err error) bool {
	code := codeOf(err)
	return code == "NoSuchUpload" || code == "XMinioInvalidResourceName"
}

// exists fails if an upload is unknown.
func (s *Store) exists(ctx context.Context, up backend.Upload) error {
	_, err := s.client.ListParts(ctx, &awss3.ListPartsInput{
		Bucket: &s.bucket, Key: &up.Key, UploadId: &up.ID, MaxParts: aws.Int32(1),
	})
	return overUpload(err)
}

// overUpload makes ErrNotExist of the ways to say that an upload is unknown.
func overUpload(err error) error {
	if noUpload(err) {
		return fmt.Errorf("%w: the upload is finished, aborted or never was (%s)", backend.ErrNotExist, codeOf(err))
	}
	return err
}

// lost finds out whether an upload is gone when a server failed on one of its parts in another
// way than to say so plainly (moto breaks down).
func (s *Store) lost(ctx context.Context, up backend.Upload, err error) error {
	if noUpload(err) || statusOf(err) >= 500 {
		if told := s.exists(ctx, up); errors.Is(told, backend.ErrNotExist) {
			return told
		}
	}
	return err
}

// Complete implements backend.PartUploader.
func (s *Store) Complete(ctx context.Context, up backend.Upload, parts []backend.Part, opts backend.PutOptions) (backend.Object, error) {
	obj, answer, err := s.complete(ctx, up, parts, opts)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "complete upload", up.Key, err)
	}
	obj.Attrs = s.begun.get(up)
	s.begun.remove(up)
	return s.stored(ctx, obj, answer), nil
}

func (s *Store) complete(ctx context.Context, up backend.Upload, parts []backend.Part, opts backend.PutOptions) (obj backend.Object, answer middleware.Metadata, err error) {
	last := 0
	for _, p := range parts {
		if p.Number <= last {
			return obj, answer, fmt.Errorf("%w: part %d follows part %d", backend.ErrInvalid, p.Number, last)
		}
		last = p.Number
	}
	if len(parts) == 0 {
		return obj, answer, fmt.Errorf("%w: no parts", backend.ErrInvalid)
	}
	whole, err := wholeCRC(parts, opts.CRC64NVME)
	if err != nil {
		return obj, answer, err
	}
	in := &awss3.CompleteMultipartUploadInput{Bucket: &s.bucket, Key: &up.Key, UploadId: &up.ID, MultipartUpload: &types.CompletedMultipartUpload{}}
	// versitygw calls it a success to complete an upload that was aborted, if only the key
	// exists; moto breaks down.
	if s.svc.custom && s.svc.server.Load() != minIO {
		if err := s.exists(ctx, up); err != nil {
			return obj, answer, err
		}
	}
	checked := s.declares(s.svc.parts.now())
	if checked && whole != nil {
		in.ChecksumCRC64NVME, in.ChecksumType = encodeCRC(*whole), types.ChecksumTypeFullObject
	}
	obj.Key = up.Key
	for _, p := range parts {
		c := types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: quoted(p.ETag)}
		if checked && p.CRC != 0 {
			c.ChecksumCRC64NVME = encodeCRC(p.CRC)
		}
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, c)
		obj.Size += p.Size
	}
	err = s.under(ctx, up.Key, opts.Cond, &s.svc.can.completeMatch, &s.svc.can.completeAbsent, func(c backend.Cond) error {
		in.IfMatch, in.IfNoneMatch = conditions(c)
		out, err := s.client.CompleteMultipartUpload(ctx, in, s.client.waiting)
		if err == nil {
			obj.ETag, answer = bare(out.ETag), out.ResultMetadata
		}
		return err
	})
	return obj, answer, overUpload(err)
}

// Abort implements backend.PartUploader.
func (s *Store) Abort(ctx context.Context, up backend.Upload) error {
	s.begun.remove(up)
	_, err := s.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &up.Key, UploadId: &up.ID})
	if err != nil && !noUpload(err) {
		return s.fail(ctx, "abort upload", up.Key, err)
	}
	return nil
}

// Uploads implements backend.PartUploader.
func (s *Store) Uploads(ctx context.Context, prefix string) iter.Seq2[backend.Upload, error] {
	return func(yield func(backend.Upload, error) bool) {
		in := &awss3.ListMultipartUploadsInput{Bucket: &s.bucket, EncodingType: types.EncodingTypeUrl}
		if !s.svc.custom {
			in.Prefix = &prefix // MinIO takes it for the whole key
		}
		for {
			out, err := s.client.ListMultipartUploads(ctx, in)
			if err != nil {
				yield(backend.Upload{}, s.fail(ctx, "list uploads", prefix, err))
				return
			}
			decode := decoder(out.EncodingType)
			for _, u := range out.Uploads {
				key, err := decode(aws.ToString(u.Key))
				if err != nil {
					yield(backend.Upload{}, s.fail(ctx, "list uploads", prefix, err))
					return
				}
				if !strings.HasPrefix(key, prefix) {
					continue
				}
				if !yield(backend.Upload{Key: key, ID: aws.ToString(u.UploadId)}, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			next, err := decode(aws.ToString(out.NextKeyMarker))
			if err != nil {
				yield(backend.Upload{}, s.fail(ctx, "list uploads", prefix, err))
				return
			}
			in.KeyMarker, in.UploadIdMarker = &next, out.NextUploadIdMarker
		}
	}
}
