// Package local is an object store in a directory: what `thawfs mount local:DIR` and
// `thawfs demo` serve, and the reference that the tests of every other package run on.
//
// # What lies where
//
//	DIR/store.json             format of the store and its settings
//	DIR/lock, DIR/locks/       flocks: several processes may serve one store at once
//	DIR/tmp/SESSION/           what a running process has in hand; collected once it is dead
//	DIR/buckets/NAME/
//	    bucket.json            creation time and default storage class
//	    keys/photos/cat.jpg%obj    one record a key, in a tree that mirrors the keys
//	    blobs/ab/ab...         bodies too large for a record; never changed, only unlinked
//	    uploads/ID/            multipart uploads and their parts
//
// A record is one line of JSON, followed by the body itself if that is small. A change
// writes everything it needs under names that nothing refers to, makes it durable and then
// renames the record into place: that rename is the moment of the change. Whoever reads
// sees the old record or the new one, and each of them leads to a whole body.
//
// Objects of the storage classes GLACIER and DEEP_ARCHIVE stand on an archive shelf as they
// do on S3: they cannot be read before a Restore, which takes Options.RestoreTime.
package local

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Options modify New. The zero value is good for a store that people keep data in.
type Options struct {
	// RestoreTime is how long a Restore takes. The store remembers it; zero leaves it at
	// what the store remembers, 15 seconds if that is nothing.
	RestoreTime time.Duration

	// NoSync leaves it to the kernel when data reaches the disk. The store then survives
	// the death of the process but not a power loss. For tests.
	NoSync bool

	// Parts replaces single limits on parts; zero fields are those of S3.
	Parts backend.PartLimits
}

// A Service is a directory that holds buckets. It implements backend.Service; its stores
// have all powers of package backend. It needs no Close.
type Service struct {
	dir     string
	restore time.Duration
	limits  backend.PartLimits
	disk    *disk
	locks   *locks
	session *session
}

var _ backend.Service = (*Service)(nil)

// New opens the store in dir and creates it if dir is absent or empty. It fails with
// backend.ErrInvalid if dir holds something else. What processes that died left behind in
// dir is cleared away.
func New(dir string, o Options) (*Service, error) {
	s := &Service{dir: dir, limits: partLimits(o.Parts), disk: newDisk(!o.NoSync)}
	if err := s.open(o); err != nil {
		return nil, s.wrap("open", "", err)
	}
	return s, nil
}

func (s *Service) open(o Options) error {
	abs, err := filepath.Abs(s.dir)
	if err != nil {
		return err
	}
	s.dir = abs
	if err := s.layOut(); err != nil {
		return err
	}
	s.locks = newLocks(s.path("locks"))
	unlock, err := lockFile(s.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if s.restore, err = s.loadSettings(o); err != nil {
		return err
	}
	if s.session, err = newSession(s.path("tmp")); err != nil {
		return err
	}
	return s.collect()
}

// layOut makes the directories of a new store, or checks that dir is one.
func (s *Service) layOut() error {
	if _, err := os.Lstat(s.dir); err != nil {
		if err := os.MkdirAll(s.dir, 0o777); err != nil {
			return err
		}
		if err := s.disk.syncDir(filepath.Dir(s.dir)); err != nil {
			return err
		}
	}
	names, err := readNames(s.dir)
	if err != nil {
		return err
	}
	if len(names) > 0 && !isStore(names) {
		return fmt.Errorf("%w: %s is neither empty nor a store of thawfs", backend.ErrInvalid, s.dir)
	}
	for _, name := range []string{"buckets", "locks", "tmp"} {
		if err := os.Mkdir(s.path(name), 0o777); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return s.disk.syncDir(s.dir)
}

// path joins elem to the directory of the store.
func (s *Service) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// partLimits fills the zero fields of l with the limits of S3.
func partLimits(l backend.PartLimits) backend.PartLimits {
	or := func(v *int64, def int64) {
		if *v == 0 {
			*v = def
		}
	}
	or(&l.MinSize, 5<<20)
	or(&l.MaxSize, 5<<30)
	or(&l.MaxObject, 50e12)
	or(&l.MaxPut, 5<<30)
	if l.MaxParts == 0 {
		l.MaxParts = 10_000
	}
	return l
}
