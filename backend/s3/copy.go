package s3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/thawfs/thawfs/backend"
)

const (
	maxCopy          = 5 * gib         // bytes a CopyObject (API reference)
	copyPart         = 256 * mib       // bytes a part of larger copies, more if there were too many
	copiesAtATime    = 8               // parts in flight of one copy
	abortLimit       = 1 * time.Minute // for the Abort behind a failed copy
	unreservedInPath = "-._~/"
)

// copySizes are maxCopy and copyPart; tests have smaller ones.
type copySizes struct{ whole, part int64 }

// Copy implements backend.Copier.
//
// Conditions on the destination are headers of CopyObject on AWS only; every other server that
// was tried (MinIO, versitygw, moto) ignores them there and overwrites. All of these honour
// them when a multipart upload is completed, so there the copy is made of parts.
func (s *Store) Copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	obj, err := s.copy(ctx, from, to, opts)
	if err != nil {
		return backend.Object{}, s.fail(ctx, "copy", to, err)
	}
	return obj, nil
}

func (s *Store) copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	for _, key := range []string{from.Key, to} {
		if err := s.checkKey(key); err != nil {
			return backend.Object{}, fmt.Errorf("%q: %w", key, err)
		}
	}
	inParts := from.Size > s.svc.copies.whole || s.svc.custom && opts.Cond != backend.Cond{}
	itself := from.Key == to && opts.Attrs == nil // S3 refuses a copy that changes nothing
	asks := opts.Attrs == nil && (from.Class == "" || s.svc.custom && from.Header == nil)
	if inParts || itself || asks {
		src, err := s.source(ctx, from)
		if err != nil {
			return backend.Object{}, err
		}
		if itself && opts.Cond == (backend.Cond{}) {
			return src, nil
		}
		if inParts || itself {
			return s.copyInParts(ctx, src, to, opts)
		}
		from.Attrs = src.Attrs
	}
	if opts.Attrs == nil && from.Header["expires"] != "" {
		opts.Attrs = &from.Attrs // MinIO forgets this one unless it is told
	}
	obj, err := s.copyWhole(ctx, from, to, opts)
	if err == nil && opts.Attrs != nil && leftover(obj.Header, opts.Attrs.Header) {
		// versitygw keeps headers of an object copied onto itself that are to go.
		return s.copyInParts(ctx, obj, to, opts)
	}
	return obj, err
}

// leftover reports whether an object has headers that it should not. Stores choose a type for
// objects that have none.
func leftover(got, want map[string]string) bool {
	for name := range got {
		if _, ok := want[name]; !ok && name != "content-type" {
			return true
		}
	}
	return false
}

// source looks at the object to be copied and makes sure that it is the one that is meant, and
// readable.
func (s *Store) source(ctx context.Context, from backend.Object) (backend.Object, error) {
	src, err := s.head(ctx, from.Key)
	switch {
	case err != nil:
		return src, s.explain(ctx, from.Key, err)
	case from.ETag != "" && src.ETag != from.ETag:
		return src, other(src.ETag, from.ETag)
	case !src.State.Readable():
		return src, fmt.Errorf("%w: it is %s", backend.ErrArchived, src.State)
	}
	return src, nil
}

// copyWhole copies by one request.
func (s *Store) copyWhole(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	in := &awss3.CopyObjectInput{
		Bucket: &s.bucket, Key: &to, CopySource: s.copySource(from.Key),
		MetadataDirective: types.MetadataDirectiveCopy,
	}
	in.IfMatch, in.IfNoneMatch = conditions(opts.Cond) // AWS only, see Copy
	made := backend.Object{Key: to, Size: from.Size, Attrs: from.Attrs}
	attrs, err := wire(backend.Attrs{Class: from.Class})
	if opts.Attrs != nil {
		attrs, err = wire(*opts.Attrs)
		made.Attrs = clone(*opts.Attrs)
		in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, attrs.meta
		in.ContentType, in.ContentEncoding, in.ContentLanguage = attrs.contentType, attrs.encoding, attrs.language
		in.ContentDisposition, in.CacheControl = attrs.disposition, attrs.cc
	}
	if err != nil {
		return backend.Object{}, err
	}
	in.StorageClass = attrs.class // without one S3 takes the default, not the source's
	err = s.fromVersion(ctx, from, &s.svc.can.copySource, func(ifMatch string) (string, error) {
		in.CopySourceIfMatch = quoted(ifMatch)
		out, err := s.client.CopyObject(ctx, in, s.client.waiting, with(attrs.apiOptions()...))
		if err == nil && out.CopyObjectResult != nil {
			made.ETag, made.ModTime = bare(out.CopyObjectResult.ETag), modTime(out.CopyObjectResult.LastModified)
		}
		return made.ETag, err
	})
	if err != nil {
		return backend.Object{}, changed(opts.Cond, err)
	}
	if s.svc.custom && s.svc.server.Load() != minIO {
		return s.asked(ctx, made, false), nil // it may have kept what it should not have, see copy
	}
	return s.stored(ctx, made, middleware.Metadata{}), nil
}

// copyInParts copies src, just looked at, by a multipart upload, whose completion is
// conditional on the destination.
func (s *Store) copyInParts(ctx context.Context, src backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	put := backend.PutOptions{Attrs: src.Attrs, Cond: opts.Cond}
	if opts.Attrs != nil {
		put.Attrs = *opts.Attrs
	}
	if src.Size == 0 { // a part cannot be a range of nothing
		return s.Put(ctx, to, io.NewSectionReader(strings.NewReader(""), 0, 0), put)
	}
	up, err := s.newUpload(ctx, to, put.Attrs)
	if err != nil {
		return backend.Object{}, err
	}
	parts, err := s.copyParts(ctx, up, src)
	var obj backend.Object
	var answer middleware.Metadata
	if err == nil {
		obj, answer, err = s.complete(ctx, up, parts, put)
		obj.Attrs = clone(put.Attrs)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
		defer cancel()
		if aborted := s.Abort(ctx, up); aborted != nil {
			s.svc.log.Warn("an unfinished copy stays in the store", "key", to, "err", aborted)
		}
		return backend.Object{}, err
	}
	return s.stored(ctx, obj, answer), nil
}

// copyParts copies all of src as parts, several at a time.
func (s *Store) copyParts(ctx context.Context, up backend.Upload, src backend.Object) ([]backend.Part, error) {
	limits := s.PartLimits()
	size := max(s.svc.copies.part, (src.Size+int64(limits.MaxParts)-1)/int64(limits.MaxParts))
	parts := make([]backend.Part, (src.Size+size-1)/size)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, copiesAtATime)
	var wg sync.WaitGroup
	for i := range parts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			off := int64(i) * size
			var err error
			if parts[i], err = s.copyPart(ctx, up, i+1, src, off, min(size, src.Size-off)); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return parts, context.Cause(ctx)
}

// CopyPart implements backend.PartCopier.
func (s *Store) CopyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	part, err := s.copyPart(ctx, up, number, from, off, n)
	if err != nil {
		return backend.Part{}, s.fail(ctx, "copy part", up.Key, s.lost(ctx, up, err))
	}
	return part, nil
}

func (s *Store) copyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	if off < 0 || n <= 0 {
		return backend.Part{}, fmt.Errorf("%w: range %d+%d", backend.ErrInvalid, off, n)
	}
	in := &awss3.UploadPartCopyInput{
		Bucket: &s.bucket, Key: &up.Key, UploadId: &up.ID, PartNumber: aws.Int32(int32(number)),
		CopySource: s.copySource(from.Key), CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	}
	part := backend.Part{Number: number, Size: n} // no CRC: versitygw's answer has that of the whole source
	err := s.fromVersion(ctx, from, &s.svc.can.partSource, func(ifMatch string) (string, error) {
		in.CopySourceIfMatch = quoted(ifMatch)
		out, err := s.client.UploadPartCopy(ctx, in, s.client.waiting)
		if err != nil {
			return "", err
		}
		if out.CopyPartResult == nil || bare(out.CopyPartResult.ETag) == "" {
			return "", fmt.Errorf("%w: the answer names no part", backend.ErrUnavailable)
		}
		part.ETag = bare(out.CopyPartResult.ETag)
		return part.ETag, nil
	})
	return part, err
}

// copySource names an object of this bucket in a header: percent-encoded as a whole, for some
// servers read it as a path and some as a query.
func (s *Store) copySource(key string) *string {
	var b strings.Builder
	b.WriteString(s.bucket + "/")
	for i := range len(key) {
		c := key[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(unreservedInPath, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	source := b.String()
	return &source
}
