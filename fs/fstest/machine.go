package fstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// patience bounds a drain: faults of a story are few, so that retries end soon.
const patience = 2 * time.Minute

// machine does op, of the machine.
func (r *Runner) machine(ctx context.Context, op Op) error {
	switch op.Verb {
	case Wait:
		return r.wait(ctx)
	case Drain:
		return r.drain(ctx)
	case Remount:
		return r.remount()
	case Fresh:
		return r.fresh(ctx)
	case Crash:
		return r.crash()
	case Look:
		return r.compare()
	}
	r.broken, r.model.faulty = true, true
	r.target.Fault(Fault{Op: op.Path, Times: int(op.N), Kind: op.To})
	return nil
}

// wait lets pass the time after which the mount must show what strangers did, if there is
// such a time.
func (r *Runner) wait(ctx context.Context) error {
	if r.target.Patience() == 0 {
		return nil
	}
	err := wait(ctx, r.target)
	if err == nil {
		r.model.forget()
	}
	return err
}

func wait(ctx context.Context, t Target) error {
	timer := time.NewTimer(t.Patience())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle makes the mount know what strangers did before something depends on it.
func (r *Runner) settle(ctx context.Context) error {
	switch {
	case len(r.model.stale) == 0:
		return nil
	case r.target.Patience() == 0:
		return r.remount()
	}
	return r.wait(ctx)
}

// drain sends everything and holds the store against the model.
func (r *Runner) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.target.Drain(ctx); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	r.model.drained()
	r.sending = false
	return r.compareStore(ctx)
}

func (r *Runner) remount() error {
	if err := r.closeAll(); err != nil {
		return err
	}
	r.model.forget()
	r.sending = true
	return r.target.Remount(false)
}

func (r *Runner) fresh(ctx context.Context) error {
	if err := errors.Join(r.closeAll(), r.drain(ctx)); err != nil {
		return err
	}
	if err := r.compareUploads(ctx); err != nil {
		return err
	}
	r.model.forget()
	r.model.uncached()
	return r.target.Remount(true)
}

// crash kills the mount and adopts what is left of files that were not closed.
func (r *Runner) crash() error {
	if err := r.target.Crash(); err != nil {
		return err
	}
	r.sending = true
	r.target.Heal()
	r.closeFiles()
	r.model.handles = [Slots]*handle{}
	r.model.forget()
	for path, n := range r.model.files() {
		f := n.file
		f.writers = 0
		if f.certain() {
			continue
		}
		s, err := see(r.path(path))
		if errors.Is(err, fs.ErrNotExist) && f.mayMiss() {
			r.model.drop(f.key)
			continue
		}
		if err != nil {
			return fmt.Errorf("%q, which was not closed: %w", path, err)
		}
		if err := f.adopt(s, r.model.unreadable); err != nil {
			return fmt.Errorf("%q, which was not closed: %w", path, err)
		}
	}
	return r.compare()
}

// files are the nodes of all files by path.
func (m *Model) files() map[string]*node {
	all := map[string]*node{}
	m.tree().each("", func(path string, n *node) {
		if !n.dir {
			all[path] = n
		}
	})
	return all
}

// adopt makes what is seen of a file the truth, if it is possible.
func (f *file) adopt(s sight, unreadable func(syscall.Errno) bool) error {
	var diffs []string
	for _, st := range f.possible() {
		diff := s.mismatch(st, unreadable)
		if diff == "" {
			f.now = st
			f.commit()
			return nil
		}
		diffs = append(diffs, diff)
	}
	return fmt.Errorf("is no state it had: %s", strings.Join(diffs, "; "))
}

// compareStore holds the store, to which nothing is to be sent any more, against the model.
func (r *Runner) compareStore(ctx context.Context) error {
	objects, err := r.list(ctx)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(r.model.view)) {
		f := r.model.view[key]
		obj, body, err := r.object(ctx, key)
		if cold := f.compareCold(obj); err == nil && cold != nil {
			return fmt.Errorf("the store's %q: %w", key, cold)
		}
		switch {
		case err == nil && obj.State == backend.Archived: // no more can be known
		case errors.Is(err, backend.ErrNotExist) && (f.mayMiss() || r.model.needless(key)):
		case err != nil:
			return fmt.Errorf("the store: %w", err)
		default:
			if err := f.compareObject(obj, body); err != nil {
				return fmt.Errorf("the store's %q: %w", key, err)
			}
		}
		delete(objects, key)
	}
	for key := range objects {
		if strings.HasSuffix(key, "/") && objects[key].Size == 0 && r.model.has(key) {
			continue // a marker more than needed
		}
		if _, body, err := r.object(ctx, key); err == nil && r.model.surplus(key, body) {
			r.model.view[key] = &file{key: key, now: state{data: body, vague: true}}
			r.model.stale[key] = append(r.model.stale[key], nil)
			continue
		}
		return fmt.Errorf("the store has %q, %d bytes, which nobody made", key, objects[key].Size)
	}
	return nil
}

// needless reports whether key is the marker of a directory that other keys make exist, made
// by no user: the mount need not store it.
func (m *Model) needless(key string) bool {
	f := m.view[key]
	if !strings.HasSuffix(key, "/") || f.now.mode != 0 {
		return false
	}
	for k := range m.view {
		if k != key && strings.HasPrefix(k, key) {
			return f.now.data == "" && f.now.mtime.IsZero()
		}
	}
	return false
}

// has reports whether dir, which ends in "/", is a directory.
func (m *Model) has(dir string) bool {
	for key := range m.view {
		if strings.HasPrefix(key, dir) {
			return true
		}
	}
	return false
}

func (f *file) compareObject(obj backend.Object, body string) error {
	var diffs []string
	for _, s := range f.possible() {
		want := s.data
		if s.target != "" {
			want = s.target
		}
		switch {
		case body != want:
			diffs = append(diffs, differ(body, want))
		case s.vague:
			return nil
		case !contains(obj.Meta, s.meta):
			diffs = append(diffs, fmt.Sprintf("metadata %q lack %q", obj.Meta, s.meta))
		case !contains(obj.Header, s.header) && !strings.HasSuffix(obj.Key, "/"): // a marker's type says that it is one
			diffs = append(diffs, fmt.Sprintf("headers %q lack %q", obj.Header, s.header))
		default:
			return nil
		}
	}
	return errors.New(strings.Join(diffs, "; "))
}

func contains(all, some map[string]string) bool {
	for name, value := range some {
		if got, ok := all[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func (r *Runner) list(ctx context.Context) (map[string]backend.Object, error) {
	return listAll(ctx, r.target.Store())
}

// attrIndex is the name of objects that the mount keeps for itself.
const attrIndex = ".thawfs-attrs"

func listAll(ctx context.Context, store backend.Store) (map[string]backend.Object, error) {
	all := map[string]backend.Object{}
	for e, err := range store.List(ctx, "", "", backend.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		if path.Base(e.Key) == attrIndex && !strings.HasSuffix(e.Key, "/") {
			continue
		}
		all[e.Key] = e.Object
	}
	return all, nil
}

// object reads one object whole, unless it is archived.
func (r *Runner) object(ctx context.Context, key string) (backend.Object, string, error) {
	return readObject(ctx, r.target.Store(), key)
}

func readObject(ctx context.Context, store backend.Store, key string) (backend.Object, string, error) {
	obj, err := store.Head(ctx, key)
	if err != nil || !obj.State.Readable() {
		return obj, "", err
	}
	body, err := store.Get(ctx, key, obj.ETag, 0, -1)
	if err != nil {
		return obj, "", err
	}
	b, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err == nil && int64(len(b)) != obj.Size {
		err = fmt.Errorf("%q has %d bytes, %d by its attributes", key, len(b), obj.Size)
	}
	return obj, string(b), err
}

// compareUploads finds uploads that nobody will finish.
func (r *Runner) compareUploads(ctx context.Context) error {
	return noUploads(ctx, r.target.Store())
}

func noUploads(ctx context.Context, store backend.Store) error {
	parts, ok := store.(backend.PartUploader)
	if !ok {
		return nil
	}
	for up, err := range parts.Uploads(ctx, "") {
		if err != nil {
			return err
		}
		return fmt.Errorf("an upload of %q is left unfinished", up.Key)
	}
	return nil
}
