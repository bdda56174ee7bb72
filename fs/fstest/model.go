package fstest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A state is all that a file shows at one moment. States are never changed.
type state struct {
	data   string
	target string // of a symbolic link; makes it one
	mode   uint32 // permission bits; 0: nobody set them, the mount's default
	// mtime is zero when nobody set it: it is not compared then.
	mtime  time.Time
	xattrs map[string]string
	meta   map[string]string // foreign metadata, to be kept in the store
	header map[string]string
	// vague says that attributes are not known: a stranger's object has the bytes of one of
	// ours. Stores tell versions of equal bytes apart by the second.
	vague bool
	cold  cold // what an archive has made of the object
}

// A file is an object as this mount must see it, or what remains of one for those who have
// it open. The marker of a directory is a file too.
type file struct {
	key string // "" once it has no name
	now state

	// past holds the states since the last one that is kept for certain, that one
	// included. It is empty when now is. The store, and a crash, may show any of these.
	past []state
	// born says that none of past is certain: the file may be absent after a crash.
	born bool
	// over is what a rename of this file replaced before it was kept.
	over *file

	writers int  // handles open for writing
	lost    bool // a stranger replaced what the readers of this file have open, or nobody has it any more

	far bool // nothing of it has been on this machine
	// aside is what the store has of an archived object whose attributes were changed here.
	aside *state
}

// change makes a new state of f by fn. It is kept once f is committed.
func (f *file) change(fn func(*state)) {
	const remembered = 32
	if len(f.past) < remembered {
		f.past = append(slices.Clip(f.past), f.now)
	}
	next := f.now
	next.xattrs = maps.Clone(next.xattrs)
	fn(&next)
	f.now = next
}

// rewrite is change for what makes new bytes of f: they are online, and here.
func (f *file) rewrite(fn func(*state)) {
	f.change(func(s *state) { fn(s); s.cold = online })
	f.far = false
}

// commit says that now survives whatever happens.
func (f *file) commit() {
	f.past, f.born, f.over = nil, false, nil
	if f.now.cold == online {
		f.aside = nil
	}
}

// certain reports whether only one state can be found.
func (f *file) certain() bool { return len(f.past) == 0 && !f.born }

// possible are the states that may be found after a crash or in the store, newest first.
func (f *file) possible() []state {
	all := []state{f.now}
	for _, s := range slices.Backward(f.past) {
		all = append(all, s)
	}
	if f.over != nil {
		all = append(all, f.over.possible()...)
	}
	return all
}

// mayMiss reports whether the file may be absent after a crash.
func (f *file) mayMiss() bool { return f.born && (f.over == nil || f.over.mayMiss()) }

// A handle is an open file.
type handle struct {
	f                   *file
	read, write, append bool
}

// A Model is what a mount must show and its store must hold.
type Model struct {
	view    map[string]*file // by key: the store as the mount must see it
	handles [Slots]*handle
	// unsent are keys that this mount changed and whose change the store need not have yet.
	unsent map[string]bool
	// stale are earlier states, nil for absence, of keys that strangers have changed and
	// that the mount may still show.
	stale map[string][]*state
	// tried are the contents that the mount may have sent as each key.
	tried map[string]map[string]bool
	// renamed are keys that something unsent was renamed to; see renamesAreBlind.
	renamed map[string]bool
	umask   uint32
	// faulty says that requests have failed: a retrieval that did is not begun again for a while.
	faulty bool
}

// NewModel is that of an empty bucket, for users with this umask.
func NewModel(umask uint32) *Model {
	return &Model{
		view: map[string]*file{}, unsent: map[string]bool{}, stale: map[string][]*state{},
		tried: map[string]map[string]bool{}, renamed: map[string]bool{}, umask: umask,
	}
}

// clone returns a copy that shares nothing that changes.
func (m *Model) clone() *Model {
	c := &Model{view: map[string]*file{}, unsent: maps.Clone(m.unsent), stale: maps.Clone(m.stale), tried: m.tried, renamed: maps.Clone(m.renamed), umask: m.umask, faulty: m.faulty}
	copies := map[*file]*file{nil: nil}
	var copyOf func(f *file) *file
	copyOf = func(f *file) *file {
		if known, ok := copies[f]; ok {
			return known
		}
		dup := *f
		copies[f] = &dup
		dup.over = copyOf(f.over)
		dup.past = slices.Clone(f.past)
		return &dup
	}
	for key, f := range m.view {
		c.view[key] = copyOf(f)
	}
	for i, h := range m.handles {
		if h != nil {
			dup := *h
			dup.f = copyOf(h.f)
			c.handles[i] = &dup
		}
	}
	return c
}

// put gives f its key in the view.
func (m *Model) put(key string, f *file) {
	f.key = key
	m.view[key] = f
	m.unsent[key] = true
}

// drop takes the name of a key away.
func (m *Model) drop(key string) {
	if f := m.view[key]; f != nil {
		f.key = ""
	}
	delete(m.view, key)
	m.unsent[key] = true
}

// keep makes sure that a directory of which something was taken stays, also when strangers
// take the rest.
func (m *Model) keep(dir *node) {
	if dir.key != "" && m.view[dir.key] == nil {
		m.put(dir.key, &file{})
	}
}

// note remembers what may be sent now.
func (m *Model) note() {
	for key := range m.unsent {
		f := m.view[key]
		if f == nil {
			continue
		}
		if m.tried[key] == nil {
			m.tried[key] = map[string]bool{}
		}
		m.tried[key][f.now.data+f.now.target] = true
	}
}

// touched says that names in dir changed: its time is another now.
func (m *Model) touched(dir *node) {
	if f := m.view[dir.key]; dir.key != "" && f != nil {
		f.now.mtime = time.Time{}
	}
}

// Modes of what carries none, and of what users open.
const (
	defaultFileMode = 0o644
	defaultDirMode  = 0o755
)

// forget says that time has passed or that nothing is remembered: strangers' changes show.
func (m *Model) forget() { clear(m.stale) }

// drained says that the store has everything.
func (m *Model) drained() {
	clear(m.unsent)
	clear(m.renamed)
}

// hazy reports whether a stranger changed what path key, or a directory of that name, or
// anything in it stands for, so recently that the mount need not show it.
func (m *Model) hazy(key string) bool {
	key = strings.TrimSuffix(key, "/")
	for k := range m.stale {
		k = strings.TrimSuffix(k, "/")
		if k == key || strings.HasPrefix(k, key+"/") || strings.HasPrefix(key, k+"/") {
			return true
		}
	}
	return false
}
