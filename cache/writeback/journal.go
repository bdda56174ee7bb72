package writeback

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// A journal is an append-only log of transactions, one a line:
//
//	CRC32C(8 hex digits) SEQ JSON-array-of-records LF
//
// with the checksum over everything behind the first blank. Appending goes to memory,
// flush hands lines to the kernel (they survive the death of the process), sync to the
// disk. A damaged line costs what it says and nothing else: sequence numbers, not
// positions, tie a Synced record to the lines it speaks of.
type journal struct {
	path     string
	volatile bool // sync does nothing

	wmu     sync.Mutex // serialises writers of the file; taken before mu
	file    *os.File   // guarded by wmu
	size    int64      // bytes of whole lines in file; guarded by wmu
	written uint64     // last sequence number in file; guarded by wmu

	mu  sync.Mutex // leaf
	buf []byte     // lines not yet in file; guarded by mu
	seq uint64     // last sequence number given out; guarded by mu
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal begins a new file at path with lines, replacing an old one atomically.
// Numbers continue behind seq.
func openJournal(path string, seq uint64, volatile bool, lines [][]record) (*journal, error) {
	j := &journal{path: path, seq: seq, volatile: volatile}
	return j, j.rewrite(new(sync.Mutex), func() [][]record { return lines })
}

// append adds one transaction and returns its number. It does no I/O: callers hold the
// queue's lock, so that the order of lines is the order of changes.
func (j *journal) append(recs ...record) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	j.buf = appendLine(j.buf, j.seq, recs)
	return j.seq
}

func appendLine(b []byte, seq uint64, recs []record) []byte {
	body := strconv.AppendUint(nil, seq, 10)
	body = append(body, ' ')
	data, err := json.Marshal(recs)
	if err != nil {
		panic(fmt.Sprintf("writeback: journal record does not marshal: %v", err)) // plain data only
	}
	body = append(body, data...)
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(body, castagnoli))
	b = append(b, body...)
	return append(b, '\n')
}

var errLine = errors.New("damaged line")

func parseLine(line []byte) (uint64, []record, error) {
	sum, body, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(sum) != 8 {
		return 0, nil, errLine
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || uint32(want) != crc32.Checksum(body, castagnoli) {
		return 0, nil, errLine
	}
	num, data, ok := bytes.Cut(body, []byte{' '})
	if !ok {
		return 0, nil, errLine
	}
	seq, err := strconv.ParseUint(string(num), 10, 64)
	if err != nil {
		return 0, nil, errLine
	}
	var recs []record
	if err := json.Unmarshal(data, &recs); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errLine, err)
	}
	return seq, recs, nil
}

// flush returns when all lines up to seq have been given to the kernel. One caller
// writes the lines of all that wait. After an error the lines are kept for the next
// flush, at the place where the failed one began.
func (j *journal) flush(seq uint64) error {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if j.written >= seq {
		return nil
	}
	return j.flushLocked()
}

func (j *journal) flushLocked() error {
	j.mu.Lock()
	lines, last := j.buf, j.seq
	j.buf = nil
	j.mu.Unlock()
	if len(lines) == 0 {
		return nil
	}
	if _, err := j.file.WriteAt(lines, j.size); err != nil {
		j.mu.Lock()
		j.buf = append(lines, j.buf...)
		j.mu.Unlock()
		return fmt.Errorf("write journal: %w", err)
	}
	j.size += int64(len(lines))
	j.written = last
	return nil
}

// sync flushes and makes the file durable. It returns the number of the last line that
// is on the disk now.
func (j *journal) sync() (uint64, error) {
	j.wmu.Lock()
	err := j.flushLocked()
	last, file := j.written, j.file
	j.wmu.Unlock()
	if err != nil {
		return 0, err
	}
	if j.volatile {
		return last, nil
	}
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // closed: replaced by a synced one
		return 0, fmt.Errorf("sync journal: %w", err)
	}
	return last, nil
}

// last returns the number of the newest line.
func (j *journal) last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq
}

func (j *journal) bytes() int64 {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	return j.size
}

// rewrite replaces the file by the lines that build returns. They say everything that was
// appended before; build runs under lock, and what is appended after it is kept.
func (j *journal) rewrite(lock sync.Locker, build func() [][]record) error {
	j.wmu.Lock()
	defer j.wmu.Unlock()
	lock.Lock()
	lines := build()
	j.mu.Lock()
	old := j.buf
	j.buf = nil
	first := j.seq
	j.seq += uint64(len(lines))
	j.mu.Unlock()
	lock.Unlock()
	err := j.replace(first, lines)
	if err != nil { // the old file stands, and what was waiting still waits
		j.mu.Lock()
		j.buf = append(old, j.buf...)
		j.mu.Unlock()
	}
	return err
}

func (j *journal) replace(first uint64, lines [][]record) error {
	var data []byte
	for i, recs := range lines {
		data = appendLine(data, first+uint64(i)+1, recs)
	}
	tmp := j.path + ".new"
	file, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("rewrite journal: %w", err)
	}
	_, err = file.Write(data)
	if err == nil && !j.volatile {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err != nil {
		_ = file.Close() // the old file stands
		return fmt.Errorf("rewrite journal: %w", err)
	}
	if j.file != nil {
		_ = j.file.Close() // replaced; nothing in it is needed
	}
	j.file, j.size, j.written = file, int64(len(data)), first+uint64(len(lines))
	if j.volatile {
		return nil
	}
	return syncDir(filepath.Dir(j.path))
}

func (j *journal) close() error {
	_, err := j.sync()
	j.wmu.Lock()
	defer j.wmu.Unlock()
	return errors.Join(err, j.file.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
