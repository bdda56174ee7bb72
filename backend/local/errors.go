package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/thawfs/thawfs/backend"
)

// wrap makes err the *backend.Error of an operation on the service; nil stays nil.
func (s *Service) wrap(op, bucket string, err error) error {
	return wrap("local:"+s.dir, op, bucket, err)
}

// wrap makes err the *backend.Error of an operation on a bucket; nil stays nil.
func (s *store) wrap(op, key string, err error) error {
	return wrap("local:"+s.svc.dir+"/"+s.name, op, key, err)
}

func wrap(store, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*backend.Error); ok {
		return e
	}
	return &backend.Error{Store: store, Op: op, Key: key, Err: translate(err)}
}

// translate puts a sentinel into the chain of an error of the operating system, which
// stays in it.
func translate(err error) error {
	known := []error{
		backend.ErrNotExist, backend.ErrExist, backend.ErrPermission, backend.ErrInvalid,
		backend.ErrTooLarge, backend.ErrNotEmpty, backend.ErrUnsupported, backend.ErrArchived,
		backend.ErrChanged, backend.ErrUnavailable, backend.ErrCorrupt,
		context.Canceled, context.DeadlineExceeded,
	}
	if slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
		return err
	}
	sentinel := backend.ErrUnavailable
	switch {
	case errors.Is(err, syscall.ENAMETOOLONG):
		sentinel = backend.ErrTooLong
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		sentinel = backend.ErrPermission
	case errors.Is(err, fs.ErrNotExist): // a bucket that was deleted meanwhile
		sentinel = backend.ErrNotExist
	case errors.Is(err, syscall.EFBIG):
		sentinel = backend.ErrTooLarge
	}
	return fmt.Errorf("%w: %w", sentinel, err)
}
