package fstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// stranger changes the store behind the mount's back.
func (r *Runner) stranger(ctx context.Context, op Op) error {
	if !r.model.busy(op.Path) {
		if _, err := r.strike(ctx, op); err != nil {
			return err
		}
		r.model.struck(op)
		return nil
	}
	return r.conflict(ctx, op)
}

// busy reports whether key may have a change of this mount that the store does not. The
// marker of any directory may: the mount makes one when it likes.
func (m *Model) busy(key string) bool {
	if m.unsent[key] || strings.HasSuffix(key, "/") && m.has(key) {
		return true
	}
	for _, h := range m.handles {
		if h != nil && h.write && h.f.key == key {
			return true
		}
	}
	return false
}

// strike makes the stranger's change, on condition that the store holds still, and returns
// what was there before; found is false if nothing was.
func (r *Runner) strike(ctx context.Context, op Op) (before *string, err error) {
	store := r.target.Store()
	const tries = 100
	for range tries {
		obj, body, err := r.object(ctx, op.Path)
		cond := backend.Cond{IfMatch: obj.ETag}
		before := &body
		switch {
		case errors.Is(err, backend.ErrNotExist):
			cond, before = backend.Cond{IfAbsent: true}, nil
		case errors.Is(err, backend.ErrChanged):
			continue
		case err != nil:
			return nil, err
		case obj.State == backend.Archived:
			body = unknown
		}
		if op.Verb == Delete {
			return before, errors.Join(store.Delete(ctx, op.Path), sweep(ctx, store, op.Path))
		}
		content := pattern(op.Fill, 0, op.N)
		_, err = store.Put(ctx, op.Path, io.NewSectionReader(strings.NewReader(content), 0, op.N), backend.PutOptions{Attrs: op.attrs(), Cond: cond})
		if !errors.Is(err, backend.ErrChanged) {
			return before, err
		}
	}
	return nil, fmt.Errorf("%q never holds still", op.Path)
}

// sweep deletes the indexes of directories that have nothing else any more, now that key is
// deleted: whoever removes a directory by another program removes all of it.
func sweep(ctx context.Context, store backend.Store, key string) error {
	for i := strings.LastIndexByte(key, '/'); i >= 0; i = strings.LastIndexByte(key[:i], '/') {
		var indexes []string
		for e, err := range store.List(ctx, key[:i+1], "", backend.ListOptions{}) {
			switch {
			case err != nil:
				return err
			case path.Base(e.Key) != attrIndex || strings.HasSuffix(e.Key, "/"):
				return nil
			}
			indexes = append(indexes, e.Key)
		}
		for _, index := range indexes {
			if err := store.Delete(ctx, index); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknown stands for archived bytes.
const unknown = "\x00archived"

// attrs are what the stranger's object carries.
func (op Op) attrs() backend.Attrs {
	if op.To == "" {
		return backend.Attrs{}
	}
	return backend.Attrs{
		Meta:   map[string]string{"author": op.To},
		Header: map[string]string{"content-type": "text/x-" + op.To, "cache-control": "max-age=60"},
	}
}

// foreign is the state of the object that a stranger puts.
func (op Op) foreign() state {
	a := op.attrs()
	return state{data: pattern(op.Fill, 0, op.N), meta: a.Meta, header: a.Header}
}

// struck takes a stranger's change of a key that has none of ours over into the view.
func (m *Model) struck(op Op) {
	old := m.view[op.Path]
	if old == nil && op.Verb == Delete {
		return
	}
	if old == nil {
		m.stale[op.Path] = append(slices.Clip(m.stale[op.Path]), nil)
	} else {
		was := old.now
		m.stale[op.Path] = append(slices.Clip(m.stale[op.Path]), &was)
		old.key, old.lost = "", true
		delete(m.view, op.Path)
	}
	if op.Verb == Put {
		f := &file{key: op.Path, now: op.foreign(), far: true}
		f.now.vague = m.tried[op.Path][f.now.data] || old != nil && old.now.data == f.now.data
		m.view[op.Path] = f
	}
}

// conflict lets a stranger change a key of which the mount may have a newer version, brings
// that to the store, and finds out what became of it: the stranger's object keeps the name,
// and our bytes are in the store too, unless they were there before him.
func (r *Runner) conflict(ctx context.Context, op Op) error {
	before, err := r.strike(ctx, op)
	if err != nil {
		return err
	}
	ours, renamed := r.model.view[op.Path], r.model.renamed[op.Path]
	if err := r.closeThose(func(f *file) bool { return f.key == op.Path }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.target.Drain(ctx); err != nil {
		return fmt.Errorf("drain of a conflict: %w", err)
	}
	r.model.drained()
	r.model.struck(op)
	if f := r.model.view[op.Path]; f != nil {
		// Bytes that were there before keep their ETag: ours may have replaced them.
		same := before != nil && *before == f.now.data
		f.now.vague = f.now.vague || same || renamed && renamesAreBlind
	}
	if err := r.outcome(ctx, op, ours, before); err != nil {
		return err
	}
	return r.compareStore(ctx)
}

// deletesAreBlind says that a name which was removed here, and is still in the store, is
// deleted there even if somebody replaced the object meanwhile.
const deletesAreBlind = true

// renamesAreBlind says that a file which was renamed here before it was sent replaces whatever
// is there, even if somebody else put it there meanwhile.
const renamesAreBlind = true

// outcome finds what the store made of ours, nil if we deleted it, and of the stranger's op,
// before which the store held before, nil if nothing.
func (r *Runner) outcome(ctx context.Context, op Op, ours *file, before *string) error {
	objects, err := r.list(ctx)
	if err != nil {
		return err
	}
	ourBytes := ""
	if ours != nil {
		ourBytes = ours.now.data + ours.now.target
	}
	needed := ours != nil && (before == nil || *before != ourBytes) && !strings.HasSuffix(op.Path, "/")
	if op.Verb == Delete && (!r.waits || r.sending) {
		needed = false // ours may have come just before, and was what the stranger deleted
	}
	if before != nil && *before == unknown {
		needed = false
	}
	if f := r.model.view[op.Path]; f != nil && f.now.vague {
		needed = false
		if err := r.adoptEither(ctx, op, ours); err != nil {
			return err
		}
	}
	switch _, there := objects[op.Path]; {
	case there && op.Verb == Delete && ours != nil: // nothing was in the way of ours
		r.model.view[op.Path] = &file{key: op.Path, now: ours.now}
		needed = false
	case !there && op.Verb == Put && ours == nil && deletesAreBlind:
		delete(r.model.view, op.Path)
	}
	for key := range objects {
		if r.model.view[key] != nil || !conflictCopy(key, op.Path) {
			continue
		}
		_, body, err := r.object(ctx, key)
		if err != nil {
			return err
		}
		if body == "" && strings.HasSuffix(op.Path, "/") { // the copy of a marker says nothing
			if err := r.target.Store().Delete(ctx, key); err != nil {
				return err
			}
			r.model.stale[key] = append(r.model.stale[key], &state{})
			continue
		}
		if ours == nil {
			continue
		}
		if body != ourBytes {
			return fmt.Errorf("the copy %q of a conflict has %s", key, differ(body, ourBytes))
		}
		needed = false
		r.model.view[key] = &file{key: key, now: ours.now}
		r.model.stale[key] = append(r.model.stale[key], nil)
	}
	if needed {
		return fmt.Errorf("what was written to %q here is lost: %d bytes that begin with %q", op.Path, len(ourBytes), excerpt(ourBytes, 0))
	}
	return nil
}

// adoptEither makes the stranger's object or ours, whichever the store has, that of the view.
func (r *Runner) adoptEither(ctx context.Context, op Op, ours *file) error {
	_, body, err := r.object(ctx, op.Path)
	switch {
	case errors.Is(err, backend.ErrNotExist), ours == nil:
		return nil
	case err == nil && body == ours.now.data+ours.now.target:
		f := &file{key: op.Path, now: ours.now}
		f.now.vague = true
		r.model.view[op.Path] = f
	}
	return err
}

// surplus reports whether key is a conflict copy of content that was ours once: one more than
// needed, which harms nobody.
func (m *Model) surplus(key, body string) bool {
	for original, contents := range m.tried {
		if contents[body] && conflictCopy(key, original) {
			return true
		}
	}
	return false
}

// conflictCopy reports whether copy is a name that the loser of a conflict over key gets.
func conflictCopy(copy, key string) bool {
	dir, stem := path.Split(key)
	copyDir, base := path.Split(copy)
	head, _, ok := strings.Cut(base, ".conflict-")
	return ok && copyDir == dir && strings.HasPrefix(stem, head)
}
