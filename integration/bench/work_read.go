package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

const parallelReaders = 4

// seqRead reads one large file cold, then warm against a file of the disk that holds the
// cache: from its begin to its end, and at random.
func seqRead(b *bench) error {
	c := b.content(b.o.Large)
	if err := b.near.put(b.ctx, "large", c); err != nil {
		return err
	}
	if err := b.base("seqread cold", float64(c.size), func() error { return b.raw.get(b.ctx, "large", c) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	path := b.m.path("large")
	if err := b.ours("seqread cold", float64(c.size), c.size, func() error { return read(path, c, b.buf) }); err != nil {
		return err
	}
	return b.warmRead(path, c)
}

func (b *bench) warmRead(path string, c content) error {
	local := filepath.Join(b.work, "local")
	defer func() { _ = os.Remove(local) }() // of this run
	if err := write(local, c, b.buf, true); err != nil {
		return err
	}
	for _, p := range []string{path, path, local} { // once to fill what can be filled, once to be warm
		if err := read(p, c, b.buf); err != nil {
			return err
		}
	}
	if err := b.base("seqread warm", float64(c.size), func() error { return read(local, c, b.buf) }); err != nil {
		return err
	}
	if err := b.ours("seqread warm", float64(c.size), c.size, func() error { return read(path, c, b.buf) }); err != nil {
		return err
	}
	const reads = 50_000
	if err := b.base("rand4k warm", reads, func() error { return readAtRandom(local, c, reads) }); err != nil {
		return err
	}
	return b.ours("rand4k warm", reads, 0, func() error { return readAtRandom(path, c, reads) })
}

func readAtRandom(path string, c content, n int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	r := rand.New(rand.NewPCG(1, 2))
	var page [pageSize]byte
	for range n {
		off := r.Int64N(c.size/pageSize) * pageSize
		if _, err := f.ReadAt(page[:], off); err != nil {
			return err
		}
		if err := c.check(page[:], off); err != nil {
			return err
		}
	}
	return nil
}

// parRead reads four files at once.
func parRead(b *bench) error {
	files := b.files("p/", parallelReaders, 0, b.o.Large/parallelReaders)
	for _, f := range files {
		if err := b.near.put(b.ctx, f.key, f.content); err != nil {
			return err
		}
	}
	all := func(do func(f file) error) error {
		var wg sync.WaitGroup
		errs := make([]error, len(files))
		for i, f := range files {
			wg.Go(func() { errs[i] = do(f) })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	err := b.base("parread cold", float64(b.o.Large), func() error {
		return all(func(f file) error { return b.raw.get(b.ctx, f.key, f.content) })
	})
	if err == nil {
		err = b.mount()
	}
	if err != nil {
		return err
	}
	return b.ours("parread cold", float64(b.o.Large), b.o.Large, func() error {
		return all(func(f file) error { return read(b.m.path(f.key), f.content, make([]byte, 1<<20)) })
	})
}

// firstByte opens objects of some MiB that nobody has looked at and reads one byte of each.
func firstByte(b *bench) error {
	const n = 40
	files := b.files("f/", n, 0, 8<<20)
	if err := b.near.putAll(b.ctx, files); err != nil {
		return err
	}
	first := func(f file) error { return b.raw.getRange(b.ctx, f.key, f.content, 0, 1) }
	if err := first(files[0]); err != nil { // connects
		return err
	}
	if err := b.base("first byte, new mount", 1, func() error { return first(files[1]) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	if err := b.ours("first byte, new mount", 1, 0, func() error { return b.openFirst(files[:1]) }); err != nil {
		return err
	}
	rest := files[1:]
	err := b.base("first byte", 1, func() error {
		for _, f := range rest {
			if err := first(f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.ours("first byte", 1, 0, func() error { return b.openFirst(rest) }); err != nil {
		return err
	}
	r := b.row("first byte") // of one file, not of all
	r.Ours[len(r.Ours)-1] /= float64(len(rest))
	r.Base[len(r.Base)-1] /= float64(len(rest))
	return nil
}

// openFirst reads the first byte of each of files, in an order of no meaning.
func (b *bench) openFirst(files []file) error {
	var one [1]byte
	for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(len(files)) {
		f, err := os.Open(b.m.path(files[i].key))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(f, one[:])
		if err := errors.Join(err, f.Close(), files[i].check(one[:], 0)); err != nil {
			return err
		}
	}
	return nil
}

// tarTree packs dir with tar(1) and compares what comes out.
func tarTree(dir string, files []file, buf []byte) error {
	want := map[string]content{}
	for _, f := range files {
		want[filepath.Base(f.key)] = f.content
	}
	cmd := exec.Command("tar", "cf", "-", "-C", dir, ".")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := tar.NewReader(out)
	var failed error
	for failed == nil {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			failed = err
			break
		}
		if strings.HasSuffix(h.Name, "/") {
			continue
		}
		c, ok := want[filepath.Base(h.Name)]
		if !ok {
			failed = fmt.Errorf("tar has %s, which is not there, or twice", h.Name)
			break
		}
		delete(want, filepath.Base(h.Name))
		failed = c.drain(r, buf)
	}
	_, _ = io.Copy(io.Discard, out) // the padding at the end, or the rest after a failure
	err = errors.Join(failed, cmd.Wait())
	if err == nil && len(want) > 0 {
		err = fmt.Errorf("tar misses %d files", len(want))
	}
	return err
}
