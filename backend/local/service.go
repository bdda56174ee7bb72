package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// bucketFile is the content of bucket.json.
type bucketFile struct {
	Created time.Time `json:"created"`
	Class   string    `json:"class,omitempty"` // of objects put without one
}

// Buckets implements backend.Service.
func (s *Service) Buckets(ctx context.Context) iter.Seq2[backend.Bucket, error] {
	return func(yield func(backend.Bucket, error) bool) {
		names, err := readNames(s.path("buckets"))
		if err != nil {
			yield(backend.Bucket{}, s.wrap("buckets", "", err))
			return
		}
		slices.Sort(names)
		for _, name := range names {
			info, err := s.bucketFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile, or none of ours
			}
			if err = firstOf(ctx.Err(), err); err != nil {
				yield(backend.Bucket{}, s.wrap("buckets", "", err))
				return
			}
			if !yield(backend.Bucket{Name: name, Created: info.Created}, nil) {
				return
			}
		}
	}
}

// CreateBucket implements backend.Service. The rules for names are those of S3.
func (s *Service) CreateBucket(ctx context.Context, name string) error {
	return s.wrap("create bucket", name, s.createBucket(ctx, name))
}

func (s *Service) createBucket(ctx context.Context, name string) error {
	if err := firstOf(ctx.Err(), checkBucket(name)); err != nil {
		return err
	}
	unlock, err := lockFile(s.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Lstat(s.path("buckets", name)); err == nil {
		return backend.ErrExist
	}
	dir := s.session.temp()
	for _, d := range []string{"", "keys", "blobs", "uploads"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			return err
		}
	}
	err = s.disk.writeJSON(filepath.Join(dir, "bucket.json"), s.session.temp(), bucketFile{Created: time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := os.Rename(dir, s.path("buckets", name)); err != nil {
		return err
	}
	return s.disk.syncDir(s.path("buckets"))
}

// DeleteBucket implements backend.Service. Unfinished uploads do not keep a bucket.
func (s *Service) DeleteBucket(ctx context.Context, name string) error {
	return s.wrap("delete bucket", name, s.deleteBucket(ctx, name))
}

func (s *Service) deleteBucket(ctx context.Context, name string) error {
	st, err := s.openBucket(ctx, name)
	if err != nil {
		return err
	}
	unlock, err := lockFile(s.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	release, err := s.locks.lockAll() // no Put may land between the look and the rename
	if err != nil {
		return err
	}
	defer release()
	if full, err := holdsRecord(st.keys); err != nil || full {
		return firstOf(err, backend.ErrNotEmpty)
	}
	gone := s.session.temp()
	if err := os.Rename(st.dir, gone); err != nil {
		return err
	}
	s.disk.forget()
	if err := s.disk.syncDir(s.path("buckets")); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// SetBucketClass makes class the storage class of objects that are put into the bucket
// without one; an empty class restores STANDARD. The store remembers it.
func (s *Service) SetBucketClass(name, class string) error {
	return s.wrap("set bucket class", name, s.setBucketClass(name, class))
}

func (s *Service) setBucketClass(name, class string) error {
	if err := checkClass(class); err != nil {
		return err
	}
	unlock, err := lockFile(s.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	info, err := s.bucketFile(name)
	if err != nil {
		return err
	}
	info.Class = class
	return s.disk.writeJSON(s.path("buckets", name, "bucket.json"), s.session.temp(), info)
}

// Open implements backend.Service.
func (s *Service) Open(ctx context.Context, name string) (backend.Store, error) {
	st, err := s.openBucket(ctx, name)
	if err != nil {
		return nil, s.wrap("open bucket", name, err)
	}
	return st, nil
}

func (s *Service) openBucket(ctx context.Context, name string) (*store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if checkBucket(name) != nil {
		return nil, backend.ErrNotExist
	}
	if _, err := s.bucketFile(name); err != nil {
		return nil, err
	}
	return s.store(name), nil
}

// store returns the Store of a bucket without a look at it.
func (s *Service) store(name string) *store {
	dir := s.path("buckets", name)
	return &store{svc: s, name: name, dir: dir, keys: filepath.Join(dir, "keys")}
}

func (s *Service) bucketFile(name string) (bucketFile, error) {
	var info bucketFile
	var buf [512]byte // of which it fills a fifth
	n, err := readUpTo(s.path("buckets", name, "bucket.json"), buf[:])
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(buf[:n], &info); err != nil {
		return info, fmt.Errorf("%w: bucket.json: %w", backend.ErrCorrupt, err)
	}
	return info, nil
}

// checkBucket holds a name against the rules of S3 (User Guide, "General purpose bucket
// naming rules").
func checkBucket(name string) error {
	fine := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	ok := 3 <= len(name) && len(name) <= 63 && fine(name[0]) && fine(name[len(name)-1])
	for i := range len(name) {
		ok = ok && (fine(name[i]) || name[i] == '-' || name[i] == '.')
	}
	_, notIP := netip.ParseAddr(name)
	if !ok || notIP == nil || strings.Contains(name, "..") || isReserved(name) {
		return fmt.Errorf("%w: bucket name %q", backend.ErrInvalid, name)
	}
	return nil
}

func isReserved(name string) bool {
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	for _, p := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, p) {
			return true
		}
	}
	return false
}

// firstOf returns the first error that is one.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
