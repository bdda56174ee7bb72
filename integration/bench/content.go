package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

const (
	pageSize  = 4 << 10
	noisePage = 256 // pages of noise that repeat: more would only cool the processor's caches
)

// noise is what contents are made of.
type noise struct{ pages [noisePage * pageSize]byte }

func newNoise() *noise {
	n := &noise{}
	r := rand.NewChaCha8([32]byte{8})
	_, _ = r.Read(n.pages[:]) // never fails
	return n
}

// A content is bytes that are made when they are asked for: noise in which each page begins
// with the seed and its number, so that no page can stand for another one.
type content struct {
	noise *noise
	seed  uint64
	size  int64
}

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < c.size {
		m := min(c.part(p[n:], off), int(c.size-off))
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// part fills p up to the next end of a page.
func (c content) part(p []byte, off int64) int {
	page, in := off/pageSize, int(off%pageSize)
	base := c.noise.pages[page%noisePage*pageSize:][:pageSize]
	n := copy(p, base[in:])
	if in < 16 {
		stamp := c.stamp(page)
		copy(p[:n], stamp[in:])
	}
	return n
}

func (c content) stamp(page int64) [16]byte {
	var s [16]byte
	binary.LittleEndian.PutUint64(s[:], c.seed)
	binary.LittleEndian.PutUint64(s[8:], uint64(page))
	return s
}

// section is all of it.
func (c content) section() *io.SectionReader { return io.NewSectionReader(c, 0, c.size) }

// check fails unless p is what stands at off.
func (c content) check(p []byte, off int64) error {
	if off+int64(len(p)) > c.size {
		return fmt.Errorf("%d bytes at %d of content %d, which has %d", len(p), off, c.seed, c.size)
	}
	for len(p) > 0 {
		page, in := off/pageSize, off%pageSize
		n := min(len(p), int(pageSize-in))
		stamp := c.stamp(page)
		want := c.noise.pages[page%noisePage*pageSize:][in:][:n]
		front := min(max(0, 16-int(in)), n)
		if !bytes.Equal(p[:front], stamp[min(in, 16):][:front]) || !bytes.Equal(p[front:n], want[front:]) {
			return fmt.Errorf("WRONG BYTES in the page at %d of content %d", page*pageSize, c.seed)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// drain reads r to its end and fails unless it is all of c.
func (c content) drain(r io.Reader, buf []byte) error {
	for off := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := c.check(buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if off != c.size {
				return fmt.Errorf("content %d ends at %d, not at %d", c.seed, off, c.size)
			}
			return nil
		case err != nil:
			return err
		}
	}
}
