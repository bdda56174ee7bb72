package local

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Complete implements backend.PartUploader. No byte is copied: the parts become the body.
func (s *store) Complete(ctx context.Context, up backend.Upload, ps []backend.Part, opts backend.PutOptions) (backend.Object, error) {
	rec, err := s.complete(ctx, up, ps, opts)
	if err != nil {
		return backend.Object{}, s.wrap("complete", up.Key, err)
	}
	return rec.object(time.Now()), nil
}

func (s *store) complete(ctx context.Context, up backend.Upload, ps []backend.Part, opts backend.PutOptions) (*record, error) {
	unlock, err := s.lockUpload(up)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u, err := s.findUpload(ctx, up)
	if err != nil {
		return nil, err
	}
	if rec := s.completed(up); rec != nil {
		return rec, s.dropUpload(up)
	}
	rec := u.record(up.ID)
	files, sizes, err := s.assemble(rec, ps)
	if err != nil {
		return nil, err
	}
	if opts.CRC64NVME != nil && *opts.CRC64NVME != rec.CRC {
		return nil, fmt.Errorf("%w: CRC64NVME is %016x, not %016x", backend.ErrCorrupt, rec.CRC, *opts.CRC64NVME)
	}
	if err := s.peek(up.Key, opts.Cond); err != nil {
		return nil, err
	}
	temp := s.svc.session.temp()
	defer os.RemoveAll(temp) // gone if it was placed
	if err := s.svc.disk.writeBlob(temp, files, sizes); err != nil {
		return nil, err
	}
	if err := s.commitStaged(ctx, rec, temp, opts.Cond); err != nil {
		return nil, err
	}
	return rec, s.dropUpload(up)
}

// completed returns the record that an earlier Complete of up made, if that died before it
// could remove the upload.
func (s *store) completed(up backend.Upload) *record {
	rec, err := readHead(recordPath(s.keys, up.Key))
	if err != nil || rec.Upload != up.ID {
		return nil
	}
	return rec
}

// assemble looks up the files of the parts and sums them up in rec.
func (s *store) assemble(rec *record, ps []backend.Part) (files []string, sizes []int64, err error) {
	limits := s.svc.limits
	if len(ps) == 0 || len(ps) > limits.MaxParts {
		return nil, nil, fmt.Errorf("%w: %d parts", backend.ErrInvalid, len(ps))
	}
	there, err := s.partFiles(rec.Upload)
	if err != nil {
		return nil, nil, err
	}
	sum := md5.New()
	for i, p := range ps {
		if i > 0 && p.Number <= ps[i-1].Number {
			return nil, nil, fmt.Errorf("%w: part %d after part %d", backend.ErrInvalid, p.Number, ps[i-1].Number)
		}
		q, ok := there[partID{p.Number, p.ETag}]
		if !ok {
			return nil, nil, fmt.Errorf("%w: part %d with ETag %q was not sent", backend.ErrInvalid, p.Number, p.ETag)
		}
		if i < len(ps)-1 && q.Size < limits.MinSize {
			return nil, nil, fmt.Errorf("%w: part %d has %d bytes, less than %d", backend.ErrInvalid, p.Number, q.Size, limits.MinSize)
		}
		raw, err := hex.DecodeString(q.ETag)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: part %d: %w", backend.ErrCorrupt, p.Number, err)
		}
		sum.Write(raw)
		rec.CRC = backend.CombineCRC(rec.CRC, q.CRC, q.Size)
		rec.Size += q.Size
		files = append(files, filepath.Join(s.uploadDir(rec.Upload), partName(q)))
		sizes = append(sizes, q.Size)
	}
	if rec.Size > limits.MaxObject {
		return nil, nil, fmt.Errorf("%w: %d bytes", backend.ErrTooLarge, rec.Size)
	}
	rec.ETag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(ps))
	return files, sizes, nil
}

// partFiles returns the parts of upload id, with their sizes, by number and ETag: two of
// one number are there if a process died while it replaced one.
func (s *store) partFiles(id string) (map[partID]backend.Part, error) {
	entries, err := os.ReadDir(s.uploadDir(id))
	if err != nil {
		return nil, err
	}
	ps := map[partID]backend.Part{}
	for _, e := range entries {
		p, ok := parsePart(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.Size = info.Size()
		ps[partID{p.Number, p.ETag}] = p
	}
	return ps, nil
}

type partID struct {
	number int
	etag   string
}

// writeBlob makes temp a blob of the files in order.
func (d *disk) writeBlob(temp string, files []string, sizes []int64) error {
	if len(files) == 1 {
		return d.link(files[0], temp)
	}
	return d.writeParts(temp, files, sizes)
}
