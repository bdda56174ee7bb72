package writeback

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/thawfs/thawfs/backend"
)

// A stranded file is staged content of which only the changed ranges are here, while the
// object that holds the rest is gone from the store: somebody replaced or deleted it. Nobody
// can make a whole file of that any more, and a file with holes in it, or with bytes of
// another version, must not be sent. So the name shows what the store has, and what was
// written here is kept in lost+found: the bytes at their offsets in NUMBER, and in
// NUMBER.json which of them count and what they belong to.
type strandedFile struct {
	Bucket string        `json:"bucket"`
	Key    string        `json:"key"`
	Size   int64         `json:"size"`    // bytes of the whole file
	Ranges [][2]int64    `json:"ranges"`  // [from, to) that the file beside this one holds
	BaseN  int64         `json:"base_to"` // between the ranges, below this, were bytes of Base; behind it zeros
	Base   strandedBase  `json:"base"`
	Attrs  backend.Attrs `json:"attrs"`
}

type strandedBase struct {
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

// baseless reports whether a sparse file could not be sent because its base is not there.
func baseless(out outcome) bool {
	return out.theirs == nil && !errors.Is(out.err, backend.ErrUnavailable) &&
		(errors.Is(out.err, backend.ErrChanged) || errors.Is(out.err, backend.ErrNotExist))
}

// strand makes sure that the base of a sparse file is gone, and describes the file in
// lost+found. If that is not possible the change stays pending.
func (q *Queue) strand(j *job, store *bucketStore, cause error) outcome {
	key := j.e.ref.Key
	head, err := store.raw.Head(j.ctx, key)
	switch {
	case errors.Is(err, backend.ErrNotExist):
		head = backend.Object{Key: key}
	case err != nil:
		return outcome{err: err}
	}
	q.mu.Lock()
	ours := head.ETag != "" && j.e.base.ours(head)
	q.mu.Unlock()
	if ours { // it has settled meanwhile
		return outcome{err: fmt.Errorf("%w: %w", backend.ErrUnavailable, cause)}
	}
	if err := q.describe(j); err != nil {
		return outcome{err: fmt.Errorf("set %s aside: %w", j.e.ref, err)}
	}
	return outcome{err: cause, theirs: &head, stranded: true}
}

func (q *Queue) describe(j *job) error {
	s := j.file.sparse
	s.mu.Lock()
	d := strandedFile{
		Bucket: j.e.ref.Bucket, Key: j.e.ref.Key, Size: s.size, Ranges: s.done, BaseN: s.baseN,
		Base: strandedBase{s.base.ETag, s.base.Size}, Attrs: j.attrs,
	}
	d.Ranges = slices.Clone(d.Ranges)
	s.mu.Unlock()
	return q.writeStranded(j.file.id, d)
}

func (q *Queue) writeStranded(id uint64, d strandedFile) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(q.strandedPath(id)+".json", append(text, '\n'), 0o600)
}

func (q *Queue) strandedPath(id uint64) string {
	return filepath.Join(q.lostDir(), filepath.Base(q.stagedPath(id)))
}

// strandLocked gives the name of e back to the store. The order is that of a crash: with the
// line that drops the entry but the file still in staging, the next process sets it aside.
func (q *Queue) strandLocked(e *entry, err error) {
	f := e.file
	recs := q.cancelUploadLocked(f)
	e.want = clean
	seq := q.j.append(append(recs, e.setOrDrop())...)
	f.entry, f.linked, e.file = nil, false, nil
	delete(q.files, f.id)
	delete(q.unsynced, f)
	q.releaseLocked(f)
	q.forgetLocked(e)
	f.failLocked(err)
	q.sent.Conflicts++
	kick(q.dirty)
	if flushErr := q.j.flush(seq); flushErr != nil {
		q.o.Log.Warn("journal is not written", "err", flushErr)
	}
	if moveErr := os.Rename(q.stagedPath(f.id), q.strandedPath(f.id)); moveErr != nil {
		q.o.Log.Warn("staged file is not set aside", "err", moveErr) // the next process does it
	}
	q.o.Log.Error("somebody else replaced the object that the rest of a changed file was in: what was written here is kept",
		"key", e.ref.String(), "path", q.strandedPath(f.id), "err", err)
}
