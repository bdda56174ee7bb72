package local

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A disk makes changes of a directory tree durable. Without fsync all of that is left out.
type disk struct {
	fsync func(*os.File) error // nil: Options.NoSync

	mu    sync.Mutex
	known map[string]struct{} // directories whose own entry is durable; guarded by mu
	gen   int                 // counts removals of directories; guarded by mu
}

// maxKnown bounds disk.known. A forgotten directory costs an fsync of its parent.
const maxKnown = 10_000 // paths

func newDisk(sync bool) *disk {
	d := &disk{known: map[string]struct{}{}}
	if sync {
		d.fsync = (*os.File).Sync
	}
	return d
}

// syncFile makes the content of f durable.
func (d *disk) syncFile(f *os.File) error {
	if d.fsync == nil {
		return nil
	}
	return d.fsync(f)
}

// syncDir makes the entries of dir durable.
func (d *disk) syncDir(dir string) error {
	if d.fsync == nil {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.fsync(f), f.Close())
}

// syncBelow makes the entries of dir durable and those that lead to it from root, which is
// dir or above it. A directory that is gone by now holds nothing of the caller's.
func (d *disk) syncBelow(root, dir string) error {
	if d.fsync == nil {
		return nil
	}
	if err := d.syncDir(dir); err != nil {
		return ignoreAbsent(err)
	}
	for ; dir != root; dir = filepath.Dir(dir) {
		known, gen := d.isKnown(dir)
		if known {
			return nil
		}
		if err := d.syncDir(filepath.Dir(dir)); err != nil {
			return ignoreAbsent(err)
		}
		d.know(dir, gen)
	}
	return nil
}

// isKnown reports whether the entry of dir is known to be durable. If it is not, the
// second result is for know.
func (d *disk) isKnown(dir string) (bool, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[dir]
	return ok, d.gen
}

// know remembers that the entry of dir is durable, unless directories were removed since
// gen: dir may be another one by now.
func (d *disk) know(dir string, gen int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gen != d.gen {
		return
	}
	if len(d.known) >= maxKnown {
		clear(d.known)
	}
	d.known[dir] = struct{}{}
}

// renameInto renames a file to path below root and makes missing directories on the way.
// Somebody may remove an empty directory between the two, hence the loop. It fails with
// fs.ErrNotExist if root is gone.
func (d *disk) renameInto(root, from, path string) error {
	for {
		err := os.Rename(from, path)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := os.Lstat(from); err != nil {
			return err
		}
		if err := mkdirBelow(root, filepath.Dir(path)); err != nil {
			return err
		}
	}
}

// mkdirBelow makes dir and the directories between it and root, but never root.
func mkdirBelow(root, dir string) error {
	if dir == root {
		_, err := os.Lstat(root)
		return err
	}
	for {
		err := os.Mkdir(dir, 0o777)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := mkdirBelow(root, filepath.Dir(dir)); err != nil {
			return err
		}
	}
}

// prune removes dir and the directories between it and root as far as they are empty.
func (d *disk) prune(root, dir string) {
	for ; dir != root && d.removeDir(dir); dir = filepath.Dir(dir) {
	}
}

// removeDir removes dir if it is empty and forgets it in the same step, so that nobody
// takes a new directory of that name for the known one.
func (d *disk) removeDir(dir string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if os.Remove(dir) != nil { // not empty: the usual case
		return false
	}
	delete(d.known, dir)
	d.gen++
	return true
}

// writeJSON replaces the file path by v as JSON, by way of tmp.
func (d *disk) writeJSON(path, tmp string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := d.writeFile(tmp, append(b, '\n')); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// writeFile creates the file path with the given content, durably but for its name.
func (d *disk) writeFile(path string, content ...[]byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for _, b := range content {
		if _, err := f.Write(b); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(d.syncFile(f), f.Close())
}

// readNames returns the names in dir in no order.
func readNames(dir string) ([]string, error) {
	f, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read-only: nothing to lose
	return f.Readdirnames(-1)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// forget drops what is known of directories: some have been removed with all below them.
func (d *disk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.known)
	d.gen++
}
