package fstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pgregory.net/rapid"
)

// A Pair are two mounts of one store whose users write to the same names. What each sees of
// the other is old or new, so there is no model of the tree; the promise is that nothing is
// lost: what was written can be found in the store at the end, whole, under its name or that
// of a conflict copy, unless somebody who could see it replaced or removed it.
//
// The mounts must send only when drained (Setup.Delay), so that it is known who could see what.
type Pair struct {
	blind   [2]map[string]bool // names that a mount removed and whose deletion waits; see deletesAreBlind
	targets [2]Target
	at      int // which of them acts
	step    int
	wrote   []*writing
}

// A writing is the content of one file that was written and closed.
type writing struct {
	by, step int
	content  string
	keys     map[string]bool // under which it may be
	stored   bool
	excused  bool // somebody who could see it replaced or removed it
}

// RunPair executes s, of which Mount says where each operation happens, on two mounts of
// one store that is empty.
func RunPair(ctx context.Context, a, b Target, s Story) error {
	p := &Pair{targets: [2]Target{a, b}, blind: [2]map[string]bool{{}, {}}}
	for i, op := range s.Ops {
		p.step = i
		if err := p.do(ctx, op); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, op, err)
		}
	}
	return p.finish(ctx)
}

func (p *Pair) do(ctx context.Context, op Op) error {
	t := p.targets[p.at]
	path := func(name string) string { return filepath.Join(t.Dir(), name) }
	switch op.Verb {
	case Mount:
		p.at = op.H % 2
	case Drain:
		return p.drain(ctx, p.at)
	case Wait:
		return wait(ctx, t)
	case Remount: // which sends what waits, without delay
		if err := p.drain(ctx, p.at); err != nil {
			return err
		}
		return t.Remount(false)
	case Save:
		return p.save(path(op.Path), op)
	case Unlink:
		return p.took(syscall.Unlink(path(op.Path)), op.Path, "")
	case Rename:
		return p.took(syscall.Rename(path(op.Path), path(op.To)), op.Path, op.To)
	case Mkdir:
		return harmless(syscall.Mkdir(path(op.Path), op.Mode))
	case Rmdir:
		return harmless(syscall.Rmdir(path(op.Path)))
	case Chmod:
		return harmless(syscall.Chmod(path(op.Path), op.Mode))
	}
	return nil
}

// harmless are errors that programs meet when others change what they work on.
func harmless(err error) error {
	for _, errno := range []error{nil, syscall.EINTR, syscall.ENOENT, syscall.EEXIST, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.ESTALE, syscall.EINVAL} {
		if errors.Is(err, errno) {
			return nil
		}
	}
	return err
}

// save writes a file whose content tells the step.
func (p *Pair) save(path string, op Op) error {
	content := p.content(op.N)
	if err := os.WriteFile(path, []byte(content), defaultFileMode); err != nil {
		return harmless(err)
	}
	p.excuse(op.Path)
	delete(p.blind[p.at], op.Path)
	p.wrote = append(p.wrote, &writing{by: p.at, step: p.step, content: content, keys: map[string]bool{op.Path: true}})
	return nil
}

// content is n bytes, but enough to be like no other.
func (p *Pair) content(n int64) string {
	unit := fmt.Sprintf("<%d by %d>", p.step+1, p.at)
	return strings.Repeat(unit, 1+int(n)/len(unit))
}

// took says that the acting mount moved the name from to to, or removed it if that is empty.
func (p *Pair) took(err error, from, to string) error {
	if err != nil || from == to {
		return harmless(err)
	}
	p.blind[p.at][from] = true
	if to == "" {
		p.excuse(from)
		return nil
	}
	delete(p.blind[p.at], to)
	p.excuse(to)
	for _, w := range p.wrote {
		for key := range w.keys {
			if rest, ok := strings.CutPrefix(key+"/", from+"/"); ok {
				p.blind[p.at][key] = true
				w.keys[strings.TrimSuffix(to+"/"+rest, "/")] = true
			}
		}
	}
	return nil
}

// excuse says that the acting mount replaced or removed what it sees at key.
func (p *Pair) excuse(key string) {
	for _, w := range p.wrote {
		if w.keys[key] && (w.by == p.at || w.stored) {
			w.excused = true
		}
	}
}

func (p *Pair) drain(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.targets[i].Drain(ctx); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	for _, w := range p.wrote {
		for key := range w.keys {
			w.excused = w.excused || deletesAreBlind && w.stored && p.blind[i][key]
		}
		w.stored = w.stored || w.by == i
	}
	clear(p.blind[i])
	return nil
}

// finish drains both, looks for everything written, and compares what both show.
func (p *Pair) finish(ctx context.Context) error {
	for i := range p.targets {
		if err := p.drain(ctx, i); err != nil {
			return err
		}
	}
	store := p.targets[0].Store()
	objects, err := listAll(ctx, store)
	if err != nil {
		return err
	}
	m := NewModel(0)
	found := map[string]bool{}
	for key := range objects {
		_, body, err := readObject(ctx, store, key)
		if err != nil {
			return err
		}
		if body != "" && !slices.ContainsFunc(p.wrote, func(w *writing) bool { return w.content == body }) {
			return fmt.Errorf("the store's %q holds what nobody wrote: %d bytes that begin with %q", key, len(body), excerpt(body, 0))
		}
		found[body] = true
		m.view[key] = &file{key: key, now: state{data: body}}
	}
	for _, w := range p.wrote {
		if !w.excused && !found[w.content] {
			return fmt.Errorf("what step %d wrote is lost; the store has %d objects", w.step+1, len(objects))
		}
	}
	if err := noUploads(ctx, store); err != nil {
		return err
	}
	return p.compare(ctx, m)
}

// compare looks whether both mounts show what the store has.
func (p *Pair) compare(ctx context.Context, m *Model) error {
	for i, t := range p.targets {
		if err := wait(ctx, t); err != nil {
			return err
		}
		seen, err := walk(t.Dir())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for path, s := range seen { // of attributes nothing is promised here
			s.mode, s.xattrs = defaultFileMode, nil
			if s.dir {
				s.mode = defaultDirMode
			}
			seen[path] = s
		}
		if err := m.Compare(seen); err != nil {
			return fmt.Errorf("mount %d at the end: %w", i, err)
		}
	}
	return nil
}

// PairStories draws stories for two mounts, of at most n operations.
func PairStories(n int) *rapid.Generator[Story] {
	verbs := weighted(map[Verb]int{
		Mount: 20, Save: 30, Unlink: 7, Rename: 15, Mkdir: 5, Rmdir: 3, Chmod: 4, Drain: 12, Wait: 6, Remount: 2,
	})
	return rapid.Custom(func(t *rapid.T) Story {
		least := pick(t, []int{1, n / 2, n / 4, n * 3 / 4})
		ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Op { return drawOp(t, verbs) }), least, n).Draw(t, "ops")
		s := Story{Setup: setups(t), Ops: ops}
		s.Delay, s.LongTTL = time.Hour, false
		return s
	})
}
