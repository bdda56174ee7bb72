package entries

import (
	"maps"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// A listing is the content of one level. Base is what Dir has handed out and never changes;
// what is put in or removed lies in changed until Dir is called again or it outgrows base, so
// that many changes of a large level cost little each.
type listing struct {
	base    []backend.Entry           // ascending, unique
	changed map[string]*backend.Entry // over base, by key; nil is removed
	n       int                       // entries
}

// entries returns the content in byte order. The slice is not changed later.
func (l *listing) entries() []backend.Entry {
	if len(l.changed) == 0 {
		return l.base
	}
	merged := make([]backend.Entry, 0, l.n)
	rest := l.base
	for _, key := range slices.Sorted(maps.Keys(l.changed)) {
		i, same := search(rest, key)
		merged = append(merged, rest[:i]...)
		if same {
			i++
		}
		rest = rest[i:]
		if e := l.changed[key]; e != nil {
			merged = append(merged, *e)
		}
	}
	l.base, l.changed = append(merged, rest...), nil
	return l.base
}

func (l *listing) get(key string) (backend.Entry, bool) {
	if e, ok := l.changed[key]; ok {
		if e == nil {
			return backend.Entry{}, false
		}
		return *e, true
	}
	i, ok := search(l.base, key)
	if !ok {
		return backend.Entry{}, false
	}
	return l.base[i], true
}

// other reports whether the name of key is listed, and is the other of file and directory: then
// the name exists, and what it is counts as an attribute and not as an absence.
func (l *listing) other(key string) bool {
	name, dir := strings.CutSuffix(key, "/")
	if !dir {
		name += "/"
	}
	e, listed := l.get(name)
	return listed && e.Prefix != dir
}

// insert makes the listing of level show obj, which is below it.
func (l *listing) insert(level string, obj backend.Object) {
	key, prefix := shown(level, obj.Key)
	_, listed := l.get(key)
	if prefix && listed {
		return
	}
	e := backend.Entry{Object: obj}
	if prefix {
		e = backend.Entry{Object: backend.Object{Key: key}, Prefix: true}
	}
	if !listed {
		l.n++
	}
	l.change(key, &e)
}

func (l *listing) remove(key string) {
	if _, listed := l.get(key); listed {
		l.n--
		l.change(key, nil)
	}
}

func (l *listing) change(key string, e *backend.Entry) {
	if l.changed == nil {
		l.changed = make(map[string]*backend.Entry)
	}
	l.changed[key] = e
	if len(l.changed) > len(l.base)+1000 {
		l.entries()
	}
}

// weight is what the listing counts for in the capacity.
func (l *listing) weight() int { return 1 + len(l.base) + len(l.changed) }

func search(entries []backend.Entry, key string) (int, bool) {
	return slices.BinarySearchFunc(entries, key, func(e backend.Entry, key string) int {
		return strings.Compare(e.Key, key)
	})
}
