package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// Get implements backend.Store.
func (s *store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	rec, c, err := s.openVersion(ctx, key, etag)
	if err != nil {
		return nil, s.wrap("get", key, err)
	}
	if off < 0 {
		return nil, s.wrap("get", key, errors.Join(fmt.Errorf("%w: offset %d", backend.ErrInvalid, off), c.Close()))
	}
	off = min(off, rec.Size)
	if n < 0 || n > rec.Size-off {
		n = rec.Size - off
	}
	r := &reader{store: s, key: key, src: &ctxReader{ctx, io.NewSectionReader(c, off, n)}, left: n, content: c}
	if n == rec.Size && n > 0 {
		r.sum, r.want = crc64nvme.New(), rec.CRC
	}
	return r, nil
}

// content is the open body of one version: it stays whole when the version is replaced.
type content interface {
	io.ReaderAt
	io.Closer
}

// openVersion opens the body of the version of key that etag names. The record that was
// read may be replaced and its blob removed before that is open; then the search begins
// anew.
func (s *store) openVersion(ctx context.Context, key, etag string) (*record, content, error) {
	if err := firstOf(ctx.Err(), checkKey(key)); err != nil {
		return nil, nil, err
	}
	var missing string
	for {
		rec, err := readRecord(recordPath(s.keys, key))
		if err != nil {
			return nil, nil, err
		}
		if etag != "" && rec.ETag != etag {
			return nil, nil, fmt.Errorf("%w: %q, not %q", backend.ErrChanged, rec.ETag, etag)
		}
		if err := rec.readable(); err != nil {
			return nil, nil, err
		}
		if rec.Blob == "" {
			return rec, memory{bytes.NewReader(rec.inline)}, nil
		}
		c, err := s.openBlob(rec.Blob, rec.Size)
		if !errors.Is(err, fs.ErrNotExist) {
			return rec, c, err
		}
		if rec.Blob == missing {
			return nil, nil, fmt.Errorf("%w: blob %s is missing", backend.ErrCorrupt, rec.Blob)
		}
		missing = rec.Blob
	}
}

// openBlob opens blob id, which must have size bytes.
func (s *store) openBlob(id string, size int64) (content, error) {
	f, err := os.Open(s.blobPath(id))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		return openParts(f, size)
	}
	if err == nil && info.Size() != size {
		err = fmt.Errorf("%w: blob %s has %d of %d bytes", backend.ErrCorrupt, id, info.Size(), size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// memory is the content of an inline body.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// A reader yields exactly left more bytes, or an error other than io.EOF. If it is of a
// whole object it holds that against its checksum.
type reader struct {
	store   *store
	key     string
	src     io.Reader
	left    int64 // bytes
	content content
	sum     hash.Hash64 // of what was read; nil if want is not known
	want    uint64      // CRC64NVME
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.src.Read(p)
	r.left -= int64(n)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	if errors.Is(err, io.EOF) {
		err = nil
		if r.left > 0 {
			err = fmt.Errorf("%w: %d bytes are missing: %w", backend.ErrCorrupt, r.left, io.ErrUnexpectedEOF)
		}
	}
	if err == nil && r.left == 0 && r.sum != nil && r.sum.Sum64() != r.want {
		err = fmt.Errorf("%w: CRC64NVME is %016x, not %016x", backend.ErrCorrupt, r.sum.Sum64(), r.want)
	}
	return n, r.store.wrap("get", r.key, err)
}

func (r *reader) Close() error {
	return r.store.wrap("get", r.key, r.content.Close())
}
