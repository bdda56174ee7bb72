package local

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Copy implements backend.Copier. Source and copy share their bytes on disk.
func (s *store) Copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	rec, err := s.copy(ctx, from, to, opts)
	if err != nil {
		return backend.Object{}, s.wrap("copy", to, err)
	}
	return rec.object(time.Now()), nil
}

func (s *store) copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (*record, error) {
	var attrs backend.Attrs
	if opts.Attrs != nil {
		attrs = *opts.Attrs
	}
	rec, err := s.newRecord(ctx, to, attrs)
	if err != nil {
		return nil, err
	}
	temp := s.svc.session.temp()
	src, err := s.linkVersion(ctx, from, temp)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp) // gone if it was placed
	rec.Size, rec.ETag, rec.CRC, rec.inline = src.Size, src.ETag, src.CRC, src.inline
	if opts.Attrs == nil {
		rec.Meta, rec.Header, rec.Class = maps.Clone(src.Meta), maps.Clone(src.Header), src.Class
	}
	if src.Blob == "" {
		temp = ""
	}
	cond := opts.Cond
	if from.Key == to && cond == (backend.Cond{}) {
		cond.IfMatch = src.ETag // or a Put in between would be undone
	}
	return rec, s.commitStaged(ctx, rec, temp, cond)
}

// linkVersion links the blob of a readable version, if it has one, to temp.
func (s *store) linkVersion(ctx context.Context, from backend.Object, temp string) (*record, error) {
	for {
		// The body is open while it is linked, so it cannot be removed half-way.
		rec, c, err := s.openVersion(ctx, from.Key, from.ETag)
		if err != nil {
			return nil, err
		}
		if rec.Blob != "" {
			err = s.linkBlob(rec.Blob, temp)
		}
		err = errors.Join(err, c.Close())
		if !errors.Is(err, fs.ErrNotExist) {
			return rec, err
		}
		if err := os.RemoveAll(temp); err != nil { // replaced meanwhile: again
			return nil, err
		}
	}
}

// linkBlob makes temp a blob of the same bytes as blob id. It fails with fs.ErrNotExist if
// that is gone.
func (s *store) linkBlob(id, temp string) error {
	path := s.blobPath(id)
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return s.svc.disk.link(path, temp)
	}
	sizes, err := readSizes(path)
	if err != nil {
		return err
	}
	files := make([]string, len(sizes))
	for i := range sizes {
		files[i] = partFile(path, i)
	}
	return s.svc.disk.writeParts(temp, files, sizes)
}
