package fstest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A sight is what a user sees at one path.
type sight struct {
	dir, listedDir bool  // by stat and by readdir
	size           int64 // of a file, by stat
	blocks         int64 // of a file, by stat
	state
	err error // the file cannot be read: a reader of it gets this
}

// walk looks at everything below dir: names by readdir, attributes by lstat, contents,
// link targets and extended attributes.
func walk(dir string) (map[string]sight, error) {
	seen := map[string]sight{}
	var visit func(prefix string) error
	visit = func(prefix string) error {
		entries, err := os.ReadDir(filepath.Join(dir, prefix))
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, err)
		}
		for _, e := range entries {
			path := prefix + e.Name()
			s, err := see(filepath.Join(dir, path))
			if errors.Is(err, fs.ErrNotExist) {
				continue // a stale listing; what must be there is missed later
			}
			if err != nil {
				return fmt.Errorf("look at %q: %w", path, err)
			}
			s.listedDir = e.IsDir()
			seen[path] = s
			if s.dir {
				if err := visit(path + "/"); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	}
	return seen, visit("")
}

// see looks at one path.
func see(path string) (sight, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return sight{}, err
	}
	s := sight{dir: fi.IsDir(), size: fi.Size()}
	s.mode = fi.Sys().(*syscall.Stat_t).Mode & 0o7777
	s.blocks = fi.Sys().(*syscall.Stat_t).Blocks
	s.mtime = fi.ModTime()
	switch fi.Mode().Type() {
	case os.ModeDir:
		return s, nil
	case os.ModeSymlink:
		s.target, err = os.Readlink(path)
		return s, err
	case 0:
		var data []byte
		if data, s.err = os.ReadFile(path); errors.Is(s.err, fs.ErrNotExist) {
			return s, s.err
		}
		s.data = string(data)
		s.xattrs, err = xattrs(path)
		return s, err
	}
	return s, fmt.Errorf("a file of type %v", fi.Mode().Type())
}

func xattrs(path string) (map[string]string, error) {
	list, value := make([]byte, 4096), make([]byte, 4096)
	n, err := syscall.Listxattr(path, list)
	if err != nil {
		return nil, fmt.Errorf("listxattr: %w", err)
	}
	all := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		n, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("getxattr %s: %w", name, err)
		}
		all[name] = string(value[:n])
	}
	return all, nil
}

// mismatch says how s differs from want; "" if it does not. An archived file may be
// unreadable.
func (s sight) mismatch(want state, unreadable func(syscall.Errno) bool) string {
	stub := want.cold == archived && want.data != "" && s.err != nil && unreadable(errnoOf(s.err))
	switch {
	case s.target != want.target:
		return fmt.Sprintf("link to %q, want %q", s.target, want.target)
	case want.target != "":
		return ""
	case s.err != nil && !stub:
		return fmt.Sprintf("read: %v", s.err)
	case !stub && s.data != want.data:
		return differ(s.data, want.data)
	case s.size != int64(len(want.data)):
		return fmt.Sprintf("stat says %d bytes, want %d", s.size, len(want.data))
	case want.cold == archived && want.data != "" && s.blocks == 0:
		return "a stub without blocks, which tar takes for a hole"
	case !want.vague && !maps.Equal(s.xattrs, want.allXattrs()):
		return fmt.Sprintf("xattrs %q, want %q", s.xattrs, want.allXattrs())
	}
	return s.mismatchAttrs(want)
}

// allXattrs are those that users set and foreign metadata, which can be read as such.
func (s state) allXattrs() map[string]string {
	all := map[string]string{}
	for name, value := range s.meta {
		all["user."+name] = value
	}
	maps.Copy(all, s.xattrs)
	return all
}

// mismatchAttrs compares what directories have too.
func (s sight) mismatchAttrs(want state) string {
	mode := cmp.Or(want.mode, defaultFileMode)
	if s.dir {
		mode = cmp.Or(want.mode, defaultDirMode)
	}
	switch {
	case want.vague:
		return ""
	case s.mode != mode:
		return fmt.Sprintf("mode %04o, want %04o", s.mode, mode)
	case !want.mtime.IsZero() && !s.mtime.Equal(want.mtime):
		return fmt.Sprintf("mtime %v, want %v", s.mtime.UTC().Format(time.RFC3339Nano), want.mtime.UTC().Format(time.RFC3339Nano))
	}
	return ""
}

// Compare holds what is seen against the model.
func (m *Model) Compare(seen map[string]sight) error {
	want := map[string]*node{}
	m.tree().each("", func(path string, n *node) { want[path] = n })
	for _, path := range slices.Sorted(maps.Keys(want)) {
		s, ok := seen[path]
		if err := m.compareNode(want[path], s, ok); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(seen)) {
		if want[path] == nil && !m.hazyPath(path) && !m.surplus(path, seen[path].data) {
			return fmt.Errorf("%q is there and should not be", path)
		}
	}
	return nil
}

func (m *Model) compareNode(n *node, s sight, there bool) error {
	if there && n.file != nil && s.err == nil && m.hazy(n.key) {
		n.file.far = false
	}
	hazy := m.hazy(n.key)
	switch {
	case !there && hazy:
		return nil
	case !there:
		return errors.New("missing")
	case hazy:
		return m.compareHazy(n, s)
	case s.dir != n.dir:
		return fmt.Errorf("directory: %v, want %v", s.dir, n.dir)
	case s.listedDir != n.dir:
		return fmt.Errorf("directory by readdir: %v, want %v", s.listedDir, n.dir)
	case n.dir && n.file == nil:
		return nil
	}
	diff := ""
	switch {
	case strings.HasSuffix(n.key, "/") && n.file.now.data != "": // two in one: attributes are of either
		if !n.dir && s.data != n.file.now.data {
			diff = differ(s.data, n.file.now.data)
		}
	case n.dir:
		diff = s.mismatchAttrs(n.file.now)
	case n.file.far && n.file.now.cold == archived && n.file.now.data != "" && s.err == nil:
		diff = "it was read, though the bytes are archived and were never here"
	default:
		diff = s.mismatch(n.file.now, m.unreadable)
	}
	if diff != "" {
		return errors.New(diff)
	}
	if n.file != nil && s.err == nil {
		n.file.far = false
	}
	return nil
}

// compareHazy allows any version of a file that can still be remembered, but no mixture.
func (m *Model) compareHazy(n *node, s sight) error {
	if s.dir || n.dir || s.target != "" || s.err != nil {
		return nil
	}
	versions := m.stale[n.key]
	if n.file != nil {
		versions = append(slices.Clip(versions), &n.file.now)
	}
	for _, v := range versions {
		if v != nil && v.data == s.data {
			return nil
		}
	}
	return fmt.Errorf("%d bytes that begin with %q are no version there was", len(s.data), excerpt(s.data, 0))
}

// hazyPath is hazy for a path that nothing should be at.
func (m *Model) hazyPath(path string) bool {
	comps := strings.Split(path, "/")
	for i, name := range comps {
		comps[i], _ = component(strings.TrimPrefix(name, "%thaw-file-"), true)
	}
	return m.hazy(strings.TrimSuffix(strings.Join(comps, "/"), "/%thaw-data"))
}
