package glacier

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
)

// A sorter puts any number of pairs in the order of their keys within a bounded memory: full
// runs are sorted and written to temporary files, which are merged in the end.
type sorter struct {
	dir  string
	run  []pair
	size int // bytes in run
	most int // bytes of a run
	runs []*os.File
}

type pair struct{ key, value []byte }

const runSize = 48 << 20 // bytes, with what the pairs themselves cost

func newSorter(dir string) *sorter { return &sorter{dir: dir, most: runSize} }

func (s *sorter) add(p pair) error {
	s.run = append(s.run, p)
	s.size += len(p.key) + len(p.value) + 64
	if s.size < s.most {
		return nil
	}
	return s.spill()
}

func (s *sorter) sortRun() {
	slices.SortFunc(s.run, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
}

// spill writes the run to a file that has no name any more.
func (s *sorter) spill() error {
	s.sortRun()
	f, err := os.CreateTemp(s.dir, "sort-*")
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	var n []byte
	for _, p := range s.run {
		n = binary.AppendUvarint(binary.AppendUvarint(n[:0], uint64(len(p.key))), uint64(len(p.value)))
		for _, b := range [][]byte{n, p.key, p.value} {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
	s.run, s.size = s.run[:0], 0
	return w.Flush()
}

// sorted calls do for every pair in order. It may be called once.
func (s *sorter) sorted(do func(pair) error) error {
	s.sortRun()
	var h sources
	for _, f := range s.runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		h = append(h, &pairs{file: bufio.NewReaderSize(f, 256<<10)})
	}
	h = append(h, &pairs{memory: s.run})
	for i := len(h) - 1; i >= 0; i-- {
		if more, err := h[i].next(); err != nil {
			return err
		} else if !more {
			h = slices.Delete(h, i, i+1)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := do(h[0].at); err != nil {
			return err
		}
		more, err := h[0].next()
		switch {
		case err != nil:
			return err
		case more:
			heap.Fix(&h, 0)
		default:
			heap.Pop(&h)
		}
	}
	return nil
}

// Close frees the files.
func (s *sorter) Close() error {
	var errs []error
	for _, f := range s.runs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// pairs are one sorted run, in a file or in memory.
type pairs struct {
	file   *bufio.Reader
	memory []pair
	at     pair
}

func (p *pairs) next() (more bool, err error) {
	if p.file == nil {
		if len(p.memory) == 0 {
			return false, nil
		}
		p.at, p.memory = p.memory[0], p.memory[1:]
		return true, nil
	}
	key, err := binary.ReadUvarint(p.file)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	value, err := binary.ReadUvarint(p.file)
	if err != nil {
		return false, err
	}
	b := make([]byte, key+value)
	if _, err := io.ReadFull(p.file, b); err != nil {
		return false, err
	}
	p.at = pair{b[:key:key], b[key:]}
	return true, nil
}

// sources is a heap of runs by what they have next.
type sources []*pairs

func (s sources) Len() int           { return len(s) }
func (s sources) Less(i, j int) bool { return bytes.Compare(s[i].at.key, s[j].at.key) < 0 }
func (s sources) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sources) Push(x any)        { *s = append(*s, x.(*pairs)) }
func (s *sources) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
