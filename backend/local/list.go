package local

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// List implements backend.Store. It reads one directory at a time, whole, as nothing else
// puts names in order; opts.PageSize does not matter. Objects lack Meta and Header, as
// those of S3 do.
func (s *store) List(ctx context.Context, prefix, after string, opts backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		if err := s.exists(); err != nil {
			yield(backend.Entry{}, s.wrap("list", prefix, err))
			return
		}
		if len(prefix) > maxKey || strings.Contains(prefix, "\x00") {
			return // no key begins like that, and no path can
		}
		i := strings.LastIndexByte(prefix, '/') + 1
		l := &lister{ctx: ctx, after: after, delimited: opts.Delimited, yield: yield, buf: make([]byte, headSize)}
		_, err := l.walk(dirPath(s.keys, prefix[:i]), prefix[:i], prefix[i:])
		if err != nil {
			yield(backend.Entry{}, s.wrap("list", prefix, err))
		}
	}
}

// A lister is one listing under way.
type lister struct {
	ctx       context.Context // of the List that it is part of
	after     string
	delimited bool
	yield     func(backend.Entry, error) bool
	buf       []byte // for readHeadInto
}

// walk yields what lies in dir, whose keys begin with lead, as far as the names behind
// lead begin with rest. It reports whether the consumer wants more.
func (l *lister) walk(dir, lead, rest string) (more bool, err error) {
	children, err := readLevel(dir, rest)
	if err != nil {
		return false, err
	}
	for _, c := range children {
		if err := l.ctx.Err(); err != nil {
			return false, err
		}
		key := lead + c.name
		switch {
		case !c.dir:
			more, err = l.object(filepath.Join(dir, c.file), key)
		case l.delimited:
			more, err = l.prefix(filepath.Join(dir, c.file), key)
		case l.after >= key && !strings.HasPrefix(l.after, key):
			more = true // all of its keys come before
		default:
			more, err = l.walk(filepath.Join(dir, c.file), key, "")
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (l *lister) object(path, key string) (more bool, err error) {
	if key <= l.after {
		return true, nil
	}
	rec, err := readHeadInto(path, l.buf)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil // deleted meanwhile
	case errors.Is(err, backend.ErrCorrupt):
		rec = &record{} // the key is there; Head and Get say what is wrong with it
	case err != nil:
		return false, err
	}
	obj := rec.object(time.Now())
	obj.Key, obj.Meta, obj.Header = key, nil, nil
	return l.yield(backend.Entry{Object: obj}, nil), nil
}

func (l *lister) prefix(dir, key string) (more bool, err error) {
	if key <= l.after {
		return true, nil
	}
	full, err := holdsRecord(dir)
	if err != nil || !full {
		return err == nil, err
	}
	return l.yield(backend.Entry{Object: backend.Object{Key: key}, Prefix: true}, nil), nil
}

// A child is a name in a level: the component of a key or, if dir is set, a component and
// the slash behind it. Ordered by name, children are in the order of the keys they lead to.
type child struct {
	name string
	file string // path below the level
	dir  bool
}

// readLevel returns the children of dir whose names begin with rest, in order. An absent
// dir has none.
func readLevel(dir, rest string) ([]child, error) {
	children, err := appendLevel(nil, dir, "", "", rest)
	slices.SortFunc(children, func(a, b child) int { return cmp.Compare(a.name, b.name) })
	return children, err
}

// appendLevel appends the children in the directory sub below dir, whose components begin
// with lead. Directories that hold the rest of over-long components are part of the level.
func appendLevel(children []child, dir, sub, lead, rest string) ([]child, error) {
	names, err := readNames(filepath.Join(dir, sub))
	if err != nil {
		return children, ignoreAbsent(err)
	}
	for _, file := range names {
		name, kind, ok := parseName(file)
		if !ok {
			continue
		}
		if lead != "" {
			name = lead + name
		}
		if sub != "" {
			file = sub + "/" + file
		}
		if kind == isMore {
			if children, err = appendLevel(children, dir, file, name, rest); err != nil {
				return children, err
			}
			continue
		}
		if kind == isDir {
			name += "/"
		}
		if strings.HasPrefix(name, rest) {
			children = append(children, child{name: name, file: file, dir: kind == isDir})
		}
	}
	return children, nil
}

// holdsRecord reports whether there is a record in dir or below. A directory may be empty
// for a moment, or for longer after a crash; mostly the first name in it is the answer.
func holdsRecord(dir string) (bool, error) {
	f, err := openDir(dir)
	if err != nil {
		return false, ignoreAbsent(err)
	}
	defer f.Close() // read-only: nothing to lose
	var dirs []string
	for {
		names, err := f.Readdirnames(64)
		if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, recordSuffix) }) {
			return true, nil
		}
		dirs = append(dirs, names...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
	}
	for _, name := range dirs {
		if full, err := holdsRecord(filepath.Join(dir, name)); full || err != nil {
			return full, err
		}
	}
	return false, nil
}
