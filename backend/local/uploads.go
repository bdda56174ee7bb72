package local

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// maxIdle is how long an upload lies untouched before New takes it for forgotten: longer
// than anybody's journal waits to finish it.
const maxIdle = 30 * 24 * time.Hour

// Uploads implements backend.PartUploader. They come in order of their keys.
func (s *store) Uploads(ctx context.Context, prefix string) iter.Seq2[backend.Upload, error] {
	return func(yield func(backend.Upload, error) bool) {
		ups, err := s.uploads(ctx)
		if err != nil {
			yield(backend.Upload{}, s.wrap("uploads", prefix, err))
			return
		}
		for _, up := range ups {
			if strings.HasPrefix(up.Key, prefix) && !yield(up, nil) {
				return
			}
		}
	}
}

func (s *store) uploads(ctx context.Context) ([]backend.Upload, error) {
	ids, err := readNames(filepath.Join(s.dir, "uploads"))
	if err != nil {
		return nil, err
	}
	var ups []backend.Upload
	for _, id := range ids {
		u, err := s.readUpload(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // finished meanwhile
		}
		if err = firstOf(ctx.Err(), err); err != nil {
			return nil, err
		}
		ups = append(ups, backend.Upload{Key: u.Key, ID: id})
	}
	slices.SortFunc(ups, func(a, b backend.Upload) int {
		return strings.Compare(a.Key+"\x00"+a.ID, b.Key+"\x00"+b.ID)
	})
	return ups, nil
}

// collectUploads removes the uploads that nobody touched for maxIdle.
func (s *store) collectUploads() error {
	dir := filepath.Join(s.dir, "uploads")
	ids, err := readNames(dir)
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, id := range ids {
		info, err := os.Lstat(filepath.Join(dir, id))
		if err != nil || time.Since(info.ModTime()) < maxIdle {
			continue
		}
		if err := s.removeUpload(backend.Upload{ID: id}); err != nil && !errors.Is(err, backend.ErrNotExist) {
			return ignoreAbsent(err)
		}
	}
	return nil
}
