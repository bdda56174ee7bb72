package writeback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// A sendable is content on its way, in one Put or at the Complete of its parts.
type sendable struct {
	size  int64
	crc   *uint64
	attrs backend.Attrs
	plain *atomic.Bool // the store takes no conditions here
	send  func(backend.Cond) (backend.Object, error)
}

// settleTries bounds how often a condition may fail for reasons that are no conflict.
const settleTries = 5

// settle sends s under the condition that the store still holds the base. When it does not,
// settle finds out whether what it holds is ours, from an attempt whose answer was lost.
func (q *Queue) settle(ctx context.Context, j *job, store *bucketStore, s sendable, out *outcome) {
	t := try{Size: s.size}
	if s.crc != nil {
		t.CRC = *s.crc
	}
	q.noteTry(j, t, s.attrs)
	for range settleTries {
		if !q.finalize(j, true) {
			out.err = j.ctx.Err()
			return
		}
		obj, err := sendCond(ctx, j, store, s)
		q.finalize(j, false)
		if !errors.Is(err, backend.ErrChanged) && !errors.Is(err, backend.ErrNotExist) {
			out.obj, out.err = obj, err
			return
		}
		gone := errors.Is(err, backend.ErrNotExist) // the upload: completed by an attempt without an answer?
		out.err = err
		head, headErr := store.raw.Head(ctx, j.e.ref.Key)
		switch {
		case gone && errors.Is(headErr, backend.ErrNotExist):
			return
		case errors.Is(headErr, backend.ErrNotExist):
			q.setBase(j, base{known: true, tries: j.base.tries}) // deleted by somebody: nothing is in the way
			continue
		case headErr != nil:
			out.err = headErr
			return
		}
		ours, err := q.judge(ctx, j, store.raw, head, t, s.attrs)
		switch {
		case err != nil:
			out.err = err
			return
		case ours == sent:
			out.obj, out.err = head, nil
			return
		case gone:
			return
		case ours == foreign:
			out.theirs = &head
			return
		}
		q.setBase(j, base{known: true, obj: head, tries: j.base.tries})
	}
	out.err = fmt.Errorf("%w: %w", backend.ErrUnavailable, out.err)
}

// sendCond sends s if the store holds j.base. A store without conditions is asked just before.
func sendCond(ctx context.Context, j *job, store *bucketStore, s sendable) (backend.Object, error) {
	cond := j.base.cond()
	if cond == (backend.Cond{}) {
		return s.send(cond)
	}
	if !s.plain.Load() {
		obj, err := s.send(cond)
		if !errors.Is(err, backend.ErrUnsupported) {
			return obj, err
		}
		s.plain.Store(true)
	}
	if err := holds(ctx, store.raw, j.e.ref.Key, cond); err != nil {
		return backend.Object{}, err
	}
	return s.send(backend.Cond{})
}

// holds is ErrChanged if the store does not hold what cond asks for.
func holds(ctx context.Context, store backend.Store, key string, cond backend.Cond) error {
	head, err := store.Head(ctx, key)
	absent := errors.Is(err, backend.ErrNotExist)
	switch {
	case err != nil && !absent:
		return err
	case absent && cond.IfMatch == "", !absent && head.ETag == cond.IfMatch:
		return nil
	}
	return &backend.Error{Op: "head", Key: key, Err: backend.ErrChanged}
}

// verdict says whose an object is that was found where the base was expected.
type verdict uint8

const (
	foreign verdict = iota
	earlier         // the base after all, or ours from an earlier attempt: to be replaced
	sent            // exactly what is being sent
)

// judge compares head with the base and with all that we ever sent without an answer. The
// newest is t.
func (q *Queue) judge(ctx context.Context, j *job, store backend.Store, head backend.Object, t try, a backend.Attrs) (verdict, error) {
	if j.base.holds(head) {
		return earlier, nil
	}
	mine := len(a.Meta) > 0 && maps.Equal(head.Meta, a.Meta)
	if head.Size == t.Size && mine && (t.CRC == 0 || head.Size > q.tune.buffered) {
		return sent, nil
	}
	sum := uint64(0) // unknown, or right for no bytes at all
	for _, old := range append([]try{t}, j.base.tries...) {
		if old.Size != head.Size || old.CRC == 0 && old.Size > 0 || !head.State.Readable() {
			continue
		}
		if sum == 0 && head.Size > 0 {
			var err error
			if sum, err = checksum(ctx, store, head); err != nil {
				return foreign, err
			}
		}
		if sum == old.CRC {
			if old == t && (mine || len(a.Meta) == 0) {
				return sent, nil
			}
			return earlier, nil
		}
	}
	return foreign, nil
}

// checksum reads obj for its CRC64NVME.
func checksum(ctx context.Context, store backend.Store, obj backend.Object) (uint64, error) {
	body, err := store.Get(ctx, obj.Key, obj.ETag, 0, -1)
	if err != nil {
		return 0, err
	}
	h := crc64nvme.New()
	_, err = io.Copy(h, body)
	return h.Sum64(), errors.Join(err, body.Close())
}

// conflictLocked gives way to theirs: what is pending gets a name of its own, on which it is
// sent like any new file. Those who wait for it hear ErrChanged.
func (q *Queue) conflictLocked(j *job, out outcome) {
	e, theirs := j.e, *out.theirs
	defer q.settleLocked()
	if e.want != attrs || e.file == nil {
		e.base = knownBase(theirs)
	}
	if e.want == gone { // deleted meanwhile: so it shall be, whosever it is
		q.resumeLocked(e)
		q.j.append(e.setOrDrop())
		kick(q.dirty)
		return
	}
	err := fmt.Errorf("%s: %w", e.ref, backend.ErrChanged)
	e.err, e.fatal, e.tried = err, true, e.tried+1
	if e.want == attrs {
		q.dropAttrsLocked(e, err)
		return
	}
	f := e.file
	if out.stranded && f == j.file {
		q.strandLocked(e, err)
		return
	}
	recs := q.cancelUploadLocked(f)
	to := q.conflictRefLocked(e)
	n := q.entryLocked(to, base{known: true})
	n.want, n.attrs, n.gen, n.since, n.mod, n.conflict = content, e.attrs, e.gen, e.since, e.mod, true
	n.file, f.entry, f.ref = f, n, to
	if !e.conflict {
		f.failLocked(err)
	}
	e.file, e.want = nil, clean
	q.forgetLocked(e)
	q.sent.Conflicts++
	q.j.append(append(recs, n.setOrDrop(), e.setOrDrop())...)
	kick(q.dirty)
	q.scheduleLocked(n, time.Time{})
	q.o.Log.Warn("somebody else changed the object: ours is kept under another name",
		"key", e.ref.String(), "kept", to.String(), "etag", theirs.ETag)
}

// dropAttrsLocked gives up new attributes of an object that somebody else has replaced.
func (q *Queue) dropAttrsLocked(e *entry, err error) {
	q.o.Log.Warn("somebody else changed the object: our attributes are dropped", "key", e.ref.String(), "err", err)
	e.want = clean
	q.j.append(e.setOrDrop())
	kick(q.dirty)
	if f := e.file; f != nil {
		f.failLocked(err) // its base stays: a Commit of other content will meet the same stranger
		f.stored = storedAs{}
		if f.refs == 0 { // closed while the attributes were on their way: nobody else ends it
			q.retireLocked(e)
		}
		return
	}
	q.forgetLocked(e)
}

// conflictRefLocked finds a name next to that of e which nothing here uses.
func (q *Queue) conflictRefLocked(e *entry) backend.Ref {
	key := e.ref.Key
	stem, _, made := strings.Cut(key, ".conflict-")
	for n := 1; ; n++ {
		to := backend.Ref{Bucket: e.ref.Bucket, Key: conflictKey(key, q.host, time.Now(), n)}
		if e.conflict && made { // a made-up name that is taken: number it
			to.Key = conflictKey(stem+path.Ext(key), q.host, time.Now(), n+1)
		}
		if q.entries[to] == nil {
			return to
		}
	}
}

// conflictKey is key with ".conflict-HOST-TIME" before its extension, numbered from the
// second on. Its last element stays within 255 bytes, the most that a file name can have.
func conflictKey(key, host string, now time.Time, n int) string {
	dir, name := path.Split(key)
	ext := path.Ext(name)
	if ext == name || len(ext) > 16 { // a dot file, or no extension at all
		ext = ""
	}
	mark := ".conflict-" + host + "-" + now.UTC().Format("20060102T150405")
	if n > 1 {
		mark += "-" + strconv.Itoa(n)
	}
	stem := strings.TrimSuffix(name, ext)
	for len(stem) > 0 && len(stem)+len(mark)+len(ext) > 255 {
		_, size := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-size]
	}
	return dir + stem + mark + ext
}
