package writeback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/minio/crc64nvme"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// A stamp tells whether content changed: equal stamps of one File mean equal bytes, with
// the exceptions that snapshot deals with.
type stamp struct {
	size   int64
	mtime  int64  // Unix nanoseconds; 0 where only our own counter counts
	writes uint64 // begun through us
}

// errUnsteady says that content was changed each time it was read to be sent.
var errUnsteady = errors.New("the file is being changed all the time, no consistent state of it could be sent")

// steadyTries bounds the attempts to read a file between two writes of others.
const steadyTries = 12

// stampNow looks at the content without waiting for writers.
func (f *File) stampNow() (s stamp, err error) {
	s.writes = f.begun.Load()
	if f.inline != nil {
		s.size = int64(len(f.inline))
		return s, nil
	}
	if f.sparse != nil {
		s.size = f.sparse.length()
		return s, nil
	}
	err = f.use(func(fd *os.File) error {
		info, err := fd.Stat()
		if err == nil {
			s.size, s.mtime = info.Size(), info.ModTime().UnixNano()
		}
		return err
	})
	if err != nil {
		return s, fmt.Errorf("stat staged file: %w", err)
	}
	return s, nil
}

// steady returns a stamp with this meaning: if stampNow gives the same later, then whatever
// was read between the two calls is one state of the file, no write of it half done.
//
// A write changes the mtime first and the bytes after that, both under the inode's lock.
// So the stamp is taken, then the lock is waited for (setting the mode takes it): writes
// that the stamp has seen are over now, later ones change the mtime again. Where mtimes are
// coarse, a later write could carry the same one until the clock has ticked.
func (f *File) steady(ctx context.Context) (stamp, error) {
	s, err := f.stampNow()
	if err != nil {
		return s, err
	}
	f.q.mu.Lock()
	kernel, writable := f.given, f.refs > 0
	f.q.mu.Unlock()
	if f.sparse != nil || f.inline != nil || !writable {
		return s, f.quiet(ctx)
	}
	if fd := f.fd.Load(); kernel && fd != nil {
		if !f.q.sharp {
			if err := outlive(ctx, s.mtime); err != nil {
				return s, err
			}
		}
		if err := fd.Chmod(0o600); err != nil {
			return s, fmt.Errorf("wait for writers of staged file: %w", err)
		}
	}
	return s, f.quiet(ctx)
}

// outlive waits until the clock that file systems take mtimes from, which ticks every 1 to
// 10 ms, has left mtime behind: what is written from then on is newer.
func outlive(ctx context.Context, mtime int64) error {
	for range 50 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return err
		}
		if now.Nano() > mtime {
			return nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil // an mtime in the future: the wall clock was set
}

// quiet waits until no write through us is half done.
func (f *File) quiet(ctx context.Context) error {
	for wait := 100 * time.Microsecond; f.ended.Load() != f.begun.Load(); wait *= 2 {
		if wait > time.Second {
			return errUnsteady
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// steadily calls read between two looks at the content until it did not change meanwhile.
func (f *File) steadily(ctx context.Context, read func(stamp) error) (stamp, error) {
	for try := range steadyTries {
		before, err := f.steady(ctx)
		if err != nil {
			return before, err
		}
		err = read(before)
		after, statErr := f.stampNow()
		if statErr != nil {
			return before, statErr
		}
		if before == after {
			return before, err
		}
		if ctx.Err() != nil {
			return before, ctx.Err()
		}
		if err := sleep(ctx, time.Millisecond<<min(try, 7)); err != nil {
			return before, err
		}
	}
	return stamp{}, errUnsteady
}

// A snapshot is one state of a file, fit to be sent.
type snapshot struct {
	stamp stamp
	crc   uint64 // CRC64NVME
	body  *io.SectionReader
}

// snapshot reads the whole content. Small content is copied; a large body reads from the
// staged file again, and the checksum that goes with it makes sure that this yields the
// same bytes. The body is good while f is pinned.
func (f *File) snapshot(ctx context.Context) (snapshot, error) {
	var snap snapshot
	s, err := f.steadily(ctx, func(s stamp) error {
		r := f.reader(ctx)
		if s.size <= f.q.tune.buffered {
			buf := make([]byte, s.size)
			if err := r.full(buf, 0); err != nil {
				return err
			}
			snap.crc, snap.body = crc64nvme.Checksum(buf), section(bytes.NewReader(buf), s.size)
			return nil
		}
		crc, err := r.crc(0, s.size)
		snap.crc, snap.body = crc, section(r, s.size)
		return err
	})
	snap.stamp = s
	if err != nil {
		return snap, err
	}
	return snap, f.checkSum(s, &snap.crc)
}

func section(r io.ReaderAt, n int64) *io.SectionReader { return sectionAt(r, 0, n) }

func sectionAt(r io.ReaderAt, off, n int64) *io.SectionReader { return io.NewSectionReader(r, off, n) }

// checkSum compares unchanged content with the checksum taken when it was committed: the
// local disk may have spoiled it.
func (f *File) checkSum(at stamp, crc *uint64) error {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	if f.crc != nil && crc != nil && at == f.mark && *f.crc != *crc {
		return fmt.Errorf("staged file %s of %s: %w", f.q.stagedPath(f.id), f.ref, backend.ErrCorrupt)
	}
	return nil
}

// A fileReader reads a File as an io.ReaderAt.
type fileReader struct {
	ctx context.Context
	f   *File
}

func (f *File) reader(ctx context.Context) fileReader { return fileReader{ctx, f} }

func (r fileReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.f.ReadAt(r.ctx, p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (r fileReader) full(p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read staged file: %w", err)
}

// crc is the CRC64NVME of [off, off+n).
func (r fileReader) crc(off, n int64) (uint64, error) {
	sum, err := crcOf(io.NewSectionReader(r, off, n), n)
	if err != nil {
		return 0, fmt.Errorf("read staged file: %w", err)
	}
	return sum, r.ctx.Err()
}

// crcOf is the CRC64NVME of the n bytes that r must yield.
func crcOf(r io.Reader, n int64) (uint64, error) {
	buf := make([]byte, min(n, 256<<10))
	var sum uint64
	for n > 0 {
		p := buf[:min(n, int64(len(buf)))]
		if _, err := io.ReadFull(r, p); errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		} else if err != nil {
			return 0, err
		}
		sum = crc64nvme.Update(sum, p)
		n -= int64(len(p))
	}
	return sum, nil
}
