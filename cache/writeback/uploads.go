package writeback

import (
	"context"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// An upload assembles an object from parts. It is journalled before the store hears of it and
// until it has been completed or aborted, so that none is forgotten there.
type upload struct {
	uid    uint64
	ref    backend.Ref
	layout layout
	attrs  backend.Attrs // of the object, fixed when it was begun

	// Guarded by Queue.mu:
	id    string // the store's name for it; empty until its answer
	file  *File  // whose content it is; nil once it is not wanted
	parts map[int]sentPart
	abort bool // not wanted any more
	busy  bool // it is being begun or aborted
	users int  // who send parts of it: until they have ended it is not aborted
	fails int
	due   time.Time // of the next attempt to abort it
}

// A sentPart is a part that the store has confirmed.
type sentPart struct {
	backend.Part
	copied bool  // from the base object; its checksum is not known
	at     stamp // the content of the file for which it is known to be right
}

func (u *upload) name() backend.Upload { return backend.Upload{Key: u.ref.Key, ID: u.id} }

func (u *upload) record() record {
	r := &uploadRec{UID: u.uid, Bucket: u.ref.Bucket, Key: u.ref.Key, ID: u.id, Layout: u.layout, Abort: u.abort}
	if u.file != nil {
		r.File = u.file.id
	}
	if !u.abort {
		r.Attrs = newAttrsRec(u.attrs)
	}
	return record{Up: r}
}

// beginUpload begins an upload of f under ref.
func (q *Queue) beginUpload(ctx context.Context, f *File, ref backend.Ref, a backend.Attrs, l layout, pu backend.PartUploader) (*upload, error) {
	if err := q.sweepKey(ctx, ref, pu); err != nil {
		return nil, err
	}
	q.mu.Lock()
	if f.entry == nil || f.ref != ref {
		q.mu.Unlock()
		return nil, errSupersede
	}
	q.lastID++
	u := &upload{uid: q.lastID, ref: ref, layout: l, attrs: a, file: f, parts: map[int]sentPart{}, busy: true}
	q.uploads[u.uid] = u
	f.upload = u
	seq := q.j.append(u.record())
	q.mu.Unlock()
	q.flushQuietly(seq)

	up, err := pu.NewUpload(ctx, ref.Key, backend.PutOptions{Attrs: a})
	q.mu.Lock()
	u.busy = false
	var recs []record
	switch {
	case err == nil:
		u.id = up.ID
		recs = []record{u.record()}
	case transient(err) || ctx.Err() != nil: // it may have been begun
		recs = q.cancelUploadLocked(f)
	default:
		recs = q.endUploadLocked(u)
	}
	if len(recs) > 0 { // else f lost its name meanwhile, and this was journalled then
		seq = q.j.append(recs...)
	}
	q.mu.Unlock()
	q.flushQuietly(seq)
	kick(q.sweep)
	return u, err
}

// cancelUploadLocked has the upload of f aborted.
func (q *Queue) cancelUploadLocked(f *File) []record {
	if f.early != nil {
		f.early.cancel()
	}
	u := f.upload
	if u == nil {
		return nil
	}
	f.upload, u.file, u.abort, u.parts = nil, nil, true, nil
	kick(q.sweep)
	return []record{u.record()}
}

// endUploadLocked forgets an upload that the store does not have any more.
func (q *Queue) endUploadLocked(u *upload) []record {
	if q.uploads[u.uid] != u {
		return nil
	}
	delete(q.uploads, u.uid)
	if u.file != nil && u.file.upload == u {
		u.file.upload = nil
	}
	u.file = nil
	return []record{{UpEnd: u.uid}}
}

// useUpload keeps u from being aborted until release: a part that arrives after the abort
// might stay in the store.
func (q *Queue) useUpload(u *upload) (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u.users++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		u.users--
		kick(q.sweep)
	}
}

// dropUpload is endUploadLocked with everything around it.
func (q *Queue) dropUpload(u *upload) {
	q.mu.Lock()
	var seq uint64
	if recs := q.endUploadLocked(u); len(recs) > 0 {
		seq = q.j.append(recs...)
	}
	q.settleLocked()
	q.mu.Unlock()
	q.flushQuietly(seq)
}

// confirmPart notes a part that the store has.
func (q *Queue) confirmPart(u *upload, p sentPart) {
	q.mu.Lock()
	if u.abort || q.uploads[u.uid] != u {
		q.mu.Unlock()
		return
	}
	u.parts[p.Number] = p
	q.sent.Parts++
	seq := q.j.append(record{Part: &partRec{UID: u.uid, Part: p.Part, Copied: p.copied}})
	q.mu.Unlock()
	q.flushQuietly(seq)
}

func (q *Queue) uploadLinesLocked() (lines [][]record) {
	for _, u := range q.uploads {
		recs := []record{u.record()}
		for _, p := range u.parts {
			recs = append(recs, record{Part: &partRec{UID: u.uid, Part: p.Part, Copied: p.copied}})
		}
		lines = append(lines, recs)
	}
	return lines
}

// restoreUploads gives the uploads in m back to their files. The others are aborted.
func (q *Queue) restoreUploads(m *image) {
	for uid, r := range m.uploads {
		u := &upload{
			uid: uid, ref: backend.Ref{Bucket: r.Bucket, Key: r.Key}, id: r.ID,
			layout: r.Layout, attrs: r.Attrs.attrs(), abort: true,
		}
		q.uploads[uid] = u
		f := q.files[r.File]
		if r.Abort || r.ID == "" || f == nil || f.ref != u.ref || f.upload != nil || len(r.Layout) == 0 {
			continue
		}
		u.abort, u.file, f.upload = false, f, u
		u.parts = make(map[int]sentPart, len(r.parts))
		for n, p := range r.parts {
			u.parts[n] = sentPart{Part: p.Part, copied: p.Copied, at: stamp{size: -1}}
		}
	}
	kick(q.sweep)
}
