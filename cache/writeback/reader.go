package writeback

import (
	"fmt"

	"github.com/thawfs/thawfs/backend"
)

// Reader references the File of ref for somebody who only reads, if it has one. It is
// paired with File.Close.
func (q *Queue) Reader(ref backend.Ref) (*File, bool, error) {
	for {
		q.mu.Lock()
		e := q.entries[ref]
		if e == nil || e.file == nil {
			q.mu.Unlock()
			return nil, false, nil
		}
		if e.leaving {
			settled := q.settled
			q.mu.Unlock()
			<-settled
			continue
		}
		f := e.file
		_, err := f.openLocked()
		if err == nil {
			f.refs++
		}
		q.mu.Unlock()
		if err != nil {
			return nil, false, fmt.Errorf("open staged file: %w", err)
		}
		return f, true, nil
	}
}

// Reopen is OpenFile for a ref that has a File already; it is nil if there is none. Nobody
// can slip in between the look and the opening, as with Find and OpenFile.
func (q *Queue) Reopen(ref backend.Ref, truncate bool) (*File, error) {
	for {
		f, err := q.reopen(ref, truncate)
		if f != nil || err != nil {
			return f, err
		}
		q.mu.Lock()
		e := q.entries[ref]
		has := e != nil && e.file != nil // its content was in the journal and is staged now
		q.mu.Unlock()
		if !has {
			return nil, nil
		}
	}
}
