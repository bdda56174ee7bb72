package fsx

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (p *player) read() (string, error) {
	off, n := p.within()
	f := p.fd()
	if p.ro != nil && p.rnd.IntN(2) == 0 {
		f = p.ro
	}
	return fmt.Sprintf("%d+%d", off, n), p.compare(f, off, n)
}

func (p *player) write() (string, error) {
	off, n := p.extent()
	data := p.fill(n)
	p.grow(off + n)
	copy(p.want[off:], data)
	_, err := p.fd().WriteAt(data, int64(off))
	return fmt.Sprintf("%d+%d", off, n), err
}

// append opens the file for it.
func (p *player) append() (string, error) {
	n := min(1+p.rnd.IntN(16<<10), int(p.o.MaxSize)-len(p.want))
	f, err := os.OpenFile(p.o.Path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return "", err
	}
	data := p.fill(n)
	_, err = f.Write(data)
	p.want = append(p.want, data...)
	return fmt.Sprint(n), errors.Join(err, f.Close())
}

func (p *player) mapRead() (string, error) {
	off, n := p.within()
	if n == 0 {
		return "nothing", nil
	}
	page := off &^ 4095
	b, err := unix.Mmap(int(p.fd().Fd()), int64(page), off-page+n, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	err = differ(b[off-page:], p.want[off:off+n], off)
	return fmt.Sprintf("%d+%d", off, n), errors.Join(err, unix.Munmap(b))
}

func (p *player) mapWrite() (string, error) {
	off, n := p.extent()
	f := p.fd()
	if off+n > len(p.want) { // a mapping does not grow the file
		if err := f.Truncate(int64(off + n)); err != nil {
			return "", err
		}
		p.grow(off + n)
	}
	page := off &^ 4095
	b, err := unix.Mmap(int(f.Fd()), int64(page), off-page+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	data := p.fill(n)
	copy(b[off-page:], data)
	copy(p.want[off:], data)
	sync := p.rnd.IntN(2) == 0
	if sync {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); { // the Go runtime signals its own threads
			err = unix.Msync(b, unix.MS_SYNC)
		}
	}
	return fmt.Sprintf("%d+%d, msync %t", off, n, sync), errors.Join(err, unix.Munmap(b))
}

func (p *player) truncate() (string, error) {
	size := p.rnd.IntN(int(p.o.MaxSize))
	if p.rnd.IntN(3) == 0 {
		size = p.rnd.IntN(len(p.want) + 1)
	}
	p.grow(size)
	p.want = p.want[:size:size]
	if p.rnd.IntN(2) == 0 {
		return fmt.Sprintf("to %d by name", size), os.Truncate(p.o.Path, int64(size))
	}
	return fmt.Sprintf("to %d", size), p.fd().Truncate(int64(size))
}

func (p *player) punch() (string, error) {
	off, n := p.extent()
	err := unix.Fallocate(int(p.fd().Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(n))
	if unsupported(err) {
		return "unsupported", nil
	}
	if off < len(p.want) {
		clear(p.want[off:min(off+n, len(p.want))])
	}
	return fmt.Sprintf("%d+%d", off, n), err
}

func (p *player) zero() (string, error) {
	off, n := p.extent()
	mode, keep := uint32(unix.FALLOC_FL_ZERO_RANGE), p.rnd.IntN(2) == 0
	if keep {
		mode |= unix.FALLOC_FL_KEEP_SIZE
	}
	err := unix.Fallocate(int(p.fd().Fd()), mode, int64(off), int64(n))
	if unsupported(err) {
		return "unsupported", nil
	}
	if !keep {
		p.grow(off + n)
	}
	if off < len(p.want) {
		clear(p.want[off:min(off+n, len(p.want))])
	}
	return fmt.Sprintf("%d+%d, keep %t", off, n, keep), err
}

func (p *player) allocate() (string, error) {
	off, n := p.extent()
	mode := uint32(0)
	if p.rnd.IntN(2) == 0 {
		mode = unix.FALLOC_FL_KEEP_SIZE
	} else {
		p.grow(off + n)
	}
	err := unix.Fallocate(int(p.fd().Fd()), mode, int64(off), int64(n))
	if mode != 0 && unsupported(err) {
		return "unsupported", nil
	}
	return fmt.Sprintf("%d+%d, keep %t", off, n, mode != 0), err
}

// copyRange copies within the file, to a place that does not overlap.
func (p *player) copyRange() (string, error) {
	from, n := p.within()
	to := p.rnd.IntN(int(p.o.MaxSize))
	n = min(n, int(p.o.MaxSize)-to)
	if n == 0 || to < from+n && from < to+n {
		return "overlaps", nil
	}
	data := append([]byte(nil), p.want[from:from+n]...)
	in, out := int64(from), int64(to)
	src, dst := p.fd(), p.fd()
	for left := n; left > 0; {
		m, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, left, 0)
		if err != nil || m == 0 {
			return "", fmt.Errorf("copied %d of %d: %w", n-left, n, err)
		}
		left -= m
	}
	p.grow(to + n)
	copy(p.want[to:], data)
	return fmt.Sprintf("%d+%d to %d", from, n, to), nil
}

// seek walks over data and holes: no byte of a hole may be anything but zero.
func (p *player) seek() (string, error) {
	fd := int(p.fd().Fd())
	at, holes := int64(0), 0
	for at < int64(len(p.want)) {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = int64(len(p.want)), nil
		}
		if err != nil {
			return "", err
		}
		for i := at; i < data; i++ {
			if p.want[i] != 0 {
				return "", fmt.Errorf("byte %d is %#x in what is said to be a hole from %d to %d", i, p.want[i], at, data)
			}
		}
		if data == int64(len(p.want)) {
			break
		}
		if at, err = unix.Seek(fd, data, unix.SEEK_HOLE); err != nil {
			return "", err
		}
		if at <= data {
			return "", fmt.Errorf("data at %d ends at %d", data, at)
		}
		holes++
	}
	return fmt.Sprint(holes), nil
}

func (p *player) open() (string, error) {
	if p.rnd.IntN(3) == 0 && p.ro == nil {
		f, err := os.Open(p.o.Path)
		p.ro = f
		return "to read", err
	}
	if len(p.fds) == 4 {
		return "enough", nil
	}
	f, err := os.OpenFile(p.o.Path, os.O_RDWR, 0)
	if err == nil {
		p.fds = append(p.fds, f)
	}
	return fmt.Sprint(len(p.fds)), err
}

func (p *player) close() (string, error) {
	if p.ro != nil && p.rnd.IntN(2) == 0 {
		f := p.ro
		p.ro = nil
		return "the reader", f.Close()
	}
	if len(p.fds) == 1 {
		return "the last one stays", nil
	}
	i := p.rnd.IntN(len(p.fds))
	f := p.fds[i]
	p.fds = append(p.fds[:i], p.fds[i+1:]...)
	return fmt.Sprint(len(p.fds)), f.Close()
}

// reopen closes every descriptor before it opens one anew.
func (p *player) reopen() (string, error) {
	var err error
	for _, f := range p.fds {
		err = errors.Join(err, f.Close())
	}
	if p.ro != nil {
		err = errors.Join(err, p.ro.Close())
	}
	p.fds, p.ro = nil, nil
	f, openErr := os.OpenFile(p.o.Path, os.O_RDWR, 0)
	if openErr == nil {
		p.fds = []*os.File{f}
	}
	return "", errors.Join(err, openErr)
}

func (p *player) fsync() (string, error) { return "", p.fd().Sync() }

// rename moves the file away and back, open as it is.
func (p *player) rename() (string, error) {
	other := p.o.Path + ".moved"
	if err := os.Rename(p.o.Path, other); err != nil {
		return "", err
	}
	if err := p.compare(p.fd(), 0, min(len(p.want), 100)); err != nil {
		return "away", err
	}
	return "", os.Rename(other, p.o.Path)
}

func (p *player) truncOpen() (string, error) {
	p.want = nil
	f, err := os.OpenFile(p.o.Path, os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		return "", err
	}
	return "", f.Close()
}
