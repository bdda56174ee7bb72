package fs

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/cache/writeback"
)

// found is what a name stands for.
type found struct {
	comp string
	dir  bool
	obj  backend.Object // of a directory: its marker, or only a Key if there is none
}

// resolve finds what name in d stands for: ErrNotExist if nothing. Changes that wait in
// the queue win over what is remembered, and that over the store.
func (d *dirNode) resolve(ctx context.Context, name string) (found, error) {
	comp, kind, err := elemComponent(name)
	if errors.Is(err, errNameShort) {
		comp, kind, err = d.unshorten(ctx, name)
	}
	if err != nil {
		return found{}, nameError(err, backend.ErrNotExist)
	}
	at, ok := d.ref()
	if !ok {
		return found{}, backend.ErrNotExist
	}
	store, err := d.fs.stores.open(ctx, at.Bucket)
	if err != nil {
		return found{}, err
	}
	file := backend.Ref{Bucket: at.Bucket, Key: at.Key + comp}
	dir := backend.Ref{Bucket: at.Bucket, Key: file.Key + "/"}
	if kind == objectElem {
		return d.fs.resolveHidden(ctx, store, comp, file, dir)
	}
	if len(dir.Key) > maxKey+1 {
		return found{}, backend.ErrTooLong
	}
	if comp != "" && d.expectsDir(name) {
		obj, known, err := d.fs.look(ctx, store, at, dir)
		if known && !isNotExist(err) {
			return found{comp: comp, dir: true, obj: obj}, err
		}
	}
	return d.fs.resolvePlain(ctx, store, at, comp, file, dir)
}

// resolvePlain looks for the directory and the object of one component. Both questions go
// out at once; the directory hides the object.
func (f *FS) resolvePlain(ctx context.Context, store backend.Store, at backend.Ref, comp string, file, dir backend.Ref) (found, error) {
	var fileObj, dirObj backend.Object
	var fileErr, dirErr error
	var g errgroup.Group
	if comp == "" {
		fileErr = backend.ErrNotExist // the key would be the directory's own marker
	} else {
		g.Go(func() error { fileObj, fileErr = f.glance(ctx, store, file); return nil })
		f.walks.looked(store, file)
	}
	dirObj, dirErr = f.listedDir(ctx, store, at, dir)
	_ = g.Wait()
	switch {
	case dirErr == nil:
		return found{comp: comp, dir: true, obj: dirObj}, nil
	case !errors.Is(dirErr, backend.ErrNotExist):
		return found{}, dirErr
	case fileErr != nil:
		return found{}, fileErr
	}
	return found{comp: comp, obj: fileObj}, nil
}

// listedDir is directory, with the help of the listing of at if that is known or can be had
// with one request.
func (f *FS) listedDir(ctx context.Context, store backend.Store, at, dir backend.Ref) (backend.Object, error) {
	if _, _, known := f.entries.Get(dir); !known && !f.queuedBelow(dir) {
		f.learn(ctx, store, at)
	}
	if listed, whole := f.entries.Dir(at); whole {
		if _, there := inListing(listed, dir.Key); there && len(f.goneBelow(dir)) == 0 {
			return f.marker(ctx, store, dir)
		}
	}
	return f.directory(ctx, store, dir)
}

// resolveHidden finds an object that is hidden by a directory: X beside X/, or the data of
// a directory's own marker (comp is empty, file the marker).
func (f *FS) resolveHidden(ctx context.Context, store backend.Store, comp string, file, dir backend.Ref) (found, error) {
	obj, err := f.object(ctx, store, file)
	if err != nil {
		return found{}, err
	}
	if comp == "" {
		if obj.Size == 0 {
			return found{}, backend.ErrNotExist
		}
		return found{comp: comp, obj: obj}, nil
	}
	if _, err := f.directory(ctx, store, dir); err != nil {
		return found{}, err
	}
	return found{comp: comp, obj: obj}, nil
}

// object finds one key: pending, remembered, or asked for.
func (f *FS) object(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, error) {
	if p, ok := f.queue.Find(ref); ok {
		if p.Gone {
			return backend.Object{}, backend.ErrNotExist
		}
		if makes(p) {
			return p.Object, nil
		}
		obj, err := f.ask(ctx, store, ref) // only attributes wait; the state is the store's
		if p.Parked && (err == nil || errors.Is(err, backend.ErrNotExist)) {
			f.queue.Outdated(ref, obj)
		}
		return laidOver(p, obj), err
	}
	return f.ask(ctx, store, ref)
}

// laidOver is what the store says with the attributes of p, if only those wait and obj is the
// version that they are for.
func laidOver(p writeback.Pending, obj backend.Object) backend.Object {
	if obj.ETag != "" && obj.ETag == p.Object.ETag && !makes(p) && !p.Gone {
		obj.Attrs, obj.ModTime = p.Object.Attrs, p.Object.ModTime
	}
	return obj
}

// ask finds one key in what is remembered, or asks the store.
func (f *FS) ask(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, error) {
	if obj, exists, known := f.entries.Get(ref); known {
		if !exists {
			return backend.Object{}, backend.ErrNotExist
		}
		return obj, nil
	}
	if obj, ok := f.fromListing(ctx, store, ref); ok {
		return obj, nil
	}
	over, alone, err := f.walks.alone(ctx, ref)
	switch {
	case err != nil:
		return backend.Object{}, err
	case !alone:
		return f.ask(ctx, store, ref) // somebody has just been told
	}
	defer over()
	return f.head(ctx, store, ref)
}

// head asks the store for one key.
func (f *FS) head(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, error) {
	stamp := f.entries.Stamp()
	obj, err := store.Head(ctx, ref.Key)
	f.answered(err)
	switch {
	case err == nil:
		f.entries.Learn(ref, obj, stamp)
		f.saw(ref, obj)
	case errors.Is(err, backend.ErrNotExist):
		if !strings.HasSuffix(ref.Key, "/") { // a directory needs no marker to be there
			f.entries.LearnAbsent(ref, stamp)
		}
	case f.away(err):
		if old, exists, known := f.entries.Get(ref); known && exists {
			return old, nil
		} else if known {
			return old, backend.ErrNotExist
		}
	}
	return obj, err
}

// awayFor is how long the store is not asked again for what is remembered, once it did not
// answer.
const awayFor = 30 * time.Second

// away reports whether err says that the store does not answer. What it said before is believed
// then, however old: reads and writes go on from what is here.
func (f *FS) away(err error) bool {
	if !errors.Is(err, backend.ErrUnavailable) {
		return false
	}
	f.entries.Away(awayFor)
	return true
}

// answered ends an outage with the first answer, err, that is one: what was believed for want of
// newer answers may be wrong by now.
func (f *FS) answered(err error) {
	if err == nil || errors.Is(err, backend.ErrNotExist) {
		f.entries.Back()
	}
}

// anew is object with the store asked now, whatever is remembered. A listing cannot tell every
// state: not that of INTELLIGENT_TIERING, and of restored copies few stores but S3 say there
// that they exist.
func (f *FS) anew(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, error) {
	stamp := f.entries.Stamp()
	obj, err := store.Head(ctx, ref.Key)
	f.answered(err)
	switch {
	case err == nil:
		f.entries.Learn(ref, obj, stamp)
	case errors.Is(err, backend.ErrNotExist):
		f.entries.Drop(ref)
	default:
		return obj, err
	}
	return f.object(ctx, store, ref)
}

// directory finds out whether anything lies at or below dir, whose Key ends in "/". A
// directory without a marker is an Object with nothing but a Key. Attributes of a marker that
// wait are laid over what the store says; they may be stored before it has answered.
func (f *FS) directory(ctx context.Context, store backend.Store, dir backend.Ref) (backend.Object, error) {
	waiting, _ := f.queue.Find(dir)
	obj, err := f.storedDirectory(ctx, store, dir)
	return laidOver(waiting, obj), err
}

func (f *FS) storedDirectory(ctx context.Context, store backend.Store, dir backend.Ref) (backend.Object, error) {
	bare := backend.Object{Key: dir.Key}
	if f.queuedBelow(dir) {
		return f.marker(ctx, store, dir)
	}
	// Once things below wait for their deletion, only a marker that does not tells enough.
	gone := f.goneBelow(dir)
	if obj, exists, known := f.entries.Get(dir); known && (!exists || len(gone) == 0 || obj.ETag != "" && !gone[dir.Key]) {
		if !exists {
			return bare, backend.ErrNotExist
		}
		return obj, nil
	}
	stamp := f.entries.Stamp()
	for e, err := range store.List(ctx, dir.Key, "", backend.ListOptions{PageSize: 8}) {
		if err != nil {
			if f.away(err) {
				if obj, exists, known := f.entries.Get(dir); known && exists {
					return obj, nil
				} else if known {
					return bare, backend.ErrNotExist
				}
			}
			return bare, err
		}
		f.answered(nil)
		if gone[e.Key] {
			continue
		}
		if e.Key != dir.Key {
			f.entries.Learn(dir, bare, stamp)
			return bare, nil
		}
		if obj, ok := f.entries.Complete(dir, e.Object); ok {
			f.entries.Learn(dir, obj, stamp)
			return obj, nil
		}
		obj, err := store.Head(ctx, dir.Key)
		if errors.Is(err, backend.ErrNotExist) {
			continue // deleted meanwhile; what follows tells whether the directory is there
		}
		if err == nil {
			f.entries.Learn(dir, obj, stamp)
		}
		return obj, err
	}
	f.answered(nil)
	f.entries.LearnAbsent(dir, stamp)
	return bare, backend.ErrNotExist
}

// marker finds the marker of a directory that is known to exist.
func (f *FS) marker(ctx context.Context, store backend.Store, dir backend.Ref) (backend.Object, error) {
	obj, err := f.object(ctx, store, dir)
	if errors.Is(err, backend.ErrNotExist) {
		bare := backend.Object{Key: dir.Key}
		if !f.gone(dir) {
			f.entries.Learn(dir, bare, f.entries.Stamp())
		}
		return bare, nil
	}
	return obj, err
}

func (f *FS) gone(ref backend.Ref) bool {
	p, ok := f.queue.Find(ref)
	return ok && p.Gone
}

// goneBelow returns the keys at and below dir that wait for their deletion. It is asked
// before the store is listed: a delete that is confirmed meanwhile may be in the listing
// still and in the queue no more.
func (f *FS) goneBelow(dir backend.Ref) map[string]bool {
	gone := map[string]bool{}
	for p := range f.queue.List(dir.Bucket, dir.Key, "") {
		if p.Gone {
			gone[p.Ref.Key] = true
		}
	}
	return gone
}

// queued reports whether a change that makes ref exist waits.
func (f *FS) queued(ref backend.Ref) bool {
	p, ok := f.queue.Find(ref)
	return ok && makes(p)
}

// makes reports whether p makes its name exist. Attributes that wait do not: the object that
// they are for may have been replaced or removed since, and those of a stub wait for long.
func makes(p writeback.Pending) bool {
	return !p.Gone && (p.File != nil || p.Object.ETag == "")
}

// queuedBelow reports whether a change that makes something exist at or below dir waits.
func (f *FS) queuedBelow(dir backend.Ref) bool {
	for p := range f.queue.List(dir.Bucket, dir.Key, "") {
		if makes(p) {
			return true
		}
	}
	return false
}

// empty reports whether nothing but its marker, without data, and its index lies below dir,
// asking the store anew. The index is returned if there is one.
func (f *FS) empty(ctx context.Context, store backend.Store, dir backend.Ref) (index backend.Object, ok bool, err error) {
	gone := f.goneBelow(dir)
	for p := range f.queue.List(dir.Bucket, dir.Key, "") {
		if makes(p) && (p.Ref != dir || p.Object.Size > 0) {
			return index, false, nil
		}
	}
	for e, err := range store.List(ctx, dir.Key, "", backend.ListOptions{}) {
		switch {
		case err != nil:
			return index, false, err
		case e.Key == attrindex.Key(dir.Key):
			index = e.Object
		case (e.Key != dir.Key || e.Size > 0 && !f.queued(dir)) && !gone[e.Key]:
			return index, false, nil
		}
	}
	return index, true, nil
}

// unshorten finds the component of a shortened name in the listing of d.
func (d *dirNode) unshorten(ctx context.Context, name string) (comp string, kind elemKind, err error) {
	kind, _ = isShortName(name)
	at, ok := d.ref()
	if !ok {
		return "", kind, errNameReserved
	}
	lister := newLister(d.fs, at)
	for e, err := range lister.all(ctx) {
		if err != nil {
			return "", kind, err
		}
		comp := strings.TrimSuffix(strings.TrimPrefix(e.Key, at.Key), "/")
		if elemName(comp, kind) == name {
			return comp, kind, nil
		}
	}
	return "", kind, errNameReserved
}

// nameError turns an error of elemComponent into one that errno.go knows; reserved says
// what a name that cannot exist means to the caller.
func nameError(err, reserved error) error {
	switch {
	case errors.Is(err, errNameTooLong):
		return backend.ErrTooLong
	case errors.Is(err, errNameReserved):
		return reserved
	case errors.Is(err, errNameInvalid), errors.Is(err, errNameShort):
		return backend.ErrInvalid
	}
	return err
}

// newKey is the key that something new called name in d gets, without a "/" at the end. No
// file can have the empty component: its key would be the marker of d.
func (d *dirNode) newKey(name string, dir bool) (ref backend.Ref, comp string, err error) {
	comp, kind, err := elemComponent(name)
	if err != nil {
		return ref, "", nameError(err, backend.ErrInvalid)
	}
	if kind == objectElem || !dir && (comp == "" || comp == attrindex.Name) {
		return ref, "", backend.ErrInvalid
	}
	at, ok := d.ref()
	if !ok {
		return ref, "", backend.ErrNotExist
	}
	ref = backend.Ref{Bucket: at.Bucket, Key: at.Key + comp}
	if len(ref.Key) > maxKey {
		return ref, "", backend.ErrTooLong
	}
	if w, once := d.fs.writeOnce(at.Bucket); once {
		return ref, comp, w.CheckKey(ref.Key)
	}
	return ref, comp, nil
}
