package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/thawfs/thawfs/backend"
)

// A blob of several parts is a directory of them: assembling an upload then copies no byte.
// It holds the parts as files 1, 2, ... and sizesFile.
//
// An open file outlives its name, a directory does not. Hence a reader holds a shared flock
// of the directory. Who removes the blob and does not get an exclusive one at once leaves
// doomedFile there, and the last reader removes the blob when it closes.
const (
	sizesFile  = "sizes"
	doomedFile = "doomed"
)

// errBusy is how removeParts says that a reader will remove the blob.
var errBusy = errors.New("being read")

// A parts is the open content of a blob of several parts.
type parts struct {
	dir   *os.File // holds the flock
	start []int64  // offsets of the parts, and the size of all
	n     int      // number of the open part, from 0
	file  *os.File // the open part, nil before the first
}

// openParts opens the blob in dir, which must have size bytes, and takes dir over. It
// fails with fs.ErrNotExist if the blob is being removed.
func openParts(dir *os.File, size int64) (content, error) {
	p := &parts{dir: dir, start: []int64{0}}
	if err := p.open(size); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return p, nil
}

func (p *parts) open(size int64) error {
	err := flock(p.dir, syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	sizes, err := readSizes(p.dir.Name())
	if err != nil {
		return err
	}
	sum := int64(0)
	for _, n := range sizes {
		sum += n
		p.start = append(p.start, sum)
	}
	if sum != size {
		return fmt.Errorf("%w: the parts of %s have %d of %d bytes", backend.ErrCorrupt, p.dir.Name(), sum, size)
	}
	return nil
}

// ReadAt implements io.ReaderAt, but for one caller at a time.
func (p *parts) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		at := off + int64(done)
		if at >= p.start[len(p.start)-1] {
			return done, io.EOF
		}
		i, found := slices.BinarySearch(p.start, at)
		if !found {
			i--
		}
		for p.start[i+1] == at { // empty parts
			i++
		}
		n, err := p.readPart(b[done:], i, at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// readPart fills b from offset at of the whole as far as part i reaches.
func (p *parts) readPart(b []byte, i int, at int64) (int, error) {
	if p.file == nil || p.n != i {
		if err := p.closeFile(); err != nil {
			return 0, err
		}
		f, err := os.Open(partFile(p.dir.Name(), i))
		if err != nil {
			return 0, fmt.Errorf("%w: %w", backend.ErrCorrupt, err)
		}
		p.file, p.n = f, i
	}
	b = b[:min(int64(len(b)), p.start[i+1]-at)]
	n, err := p.file.ReadAt(b, at-p.start[i])
	if n == len(b) {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %s is short", backend.ErrCorrupt, p.file.Name())
	}
	return n, err
}

func (p *parts) closeFile() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file = nil
	return f.Close()
}

func (p *parts) Close() error {
	path := p.dir.Name()
	err := errors.Join(p.closeFile(), p.dir.Close())
	// The flock is given up before this look: either we see the mark or the one who made
	// it gets the lock.
	if _, statErr := os.Lstat(filepath.Join(path, doomedFile)); statErr == nil {
		_ = removeParts(path) // another reader will, or a later New
	}
	return err
}

// removeParts removes a blob of several parts. It fails with errBusy if somebody reads it
// who will remove it then.
func removeParts(path string) error {
	doomed, err := os.OpenFile(filepath.Join(path, doomedFile), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return ignoreAbsent(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return errors.Join(ignoreAbsent(err), doomed.Close())
	}
	defer dir.Close() // read-only: nothing to lose
	if err := doomed.Close(); err != nil {
		return err
	}
	if err := flock(dir, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errBusy
		}
		return err
	}
	if err := ignoreAbsent(os.Remove(filepath.Join(path, sizesFile))); err != nil {
		return err // without it the blob cannot be opened: first of all
	}
	return os.RemoveAll(path)
}

// writeParts makes dir a blob of the files, in order, by hard links.
func (d *disk) writeParts(dir string, files []string, sizes []int64) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	for i, file := range files {
		if err := d.link(file, partFile(dir, i)); err != nil {
			return err
		}
	}
	b, err := json.Marshal(sizes)
	if err != nil {
		return err
	}
	if err := d.writeFile(filepath.Join(dir, sizesFile), b); err != nil {
		return err
	}
	return d.syncDir(dir)
}

// link gives the durable file from another name. Where that cannot be (a file system
// without hard links, or too many of them) it copies.
func (d *disk) link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() // read-only: nothing to lose
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = d.syncFile(dst)
	}
	return errors.Join(err, dst.Close())
}

func readSizes(dir string) ([]int64, error) {
	b, err := os.ReadFile(filepath.Join(dir, sizesFile))
	if err != nil {
		return nil, err
	}
	var sizes []int64
	if err := json.Unmarshal(b, &sizes); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", backend.ErrCorrupt, dir, err)
	}
	return sizes, nil
}

func partFile(dir string, i int) string { return filepath.Join(dir, strconv.Itoa(i+1)) }
