package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const tinySize = 100 // bytes of files whose names are what counts

// list is ls -l of a long directory, cold and again.
func list(b *bench) error {
	files := b.files("l/", b.o.Names, 0, tinySize)
	if err := b.near.putAll(b.ctx, files); err != nil {
		return err
	}
	if err := b.base("ls -l cold", 1, func() error { return b.listRaw("l/", len(files)) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	lines := len(files) + 1 // "total"
	if err := b.ours("ls -l cold", 1, 0, func() error { return countLines(lines, "ls", "-l", b.m.path("l")) }); err != nil {
		return err
	}
	local := filepath.Join(b.work, "l")
	defer func() { _ = os.RemoveAll(local) }() // of this run
	if err := b.createAll(b.work, files); err != nil {
		return err
	}
	if err := b.base("ls -l warm", 1, func() error { return countLines(lines, "ls", "-l", local) }); err != nil {
		return err
	}
	return b.ours("ls -l warm", 1, 0, func() error { return countLines(lines, "ls", "-l", b.m.path("l")) })
}

func (b *bench) listRaw(prefix string, want int) error {
	keys, err := b.raw.list(b.ctx, prefix)
	if err == nil && len(keys) != want {
		err = fmt.Errorf("%d keys below %s, not %d", len(keys), prefix, want)
	}
	return err
}

// countLines runs a program that must print so many lines.
func countLines(want int, name string, args ...string) error {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n := bytes.Count(out, []byte("\n")); n != want {
		return fmt.Errorf("%s printed %d lines, not %d", name, n, want)
	}
	return nil
}

// find walks a tree of directories of ten files each.
func find(b *bench) error {
	const perDir = 10
	files := b.files("w/", b.o.Names, perDir, tinySize)
	if err := b.near.putAll(b.ctx, files); err != nil {
		return err
	}
	if err := b.base("find cold", 1, func() error { return b.listRaw("w/", len(files)) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	return b.ours("find cold", 1, 0, func() error { return countLines(len(files), "find", b.m.path("w"), "-type", "f") })
}

// removeAll is rm -rf until the store has nothing left.
func removeAll(b *bench) error {
	raws, files := b.files("raw/", b.o.Small, 0, tinySize), b.files("r/", b.o.Small, 0, tinySize)
	if err := errors.Join(b.near.putAll(b.ctx, raws), b.near.putAll(b.ctx, files)); err != nil {
		return err
	}
	keys := make([]string, len(raws))
	for i, f := range raws {
		keys[i] = f.key
	}
	if err := b.base("rm -rf durable", float64(len(keys)), func() error { return b.raw.remove(b.ctx, keys) }); err != nil {
		return err
	}
	if err := b.mount(); err != nil {
		return err
	}
	err := b.ours("rm -rf durable", float64(len(files)), 0, func() error {
		return errors.Join(command("rm", "-rf", b.m.path("r")), b.m.durable())
	})
	if err != nil {
		return err
	}
	left, err := b.near.list(b.ctx, "r/")
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d keys are left in the store, %s is one", len(left), left[0])
	}
	return err
}
