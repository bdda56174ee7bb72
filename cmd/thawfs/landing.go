package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
)

// partEnd marks a file that is not whole yet.
const partEnd = ".thawfs-part"

// dirLanding brings archives to files below a directory.
type dirLanding struct{ root string }

// place is the file of a key. A name that other archives need as a directory gets a mark.
func (d dirLanding) place(key string) string {
	path := d.root
	parts := strings.Split(key, "/")
	for i, comp := range parts {
		next := filepath.Join(path, comp)
		info, err := os.Lstat(next)
		if last := i == len(parts)-1; err == nil && last == info.IsDir() {
			next += "~" // a file where a directory is needed, or the other way round
		}
		path = next
	}
	return path
}

func (d dirLanding) has(ctx context.Context, store *glacier.Store, obj backend.Object) (bool, error) {
	file, err := os.Open(d.place(obj.Key))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }() // only read
	return store.Holds(ctx, obj.Key, file)
}

func (d dirLanding) land(ctx context.Context, store *glacier.Store, obj backend.Object) error {
	path := d.place(obj.Key)
	if _, err := os.Lstat(path); err == nil {
		if has, err := d.has(ctx, store, obj); has || err != nil {
			return err
		}
		return fmt.Errorf("%s is there already and is another file", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	part := path + partEnd
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	err = store.Fetch(ctx, obj, file, nil)
	if err == nil && obj.Size == 0 {
		err = file.Truncate(0)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err // the part stays: the next try goes on with it
	}
	if err := os.Chtimes(part, obj.ModTime, obj.ModTime); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close()) // the ledger will say that it is there
}

// storeLanding brings archives to objects of a bucket, through a file in dir.
type storeLanding struct {
	store  backend.Store
	prefix string
	dir    string
}

func (s storeLanding) has(context.Context, *glacier.Store, backend.Object) (bool, error) {
	return false, nil // the ledger knows; to ask for every object would cost more than it spares
}

func (s storeLanding) land(ctx context.Context, from *glacier.Store, obj backend.Object) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(s.dir, strconv.FormatUint(ledgerHash(obj.ETag), 16)+partEnd)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // what counts was sent
	if err := from.Fetch(ctx, obj, file, nil); err != nil {
		return err
	}
	attrs := backend.Attrs{Meta: map[string]string{"mtime": strconv.FormatInt(obj.ModTime.Unix(), 10)}}
	if err := s.send(ctx, s.prefix+obj.Key, io.NewSectionReader(file, 0, obj.Size), attrs); err != nil {
		return err
	}
	return os.Remove(path)
}

// send stores a body of any size.
func (s storeLanding) send(ctx context.Context, key string, body *io.SectionReader, attrs backend.Attrs) error {
	p, ok := s.store.(backend.PartUploader)
	if !ok || body.Size() <= p.PartLimits().MaxPut {
		_, err := s.store.Put(ctx, key, body, backend.PutOptions{Attrs: attrs})
		return err
	}
	limits := p.PartLimits()
	up, err := p.NewUpload(ctx, key, backend.PutOptions{Attrs: attrs})
	if err != nil {
		return err
	}
	const least = 64 << 20 // bytes of a part
	step := max(least, limits.MinSize, (body.Size()+int64(limits.MaxParts)-1)/int64(limits.MaxParts))
	var parts []backend.Part
	for off := int64(0); off < body.Size(); off += step {
		piece := io.NewSectionReader(body, off, min(step, body.Size()-off))
		crc := crc64nvme.New()
		if _, err := io.Copy(crc, io.NewSectionReader(piece, 0, piece.Size())); err != nil {
			return errors.Join(err, p.Abort(context.WithoutCancel(ctx), up))
		}
		part, err := p.UploadPart(ctx, up, len(parts)+1, piece, crc.Sum64())
		if err != nil {
			return errors.Join(err, p.Abort(context.WithoutCancel(ctx), up))
		}
		parts = append(parts, part)
	}
	_, err = p.Complete(ctx, up, parts, backend.PutOptions{})
	return err
}
