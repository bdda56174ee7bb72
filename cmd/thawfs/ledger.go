package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A ledger remembers how far the way out of a vault is: which archives have arrived and how
// much was asked for on which day. It is a file of lines that only grows; a torn last line is
// of something that is done again.
type ledger struct {
	mu    sync.Mutex
	file  *os.File
	done  map[uint64]struct{} // hashes of ids: a million take some 20 MB
	asked map[string]int64    // bytes, by day
}

type ledgerLine struct {
	Done  string `json:"done,omitempty"`  // id of an archive
	Day   string `json:"day,omitempty"`   // UTC, of Bytes
	Bytes int64  `json:"bytes,omitempty"` // that were asked for
}

func openLedger(path string) (*ledger, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: file, done: map[uint64]struct{}{}, asked: map[string]int64{}}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var line ledgerLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // torn
		}
		if line.Done != "" {
			l.done[ledgerHash(line.Done)] = struct{}{}
		}
		l.asked[line.Day] += line.Bytes
	}
	if err := lines.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	if _, err := file.WriteString("\n"); err != nil { // ends a torn line
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

func ledgerHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

func (l *ledger) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.done[ledgerHash(id)]
	return ok
}

// arrived notes that an archive is out. It is durable when arrived returns.
func (l *ledger) arrived(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[ledgerHash(id)] = struct{}{}
	return errors.Join(l.writeLocked(ledgerLine{Done: id}), l.file.Sync())
}

// take takes n bytes of the day's limit, if they are left; the first archive of a day may be
// larger than it.
func (l *ledger) take(n, limit int64, now time.Time) (bool, error) {
	day := now.UTC().Format(time.DateOnly)
	l.mu.Lock()
	defer l.mu.Unlock()
	if had := l.asked[day]; limit > 0 && had > 0 && had+n > limit {
		return false, nil
	}
	l.asked[day] += n
	return true, l.writeLocked(ledgerLine{Day: day, Bytes: n})
}

func (l *ledger) writeLocked(line ledgerLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(text, '\n'))
	return err
}

func (l *ledger) Close() error { return l.file.Close() }
