package local

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
)

// newBlobID returns a name that no blob ever had.
func newBlobID() string { return strings.ToLower(rand.Text()) }

// blobPath returns where blob id of the bucket lies.
func (s *store) blobPath(id string) string {
	return filepath.Join(s.dir, "blobs", id[:2], id)
}

// placeBlob moves the durable file temp among the blobs as id, for the record of key that
// is about to be written. Until the caller settles it, it is garbage if this process dies.
func (s *store) placeBlob(temp, id, key string) error {
	if err := s.svc.session.note(id, s.name, key); err != nil {
		return err
	}
	root := filepath.Join(s.dir, "blobs")
	path := s.blobPath(id)
	if err := s.svc.disk.renameInto(root, temp, path); err != nil {
		s.svc.session.settle(id)
		return err
	}
	return s.svc.disk.syncBelow(root, filepath.Dir(path))
}

// dropBlob removes a blob that no durable record refers to, and its note. What fails is
// left to the collection by a later New.
func (s *store) dropBlob(id string) {
	if id != "" && s.removeBlob(id) == nil {
		s.svc.session.settle(id)
	}
}

// removeBlob removes blob id; an absent one is no error. It fails with errBusy if a reader
// will do it.
func (s *store) removeBlob(id string) error {
	path := s.blobPath(id)
	info, err := os.Lstat(path)
	if err != nil {
		return ignoreAbsent(err)
	}
	if info.IsDir() {
		return removeParts(path)
	}
	return ignoreAbsent(os.Remove(path))
}
