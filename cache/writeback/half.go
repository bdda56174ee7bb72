package writeback

import (
	"errors"
	"time"
)

// errHalfWritten ends an attempt at a file that somebody is changing: he has it open, and has
// changed it since its last Commit. What it holds now is neither what it was nor what it is
// to be, so it waits for the next Commit, which the last Close brings at the latest. Only who
// asks for it, by fsync or a drain, has it sent as it is.
var errHalfWritten = errors.New("somebody is changing the file")

// halfWrittenPause is how long such a file is left alone if no Commit comes.
const halfWrittenPause = time.Second

// halfWritten reports whether the content that j is to send, which has the stamp s, is that of
// a file in the middle of a change.
func (q *Queue) halfWritten(j *job, s stamp) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := j.file
	return f.refs > 0 && s != f.mark && !j.e.asked && q.drains == 0
}
