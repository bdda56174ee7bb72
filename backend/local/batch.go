package local

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
)

// DeleteBatch implements backend.BatchDeleter: it makes each directory durable once.
func (s *store) DeleteBatch(ctx context.Context, keys []string) map[string]error {
	failed := map[string]error{}
	type unlinked struct{ key, blob string }
	byDir := map[string][]unlinked{}
	for _, key := range keys {
		blob, dir, err := s.unlinkKey(ctx, key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			failed[key] = s.wrap("delete batch", key, err)
		default:
			byDir[dir] = append(byDir[dir], unlinked{key, blob})
		}
	}
	for dir, gone := range byDir {
		err := s.svc.disk.syncBelow(s.keys, dir)
		for _, u := range gone {
			if err != nil {
				failed[u.key] = s.wrap("delete batch", u.key, err)
			} else {
				s.dropBlob(u.blob)
			}
		}
		s.svc.disk.prune(s.keys, dir)
	}
	return failed
}

func (s *store) unlinkKey(ctx context.Context, key string) (blob, dir string, err error) {
	if err := firstOf(ctx.Err(), checkKey(key)); err != nil {
		return "", "", err
	}
	path := recordPath(s.keys, key)
	blob, err = s.unlink(path, key)
	return blob, filepath.Dir(path), err
}
