package blocks

import (
	"errors"
	"os"
	"sync"
)

// journal is the file of the index: records are collected in memory and appended when there
// is a pause.
type journal struct {
	path string

	pending []byte // guarded by disk.mu; records to be written
	size    int64  // guarded by disk.mu; bytes of the file and of pending
	base    int64  // guarded by disk.mu; size when the file was last written anew

	io sync.Mutex // held while the file is written; taken before disk.mu
	f  *os.File   // guarded by io
}

func (j *journal) add(r record) {
	j.pending = r.append(j.pending)
	j.size += recordSize
}

// bytes is what the index takes on disk, at worst when it is just being written anew.
func (j *journal) bytes() int64 { return 2 * (j.size + fileCharge) }

// long reports whether most of the file is outdated.
func (j *journal) long() bool { return j.size > 2*j.base+indexSlack }

// take returns the pending records; the caller writes them.
func (j *journal) take() []byte {
	b := j.pending
	j.pending = nil
	return b
}

// renew drops the pending records: a new file of that size is about to hold them.
func (j *journal) renew(size int64) { j.pending, j.size, j.base = nil, size, size }

// write appends b. On failure the file ends in part of a record and has to be replaced. io
// is held.
func (j *journal) write(b []byte) error {
	_, err := j.f.Write(b)
	if err != nil {
		err = errors.Join(err, j.close())
	}
	return err
}

// replace makes b the whole file. On failure the old one stays for the next start: what it
// does not know or no longer is true is found out there.
func (j *journal) replace(b []byte) error {
	if err := j.close(); err != nil {
		return err
	}
	tmp := j.path + ".new"
	err := os.WriteFile(tmp, b, 0o600)
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err != nil {
		return errors.Join(err, ignoreAbsent(os.Remove(tmp)))
	}
	j.f, err = os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0)
	return err
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	err := j.f.Close()
	j.f = nil
	return err
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
