package fstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// cold is what an archive has made of an object. A mount shows an archived one as it is but for
// its bytes: what needs them gets EAGAIN, unless all of them are on this machine, which the
// Model cannot always know. Of what it then shows each byte must be right.
type cold uint8

const (
	online   cold = iota
	archived      // EAGAIN
	restored      // archived, with a copy that can be read
)

// archiveClass is the storage class that Archive moves objects to.
const archiveClass = "GLACIER"

// keepCopy is how long copies stay, unless they lapse: longer than a story.
const keepCopy = 72 * time.Hour

// shelve does op, of the archive: with files that the store has as the mount has them, after a
// drain if need be. The rest is for other stories.
func (r *Runner) shelve(ctx context.Context, op Op) error {
	if !r.model.canShelve(op.Path) {
		return nil
	}
	if r.model.busy(op.Path) {
		if err := r.drain(ctx); err != nil {
			return err
		}
	}
	f := r.model.view[op.Path]
	if !r.model.canShelve(op.Path) || f.now.cold != map[Verb]cold{Archive: f.now.cold, Thaw: archived, Lapse: restored}[op.Verb] {
		return nil
	}
	next, err := r.move(ctx, op)
	if errors.Is(err, backend.ErrNotExist) {
		return nil // a copy more than needed, which may be gone
	}
	if err != nil {
		return err
	}
	was := f.now
	r.model.stale[op.Path] = append(slices.Clip(r.model.stale[op.Path]), &was)
	f.now.cold = next
	if f.aside != nil {
		aside := *f.aside
		aside.cold, f.aside = next, &aside
	}
	return nil
}

// canShelve reports whether key is a file that nobody is writing.
func (m *Model) canShelve(key string) bool {
	f := m.view[key]
	return f != nil && !strings.HasSuffix(key, "/") && f.now.target == "" && f.certain() && f.writers == 0
}

// move carries op out in the store.
func (r *Runner) move(ctx context.Context, op Op) (cold, error) {
	store := r.target.Store()
	restorer, ok := store.(backend.Restorer)
	if !ok {
		return online, errors.New("the store has no archive")
	}
	switch op.Verb {
	case Thaw:
		return restored, restorer.Restore(ctx, op.Path, backend.RestoreOptions{Keep: keepCopy})
	case Lapse:
		return archived, restorer.Restore(ctx, op.Path, backend.RestoreOptions{Keep: time.Nanosecond})
	}
	obj, err := store.Head(ctx, op.Path)
	if err != nil || obj.State == backend.Archived {
		return archived, err
	}
	attrs := obj.Attrs
	attrs.Class = archiveClass
	_, err = store.(backend.Copier).Copy(ctx, obj, op.Path, backend.CopyOptions{Attrs: &attrs})
	return archived, err
}

// thawAll brings everything back, so that its bytes can be looked at.
func (r *Runner) thawAll(ctx context.Context) error {
	for key, f := range r.model.view {
		if f.now.cold != archived {
			continue
		}
		if err := r.shelve(ctx, Op{Verb: Thaw, Path: key}); err != nil {
			return fmt.Errorf("thaw %q: %w", key, err)
		}
	}
	return r.settle(ctx)
}

// putAside says that attributes of f change, which an archived object cannot take.
func (f *file) putAside() {
	if f.now.cold != online && f.aside == nil {
		stored := f.now
		f.aside = &stored
	}
}

// copied says that f has another name: its object is a new one, of the same class.
func (f *file) copied() {
	if f.now.cold == restored {
		f.now.cold, f.aside = archived, nil
	}
}

// forsake says that f loses its name: of archived bytes nobody has more than is here.
func (f *file) forsake() { f.lost = f.lost || f.now.cold == archived }

// uncached says that the mount's cache is gone, and with it what it alone knew.
func (m *Model) uncached() {
	for _, f := range m.view {
		f.far = true
		if f.aside != nil {
			f.now, f.aside = *f.aside, nil
		}
	}
}

// holdsCold reports whether n is, or a directory has, what the store cannot copy.
func (m *Model) holdsCold(n *node) bool {
	if !n.dir {
		return n.file.now.cold == archived
	}
	for key, f := range m.view {
		if strings.HasPrefix(key, n.key) && f.now.cold == archived {
			return true
		}
	}
	return false
}

// wants are the files whose archived bytes op needs, as far as the store knows of changes.
func (m *Model) wants(op Op) []*file {
	switch {
	case op.Verb == Rename:
		return m.wasCold(op.Path)
	case op.Verb == Open && !strings.Contains(op.Flags, "trunc"), op.Verb == Truncate && op.Off > 0:
	default:
		return nil
	}
	at, errno := m.tree().find(op.Path, true)
	if errno != 0 || at.node == nil || at.node.dir || at.node.file.now.cold != archived || at.node.file.now.data == "" {
		return nil
	}
	return []*file{at.node.file}
}

// wasCold are the files at or below path that are archived but for changes that nobody has
// closed yet.
func (m *Model) wasCold(path string) (files []*file) {
	at, errno := m.tree().find(path, false)
	if errno != 0 || at.node == nil {
		return nil
	}
	for key, f := range m.view {
		below := at.node.dir && strings.HasPrefix(key, at.node.key)
		if (below || f == at.node.file) && len(f.past) > 0 && f.past[0].cold == archived {
			files = append(files, f)
		}
	}
	return files
}

// unreadable reports whether errno is what programs may get that want the bytes of an archived
// file.
func (m *Model) unreadable(errno syscall.Errno) bool {
	return errno == syscall.EAGAIN || errno == syscall.EIO && m.faulty
}

// compareCold is for an object whose body cannot be asked for.
func (f *file) compareCold(obj backend.Object) error {
	want := f.now
	if f.aside != nil {
		want = *f.aside
	}
	state := map[cold]backend.State{online: backend.Online, archived: backend.Archived, restored: backend.Restored}[want.cold]
	switch {
	case !f.certain():
		return nil
	case obj.State != state:
		return fmt.Errorf("it is %v, want %v", obj.State, state)
	case want.cold != online && obj.Size != int64(len(want.data)):
		return fmt.Errorf("%d bytes, want %d", obj.Size, len(want.data))
	}
	return nil
}
