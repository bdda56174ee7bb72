package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A store is one bucket. It holds nothing but names: all state is in the directory.
type store struct {
	svc  *Service
	name string // of the bucket
	dir  string // buckets/name
	keys string // dir/keys
}

var (
	_ backend.Store        = (*store)(nil)
	_ backend.Copier       = (*store)(nil)
	_ backend.PartUploader = (*store)(nil)
	_ backend.PartCopier   = (*store)(nil)
	_ backend.BatchDeleter = (*store)(nil)
	_ backend.Restorer     = (*store)(nil)
)

// Head implements backend.Store.
func (s *store) Head(ctx context.Context, key string) (backend.Object, error) {
	err := firstOf(ctx.Err(), checkKey(key))
	if err != nil {
		return backend.Object{}, s.wrap("head", key, err)
	}
	rec, err := readHead(recordPath(s.keys, key))
	if err != nil {
		return backend.Object{}, s.wrap("head", key, err)
	}
	return rec.object(time.Now()), nil
}

// Delete implements backend.Store.
func (s *store) Delete(ctx context.Context, key string) error {
	return s.wrap("delete", key, s.delete(ctx, key))
}

func (s *store) delete(ctx context.Context, key string) error {
	if err := firstOf(ctx.Err(), checkKey(key)); err != nil {
		return err
	}
	path := recordPath(s.keys, key)
	blob, err := s.unlink(path, key)
	if errors.Is(err, fs.ErrNotExist) {
		return s.exists()
	}
	if err != nil {
		return err
	}
	if err := s.svc.disk.syncBelow(s.keys, filepath.Dir(path)); err != nil {
		return err
	}
	s.dropBlob(blob)
	s.svc.disk.prune(s.keys, filepath.Dir(path))
	return nil
}

// unlink removes the record path of key and returns the blob that it referred to, which is
// noted as garbage but left until the removal is durable.
func (s *store) unlink(path, key string) (blob string, err error) {
	unlock, err := s.svc.locks.lock(s.name, key)
	if err != nil {
		return "", err
	}
	defer unlock()
	rec, err := readHead(path)
	if err == nil && rec.Blob != "" {
		blob = rec.Blob
		err = s.svc.session.note(blob, s.name, key)
	}
	if err != nil && !errors.Is(err, backend.ErrCorrupt) { // a corrupt record can be deleted
		return "", err
	}
	return blob, os.Remove(path)
}

// exists fails with backend.ErrNotExist if the bucket is gone.
func (s *store) exists() error {
	_, err := os.Lstat(s.keys)
	return err
}
