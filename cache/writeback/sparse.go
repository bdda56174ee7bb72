package writeback

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// readBase reads bytes of a base object like Reader.ReadAt of package blocks.
type readBase func(ctx context.Context, p []byte, off int64) (int, error)

// sparse is the content of a File of which only the changed ranges are staged. The rest
// comes from an object in the store, or is zero.
type sparse struct {
	mu    sync.Mutex // guards all below; held over writes to the staged file, which it orders
	done  ranges     // staged
	size  int64
	baseN int64 // below it what is not staged is base's; behind it, zero
	base  backend.Object
	read  readBase
}

func (s *sparse) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *sparse) staged() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done.len()
}

// rebase lets the bytes that are not staged come from obj, which has the same bytes.
func (s *sparse) rebase(obj backend.Object, read readBase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.read = obj, read
}

func (s *sparse) readAt(ctx context.Context, file *os.File, p []byte, off int64) (int, error) {
	s.mu.Lock()
	n := int(max(0, min(int64(len(p)), s.size-off)))
	runs := s.done.split(off, off+int64(n))
	baseN, read := s.baseN, s.read
	s.mu.Unlock()
	for _, r := range runs {
		q := p[r.from-off : r.to-off]
		var err error
		if r.in {
			err = readFull(file, q, r.from)
		} else {
			err = readBehind(ctx, read, q, r.from, baseN)
		}
		if err != nil {
			return int(r.from - off), err
		}
	}
	return n, nil
}

// readBehind fills p from the base as far as it is visible, then with zeros.
func readBehind(ctx context.Context, read readBase, p []byte, off, baseN int64) error {
	from := int(max(0, min(int64(len(p)), baseN-off)))
	clear(p[from:])
	for done := 0; done < from; {
		n, err := read(ctx, p[done:from], off+int64(done))
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF // the base is shorter than it said
		}
		done += n
	}
	return nil
}

func readFull(file *os.File, p []byte, off int64) error {
	n, err := file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) { // a hole behind the staged file's end cannot be in the set
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *sparse) writeAt(file *os.File, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := file.WriteAt(p, off)
	s.done.add(off, off+int64(n))
	s.size = max(s.size, off+int64(n))
	return n, err
}

// truncate leaves the staged file alone: what is cut off is only forgotten, so that the
// journal can still be right about it.
func (s *sparse) truncate(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.cut(size)
	s.baseN = min(s.baseN, size)
	s.size = size
}

// fill stages the bytes of [0, n) that are missing, so that the file is whole.
func (s *sparse) fill(ctx context.Context, file *os.File) error {
	buf := make([]byte, 1<<20)
	for {
		s.mu.Lock()
		gap, ok := s.gap(int64(len(buf)))
		read, baseN := s.read, s.baseN
		s.mu.Unlock()
		if !ok {
			return nil
		}
		p := buf[:gap.to-gap.from]
		if err := readBehind(ctx, read, p, gap.from, baseN); err != nil {
			return err
		}
		if err := s.fillGap(file, p, gap.from); err != nil {
			return err
		}
	}
}

// gap returns the first piece of at most n bytes that is neither staged nor a hole.
func (s *sparse) gap(n int64) (run, bool) {
	for _, r := range s.done.split(0, min(s.baseN, s.size)) {
		if !r.in {
			return run{r.from, min(r.to, r.from+n), false}, true
		}
	}
	return run{}, false
}

// fillGap writes base bytes where nothing has been written meanwhile.
func (s *sparse) fillGap(file *os.File, p []byte, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := min(off+int64(len(p)), s.baseN, s.size)
	for _, r := range s.done.split(off, end) {
		if r.in {
			continue
		}
		if _, err := file.WriteAt(p[r.from-off:r.to-off], r.from); err != nil {
			return err
		}
	}
	s.done.add(off, end)
	return nil
}

// untouched reports whether [from, to) is base's as a whole.
func (s *sparse) untouched(from, to int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := s.done.split(from, to)
	return to <= s.baseN && len(runs) == 1 && !runs[0].in
}

func (s *sparse) record(r *fileRec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Size = s.size
	r.Sparse, r.Ranges, r.BaseN, r.Base = true, slices.Clone(s.done), s.baseN, newObjRec(s.base)
}
