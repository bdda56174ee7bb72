// Package fsx plays random operations on one file against a copy of it in memory: reads and
// writes by call and by mapping, truncation, holes, reservation, copies, several descriptors
// and none. After each the file has to be what the copy is. A run that fails tells its seed
// and the operations that led there.
package fsx

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Options of Play.
type Options struct {
	Path    string // of the file, which is made anew; its directory is writable
	Seed    uint64
	Ops     int
	MaxSize int64 // bytes; 0 is 256 KiB
	// Between, if it is not nil, is called every 997 operations with all descriptors closed. It
	// may do to the file system whatever leaves the file as it is.
	Between func() error
}

// A player is one run.
type player struct {
	o     Options
	rnd   *rand.Rand
	want  []byte     // what the file has to hold
	fds   []*os.File // open for reading and writing; at least one
	ro    *os.File   // open for reading from some time ago, or nil
	lines []string   // the last operations
	n     int
}

// step is one kind of operation; weight is how often it comes.
type step struct {
	name   string
	weight int
	run    func(p *player) (detail string, err error)
}

// steps is constant.
func steps() []step {
	return []step{
		{"read", 20, (*player).read},
		{"write", 20, (*player).write},
		{"append", 4, (*player).append},
		{"mapread", 10, (*player).mapRead},
		{"mapwrite", 14, (*player).mapWrite},
		{"truncate", 6, (*player).truncate},
		{"punch", 5, (*player).punch},
		{"zero", 4, (*player).zero},
		{"allocate", 4, (*player).allocate},
		{"copy", 4, (*player).copyRange},
		{"seek", 3, (*player).seek},
		{"open", 4, (*player).open},
		{"close", 4, (*player).close},
		{"reopen", 2, (*player).reopen},
		{"fsync", 1, (*player).fsync},
		{"rename", 2, (*player).rename},
		{"trunc-open", 1, (*player).truncOpen},
	}
}

// Play makes the file and plays o.Ops operations on it. The error, if any, tells how it
// came to it.
func Play(o Options) error {
	if o.MaxSize == 0 {
		o.MaxSize = 256 << 10
	}
	p := &player{o: o, rnd: rand.New(rand.NewPCG(o.Seed, 0))}
	f, err := os.OpenFile(o.Path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	p.fds = []*os.File{f}
	err = p.play()
	for _, f := range p.fds {
		err = errors.Join(err, f.Close())
	}
	if p.ro != nil {
		err = errors.Join(err, p.ro.Close())
	}
	if err != nil {
		return fmt.Errorf("seed %d, operation %d: %w\n%s", o.Seed, p.n, err, strings.Join(p.lines, "\n"))
	}
	return nil
}

func (p *player) play() error {
	all, total := steps(), 0
	for _, s := range all {
		total += s.weight
	}
	for p.n = 1; p.n <= p.o.Ops; p.n++ {
		s := all[0]
		for i, at := 0, p.rnd.IntN(total); at >= 0; i++ {
			s, at = all[i], at-all[i].weight
		}
		detail, err := s.run(p)
		p.log(fmt.Sprintf("%8d %s %s", p.n, s.name, detail))
		if err != nil {
			return err
		}
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// kept is how many operations a failure tells.
const kept = 60

func (p *player) log(line string) {
	p.lines = append(p.lines, line)
	if len(p.lines) > 2*kept {
		p.lines = append([]string(nil), p.lines[kept:]...)
	}
}

// check compares the size each time, all bytes now and then.
func (p *player) check() error {
	st, err := p.fds[0].Stat()
	if err != nil {
		return err
	}
	if st.Size() != int64(len(p.want)) {
		return fmt.Errorf("the file has %d bytes, want %d", st.Size(), len(p.want))
	}
	if p.n%100 == 0 {
		if err := p.compare(p.fds[p.rnd.IntN(len(p.fds))], 0, len(p.want)); err != nil {
			return err
		}
	}
	if p.n%997 == 0 && p.o.Between != nil {
		return p.between()
	}
	return nil
}

// compare reads n bytes at off.
func (p *player) compare(f *os.File, off, n int) error {
	got := make([]byte, n)
	if m, err := f.ReadAt(got, int64(off)); m != n {
		return fmt.Errorf("read %d of %d bytes at %d: %w", m, n, off, err)
	}
	return differ(got, p.want[off:off+n], off)
}

func differ(got, want []byte, off int) error {
	if bytes.Equal(got, want) {
		return nil
	}
	first, last := -1, 0
	for i := range got {
		if got[i] != want[i] {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return fmt.Errorf("bytes %d to %d differ, the first is %#x, want %#x", off+first, off+last, got[first], want[first])
}

func (p *player) between() error {
	for _, f := range p.fds {
		if err := f.Close(); err != nil {
			return err
		}
	}
	if p.ro != nil {
		_ = p.ro.Close() // only read
	}
	p.fds, p.ro = nil, nil
	if err := p.o.Between(); err != nil {
		return err
	}
	f, err := os.OpenFile(p.o.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p.fds = []*os.File{f}
	return p.compare(f, 0, len(p.want))
}

// fd is any of the descriptors.
func (p *player) fd() *os.File { return p.fds[p.rnd.IntN(len(p.fds))] }

// extent is a random place, of up to 64 KiB, that ends within the largest size; aligned to
// pages now and then.
func (p *player) extent() (off, n int) {
	off = p.rnd.IntN(int(p.o.MaxSize))
	n = 1 + p.rnd.IntN(64<<10)
	if p.rnd.IntN(4) == 0 {
		off, n = off&^4095, max(n&^4095, 4096)
	}
	return off, min(n, int(p.o.MaxSize)-off)
}

// within is an extent inside the file; n is 0 if that is empty.
func (p *player) within() (off, n int) {
	if len(p.want) == 0 {
		return 0, 0
	}
	off = p.rnd.IntN(len(p.want))
	return off, min(1+p.rnd.IntN(64<<10), len(p.want)-off)
}

// fill is n bytes that no earlier write had.
func (p *player) fill(n int) []byte {
	b := make([]byte, n)
	x := p.rnd.Uint64()
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// grow makes the copy hold size bytes at least.
func (p *player) grow(size int) {
	if size > len(p.want) {
		p.want = append(p.want, make([]byte, size-len(p.want))...)
	}
}

// unsupported reports whether a file system may refuse what was asked.
func unsupported(err error) bool { return errors.Is(err, unix.EOPNOTSUPP) }
