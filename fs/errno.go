package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/writeback"
	"github.com/thawfs/thawfs/fs/recall"
)

// errnos is the one table from errors to errnos, first match first. An errno in the chain
// (a full or failing local disk) wins over all of it.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{backend.ErrNotExist, syscall.ENOENT},
	{backend.ErrExist, syscall.EEXIST},
	{backend.ErrPermission, syscall.EACCES},
	{backend.ErrTooLong, syscall.ENAMETOOLONG},
	{backend.ErrTooLarge, syscall.EFBIG},
	{backend.ErrInvalid, syscall.EINVAL},
	{backend.ErrNotEmpty, syscall.ENOTEMPTY},
	{backend.ErrUnsupported, syscall.ENOTSUP},
	{backend.ErrArchived, syscall.EAGAIN},
	{backend.ErrChanged, syscall.ESTALE},
	{backend.ErrImmutable, syscall.EPERM},
	{backend.ErrNotYet, syscall.EAGAIN},
	{backend.ErrQuota, syscall.EDQUOT},
	{recall.ErrExplicit, syscall.ENODATA},
	{recall.ErrRefused, syscall.EDQUOT},
	{recall.ErrFailed, syscall.EIO},
	{writeback.ErrFull, syscall.ENOSPC},
}

// toErrno translates err; ok is false when nothing better than EIO is known.
func toErrno(err error) (errno syscall.Errno, ok bool) {
	if err == nil {
		return 0, true
	}
	var e syscall.Errno
	if errors.As(err, &e) {
		return e, true
	}
	for _, t := range errnos {
		if errors.Is(err, t.err) {
			return t.errno, true
		}
	}
	return syscall.EIO, false
}

// errno answers a request with err, and logs what the caller cannot be told by an errno.
func (f *FS) errno(op string, ref backend.Ref, err error) syscall.Errno {
	errno, ok := toErrno(err)
	if errno == syscall.EIO {
		f.failures.Add(1)
	}
	if !ok || errno == syscall.EIO || errno == syscall.EACCES {
		f.log.Warn("request failed", slog.String("op", op), slog.String("key", ref.String()), slog.Any("err", err), slog.String("errno", errno.Error()))
	}
	return errno
}

func isNotExist(err error) bool { return errors.Is(err, backend.ErrNotExist) }
