package writeback

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// manyFiles is from where on one sync of the whole file system is cheaper than one for each
// file. It may have to wait for what other programs write there.
const manyFiles = 64

// syncLoop is the group commit: what was journalled is on the disk at most SyncEvery later.
func (q *Queue) syncLoop() {
	every := q.o.SyncEvery
	if every <= 0 {
		every = time.Second // files to be removed can wait for this
	}
	for {
		select {
		case <-q.dirty:
		case <-q.ctx.Done():
			return
		}
		if sleep(q.ctx, every) != nil {
			return
		}
		if err := q.syncNow(); err != nil {
			q.o.Log.Error("staged changes are not on the disk", "err", err)
		}
		q.compactIfWorth(false)
	}
}

// syncNow makes everything journalled so far durable: first the staged files, then their
// names, then the lines that speak of them.
func (q *Queue) syncNow() error {
	upTo := q.j.last()
	q.syncing <- struct{}{}
	defer func() { <-q.syncing }()
	if q.synced >= upTo && !q.hasGarbage() {
		return nil // somebody did it for us
	}
	q.sumUnsynced()
	q.mu.Lock()
	upTo = q.j.last()
	var files []*File
	for f := range q.unsynced {
		if f.entry != nil && f.entry.want == content {
			files = append(files, f)
		}
	}
	clear(q.unsynced)
	names := q.newNames
	q.newNames = false
	q.mu.Unlock()
	if q.tune.volatile {
		files, names = nil, false
	}
	err := q.syncFiles(files)
	if names {
		err = errors.Join(err, syncDir(q.stagingDir()))
	}
	if err != nil {
		q.mu.Lock()
		for _, f := range files {
			q.unsynced[f] = struct{}{}
		}
		q.newNames = q.newNames || names
		q.mu.Unlock()
		kick(q.dirty)
		_, logErr := q.j.sync() // without saying that the files are safe
		return errors.Join(err, logErr)
	}
	q.j.append(record{Synced: upTo})
	last, err := q.j.sync()
	if err != nil {
		kick(q.dirty)
		return err
	}
	q.synced = upTo // later lines are on the disk too, but not what they speak of
	q.removeGarbage(last)
	return nil
}

func (q *Queue) hasGarbage() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.garbage) > 0
}

func (q *Queue) syncFiles(files []*File) error {
	if len(files) > manyFiles {
		dir, err := os.Open(q.stagingDir())
		if err != nil {
			return err
		}
		return errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close())
	}
	var mu sync.Mutex
	var errs []error
	each(files, 8, func(f *File) {
		if err := f.syncDisk(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("sync staged file of %s: %w", f.ref, err))
		}
	})
	return errors.Join(errs...)
}

func (f *File) syncDisk() error {
	err := f.use(func(fd *os.File) error { return fd.Sync() })
	if errors.Is(err, os.ErrNotExist) {
		return nil // handed over or deleted meanwhile
	}
	return err
}

// removeGarbage deletes the staged files that the durable journal up to last does not need.
func (q *Queue) removeGarbage(last uint64) {
	q.mu.Lock()
	var now []string
	keep := q.garbage[:0]
	for _, g := range q.garbage {
		if g.seq <= last {
			now = append(now, g.path)
		} else {
			keep = append(keep, g)
		}
	}
	q.garbage = keep
	q.mu.Unlock()
	for _, path := range now {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			q.o.Log.Warn("staged file is not removed", "err", err)
		}
	}
}

// compactIfWorth rewrites the journal when most of it is history.
func (q *Queue) compactIfWorth(force bool) {
	if n := q.j.bytes(); !force && (n < q.tune.compact || n < 4*q.compacted.Load()) {
		return
	}
	select {
	case q.syncing <- struct{}{}:
	default:
		return // another one is at it, or a sync that will look itself
	}
	defer func() { <-q.syncing }()
	if n := q.j.bytes(); !force && (n < q.tune.compact || n < 4*q.compacted.Load()) {
		return
	}
	if err := q.j.rewrite(&q.mu, q.linesLocked); err != nil {
		q.o.Log.Error("journal is not compacted", "err", err)
		return
	}
	q.compacted.Store(q.j.bytes())
}

// linesLocked tells the whole state, what is safe on the disk first.
func (q *Queue) linesLocked() [][]record {
	lines := [][]record{{{Boot: bootID()}}}
	var late [][]record
	for _, e := range q.entries {
		r := e.record()
		if r == nil {
			continue
		}
		if _, unsynced := q.unsynced[e.file]; unsynced && e.file != nil {
			late = append(late, []record{{Set: r}})
		} else {
			lines = append(lines, []record{{Set: r}})
		}
	}
	for _, f := range q.files {
		if rec, ok := f.spareLocked(); ok {
			lines = append(lines, []record{rec})
		}
	}
	lines = append(lines, q.uploadLinesLocked()...)
	lines = append(lines, q.moveLinesLocked()...)
	lines = append(lines, []record{{Above: true}})
	return append(lines, late...)
}

// spareLocked is the record, if any, that f is not needed as it is.
func (f *File) spareLocked() (record, bool) {
	switch {
	case f.inline != nil || !f.journaled:
		return record{}, false
	case f.entry == nil:
		return record{Free: &freeRec{ID: f.id, Size: -1}}, true
	case f.stored.ok && (f.entry.want == clean || f.entry.want == attrs):
		return f.spare(), true
	}
	return record{}, false
}
