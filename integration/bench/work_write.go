package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const smallSize = 10 << 10 // bytes

// seqWrite writes one large file until fsync returns.
func seqWrite(b *bench) error {
	c := b.content(b.o.Large)
	if err := b.base("seqwrite fsync", float64(c.size), func() error { return b.raw.put(b.ctx, "raw", c) }); err != nil {
		return err
	}
	if err := errors.Join(b.near.remove(b.ctx, []string{"raw"}), b.purge(), b.mount()); err != nil {
		return err
	}
	if err := b.ours("seqwrite fsync", float64(c.size), c.size, func() error { return write(b.m.path("ours"), c, b.buf, true) }); err != nil {
		return err
	}
	return b.near.verify(b.ctx, "ours", c)
}

// smallFiles makes small files until close and until they are in the store, and reads them
// cold, one after the other.
func smallFiles(b *bench) error {
	files := b.files("s/", b.o.Small, 0, smallSize)
	n, bytes := float64(len(files)), int64(len(files))*smallSize
	local := filepath.Join(b.work, "s")
	defer func() { _ = os.RemoveAll(local) }() // of this run
	if err := b.base("create+close", n, func() error { return b.createAll(b.work, files) }); err != nil {
		return err
	}
	raws := b.files("raw/", b.o.Small, 0, smallSize)
	if err := b.base("create durable", n, func() error { return b.raw.putAll(b.ctx, raws) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	err := b.ours("create durable", n, bytes, func() error {
		return errors.Join(b.ours("create+close", n, bytes, func() error { return b.createAll(b.m.dir, files) }), b.m.durable())
	})
	if err != nil {
		return err
	}
	if err := b.verifyAll(files); err != nil {
		return err
	}
	err = b.base("small cold tar", n, func() error {
		return each(b.raw.small, len(files), func(i int) error { return b.raw.getRange(b.ctx, files[i].key, files[i].content, 0, smallSize) })
	})
	if err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	return b.ours("small cold tar", n, bytes, func() error { return tarTree(b.m.path("s"), files, b.buf) })
}

// createAll makes files below dir one after the other.
func (b *bench) createAll(dir string, files []file) error {
	made := ""
	for _, f := range files {
		path := filepath.Join(dir, f.key)
		if parent := filepath.Dir(path); parent != made {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
			made = parent
		}
		if err := write(path, f.content, b.buf, false); err != nil {
			return err
		}
	}
	return nil
}

// verifyAll fails unless the store holds all of files.
func (b *bench) verifyAll(files []file) error {
	return each(b.near.small, len(files), func(i int) error { return b.near.verify(b.ctx, files[i].key, files[i].content) })
}

// copyTree is cp -r of small files of one directory, cold, to the local disk. It is there for
// the requests.
func copyTree(b *bench) error {
	files := b.files("c/", b.o.Small, 0, smallSize)
	if err := errors.Join(b.near.putAll(b.ctx, files), b.mount()); err != nil {
		return err
	}
	to := filepath.Join(b.work, "copy")
	defer func() { _ = os.RemoveAll(to) }() // of this run
	err := b.ours("cp -r cold", float64(len(files)), int64(len(files))*smallSize, func() error {
		return command("cp", "-r", b.m.path("c"), to)
	})
	for _, f := range files {
		if err == nil {
			err = read(filepath.Join(to, filepath.Base(f.key)), f.content, b.buf)
		}
	}
	return err
}

// untar unpacks a tree of small files until all of it is in the store.
func untar(b *bench) error {
	const perDir = 50
	files := b.files("t/", 2*b.o.Small, perDir, smallSize)
	archive, err := pack(files)
	if err != nil {
		return err
	}
	raws := b.files("raw/", len(files), perDir, smallSize)
	if err := b.base("untar durable", float64(len(files)), func() error { return b.raw.putAll(b.ctx, raws) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	err = b.ours("untar durable", float64(len(files)), int64(len(files))*smallSize, func() error {
		cmd := exec.Command("tar", "xf", "-", "-C", b.m.dir)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(archive), os.Stderr
		return errors.Join(cmd.Run(), b.m.durable())
	})
	if err != nil {
		return err
	}
	return b.verifyAll(files)
}

// pack makes a tar of files, with entries for their directories.
func pack(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, f := range files {
		dir := f.key[:strings.LastIndexByte(f.key, '/')+1]
		if !made[dir] {
			made[dir] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
				return nil, err
			}
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.key, Mode: 0o644, Size: f.size}); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, f.section()); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// stream reads and writes at the same time, file after file, and watches the memory.
func stream(b *bench) error {
	if err := b.mount(); err != nil {
		return err
	}
	size := min(b.o.Large, b.o.Stream)
	var rss []string
	err := b.ours("stream both ways", 2*float64(b.o.Stream), 2*b.o.Stream, func() error {
		for done := int64(0); done < b.o.Stream; done += size {
			if err := b.streamOne(fmt.Sprintf("m%d", done/size), size); err != nil {
				return err
			}
			rss = append(rss, fmt.Sprint(b.m.memory("VmRSS")>>20))
		}
		return nil
	})
	b.row("stream both ways").Note = "resident MiB after each file: " + strings.Join(rss, " ")
	return err
}

func (b *bench) streamOne(name string, size int64) error {
	in, out := b.content(size), b.content(size)
	if err := b.near.put(b.ctx, name+"-in", in); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- write(b.m.path(name+"-out"), out, make([]byte, 1<<20), true) }()
	err := read(b.m.path(name+"-in"), in, b.buf)
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	if err := b.near.verify(b.ctx, name+"-out", out); err != nil {
		return err
	}
	return errors.Join(b.near.remove(b.ctx, []string{name + "-in", name + "-out"}), b.purge())
}

// command runs a program that prints nothing of interest.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %.500s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
