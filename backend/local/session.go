package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
)

// A session is the directory of what one running Service has in hand: files that are being
// written, and for every blob that might be garbage a note of the key to ask about it. The
// session's lock is held as long as the process lives; a session whose lock is free belongs
// to a dead process and is collected by the next New.
type session struct {
	dir  string
	lock *os.File // flocked
	next atomic.Uint64
}

// A note is a symbolic link that points nowhere: making one is a single atomic change that
// needs no fsync of a content. Its name is notePrefix and the id of the blob, its target
// the bucket, a slash and the key.
const notePrefix = "blob-"

// newSession makes a session below tmp. The caller holds the lock of the store, so that
// nobody takes the session for a dead one before it is locked.
func newSession(tmp string) (*session, error) {
	dir, err := os.MkdirTemp(tmp, "session-")
	if err != nil {
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if err := flock(lock, syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &session{dir: dir, lock: lock}, nil
}

// temp returns the path of a new temporary file, which is not created.
func (s *session) temp() string {
	return filepath.Join(s.dir, fmt.Sprintf("t%d", s.next.Add(1)))
}

// note remembers that blob id is garbage unless the record of key refers to it.
func (s *session) note(id, bucket, key string) error {
	err := os.Symlink(bucket+"/"+key, filepath.Join(s.dir, notePrefix+id))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// settle forgets the note of blob id.
func (s *session) settle(id string) {
	_ = os.Remove(filepath.Join(s.dir, notePrefix+id)) // a leftover note is asked about again
}

// collect clears away what dead processes and forgotten uploads left. The caller holds the
// lock of the store.
func (s *Service) collect() error {
	if err := s.collectSessions(); err != nil {
		return err
	}
	buckets, err := readNames(s.path("buckets"))
	if err != nil {
		return err
	}
	for _, name := range buckets {
		if err := s.store(name).collectUploads(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) collectSessions() error {
	names, err := readNames(s.path("tmp"))
	if err != nil {
		return err
	}
	for _, name := range names {
		dir := s.path("tmp", name)
		if dir == s.session.dir || !strings.HasPrefix(name, "session-") || !isDead(dir) {
			continue
		}
		if err := s.collectSession(dir); err != nil {
			return err
		}
	}
	return nil
}

// isDead reports whether nobody holds the lock of the session in dir.
func isDead(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) // died before it was locked
	}
	defer f.Close() // read-only: nothing to lose
	return flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// collectSession removes the blobs that the dead session in dir noted and that no record
// refers to, then the session.
func (s *Service) collectSession(dir string) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := strings.CutPrefix(name, notePrefix)
		if !ok {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		bucket, key, _ := strings.Cut(target, "/")
		if err := s.collectBlob(s.store(bucket), id, key); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// collectBlob removes blob id of the bucket unless the record of key refers to it.
func (s *Service) collectBlob(st *store, id, key string) error {
	unlock, err := s.locks.lock(st.name, key)
	if err != nil {
		return err
	}
	defer unlock()
	path := recordPath(st.keys, key)
	rec, err := readRecord(path)
	if err == nil && rec.Blob == id {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ignoreAbsent(err)
	}
	// The record that no longer refers to the blob may not have reached the disk yet.
	if err := s.disk.syncBelow(st.keys, filepath.Dir(path)); err != nil {
		return err
	}
	err = st.removeBlob(id)
	if errors.Is(err, errBusy) {
		return s.session.note(id, st.name, key) // in case the reader dies
	}
	return err
}
