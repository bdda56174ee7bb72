package fs

import (
	"context"
	"iter"
	"slices"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
)

// A dirHandle is an open directory. It reads the store's listing in batches as the kernel
// asks for names, so the first names of a million-key directory come at once.
//
// The kernel wants attributes with the names (READDIRPLUS). Listings do not carry the
// metadata that hold them: what is not remembered is asked for a batch at a time, in
// parallel.
type dirHandle struct {
	d        *dirNode
	at       backend.Ref
	list     *lister
	next     func() (backend.Entry, error, bool)
	stop     func()
	index    *attrindex.Index // nil until it is needed, and if there is none
	indexAsk bool             // it was asked for

	pending []dirEntry       // produced, not yet read
	heads   []found          // objects that the newest name begins with, shortest first
	batch   map[string]found // by element: what Lookup answers from
	bare    bool             // batch still lacks metadata
	batches int              // that were completed
	pos     uint64           // entries read; the offset of the last one
	end     bool
}

// dirEntry is one name and what it stands for.
type dirEntry struct {
	name string
	fd   found
}

const (
	dirBatch    = 256 // entries
	dirRequests = 64  // HEADs at once
)

var (
	_ fusefs.FileReaddirenter   = (*dirHandle)(nil)
	_ fusefs.FileLookuper       = (*dirHandle)(nil)
	_ fusefs.FileSeekdirer      = (*dirHandle)(nil)
	_ fusefs.FileReleasedirer   = (*dirHandle)(nil)
	_ fusefs.FileFsyncdirer     = (*dirHandle)(nil)
	_ fusefs.NodeOpendirHandler = (*dirNode)(nil)
)

func (d *dirNode) OpendirHandle(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	at, ok := d.ref()
	if !ok {
		return nil, 0, syscall.ENOENT
	}
	return &dirHandle{d: d, at: at}, 0, 0
}

// rewind begins the listing anew. The request's context ends with the request, a listing
// lives longer: it is ended by Releasedir.
func (h *dirHandle) rewind() {
	h.Releasedir(context.Background(), 0)
	h.list = newLister(h.d.fs, h.at)
	h.next, h.stop = iter.Pull2(h.list.all(context.Background()))
	h.index, h.indexAsk, h.batches = nil, false, 0
	dots := found{dir: true}
	h.pending = []dirEntry{{".", dots}, {"..", dots}}
	h.heads, h.pos, h.end = nil, 0, false
}

// Readdirent returns the next name, or nil at the end.
func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if h.next == nil {
		h.rewind()
	}
	if len(h.pending) == 0 {
		if err := h.fill(); err != nil {
			return nil, h.d.fs.errno("readdir", h.at, err)
		}
	}
	if len(h.pending) == 0 {
		return nil, 0
	}
	e := h.pending[0]
	h.pending = h.pending[1:]
	h.pos++
	return &fuse.DirEntry{Name: e.name, Mode: h.typeOf(e), Ino: h.inoOf(e), Off: h.pos}, 0
}

// fill reads the next batch of entries, of the directory wherever it is: one that is renamed
// while it is read has nothing left at its old place.
func (h *dirHandle) fill() error {
	for {
		err := h.fillHere()
		at := h.at
		if !h.d.movedFrom(&at) {
			return err
		}
		pos := h.pos
		h.at = at
		h.rewind()
		for h.pos < pos {
			if len(h.pending) == 0 && (h.fillHere() != nil || len(h.pending) == 0) {
				break
			}
			h.pending = h.pending[1:]
			h.pos++
		}
		if len(h.pending) > 0 {
			return nil
		}
	}
}

// fillHere reads the next batch from the listing.
func (h *dirHandle) fillHere() error {
	h.batch, h.bare = map[string]found{}, true
	var names []backend.Entry
	defer func() { h.d.fs.walks.listed(h.at, names) }()
	for !h.end && len(h.pending) < dirBatch {
		e, err, ok := h.next()
		if !ok {
			h.end = true
			break
		}
		if err != nil {
			h.end = true
			return err
		}
		names = append(names, e)
		de := h.entry(e)
		if obj, ok := h.hides(de.fd); ok {
			de = h.unhide(de, obj)
		}
		h.pending = append(h.pending, de)
		h.batch[de.name] = de.fd
	}
	return nil
}

func (h *dirHandle) entry(e backend.Entry) dirEntry {
	comp := strings.TrimPrefix(e.Key, h.at.Key)
	if e.Prefix {
		comp = strings.TrimSuffix(comp, "/")
		return dirEntry{elemName(comp, plainElem), found{comp: comp, dir: true, obj: backend.Object{Key: e.Key}}}
	}
	kind := plainElem
	if comp == "" {
		kind = objectElem
	}
	return dirEntry{elemName(comp, kind), found{comp: comp, obj: e.Object}}
}

// hides returns the object that the directory fd has the name of. In byte order "comp"
// stands before "comp/" with only names that begin with "comp" between them, so it is
// enough to remember the objects that the newest name begins with.
func (h *dirHandle) hides(fd found) (found, bool) {
	n := len(h.heads)
	for n > 0 && !strings.HasPrefix(fd.comp, h.heads[n-1].comp) {
		n--
	}
	h.heads = h.heads[:n]
	if !fd.dir {
		if fd.comp != "" { // the data of the marker have a name of their own
			h.heads = append(h.heads, fd)
		}
		return found{}, false
	}
	if n > 0 && h.heads[n-1].comp == fd.comp {
		return h.heads[n-1], true
	}
	return found{}, false
}

// unhide gives the object that de hides its own name, or, if the object's entry has been
// read already, lets that stand for the directory and returns one for the object.
func (h *dirHandle) unhide(de dirEntry, obj found) dirEntry {
	hidden := dirEntry{elemName(obj.comp, objectElem), obj}
	for i := range h.pending {
		if h.pending[i].name == de.name {
			h.pending[i] = hidden
			h.batch[hidden.name] = obj
			return de
		}
	}
	return hidden
}

// maxSpecial is the largest object, in bytes, that can be a symbolic link or a special
// file, whose bodies are a path or nothing. Larger ones are regular files for certain.
const maxSpecial = 4096

// typeOf is the d_type of an entry: unknown where only the metadata could tell.
func (h *dirHandle) typeOf(e dirEntry) uint32 {
	switch {
	case e.fd.dir:
		return syscall.S_IFDIR
	case e.fd.obj.Size > maxSpecial:
		return syscall.S_IFREG
	}
	if obj, ok := h.known(e.fd); ok {
		return h.d.fs.decodeFile(obj).Mode & syscall.S_IFMT
	}
	if h.d.fs.plain.plain(h.at, h.d.fs.o.TTL) {
		return syscall.S_IFREG
	}
	return 0
}

func (h *dirHandle) inoOf(e dirEntry) uint64 {
	if e.name == "." || e.name == ".." {
		return 0
	}
	if c := h.d.GetChild(e.name); c != nil {
		return c.StableAttr().Ino
	}
	return hashIno(h.refOf(e.fd))
}

func (h *dirHandle) refOf(fd found) backend.Ref {
	key := h.at.Key + fd.comp
	if fd.dir {
		key += "/"
	}
	return backend.Ref{Bucket: h.at.Bucket, Key: key}
}

// known completes a listed entry from what waits or is remembered.
func (h *dirHandle) known(fd found) (backend.Object, bool) {
	ref := h.refOf(fd)
	p, waits := h.d.fs.queue.Find(ref)
	if waits && makes(p) {
		return p.Object, true
	}
	if fd.dir {
		obj, exists, known := h.d.fs.entries.Get(ref)
		return laidOver(p, obj), known && exists
	}
	if fd.obj.Meta != nil {
		return fd.obj, true
	}
	if obj, ok := h.d.fs.entries.Complete(ref, fd.obj); ok {
		return obj, true
	}
	if fd.obj.Key == "" { // gone since it was listed
		return fd.obj, false
	}
	obj, ok := h.d.fs.indexed(h.index, h.at, fd.obj)
	if ok {
		h.d.fs.entries.Keep(ref, obj)
	}
	return obj, ok
}

// loadIndex reads the index of the directory if there is one. Names that stand before its own
// come before the listing tells: then it is asked for in the blue, once.
func (h *dirHandle) loadIndex(ctx context.Context, store backend.Store) {
	passed := h.end || h.list.last >= attrindex.Key(h.at.Key)
	if h.indexAsk || passed && h.list.index == "" {
		return
	}
	h.indexAsk = true
	h.index = h.d.fs.loadIndex(ctx, store, h.at, h.list.index)
}

// Lookup answers READDIRPLUS for a name that Readdirent just returned.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	fd, ok := h.batch[name]
	if !ok {
		return h.d.Lookup(ctx, name, out)
	}
	if h.bare {
		h.bare = false
		if err := h.complete(ctx); err != nil {
			h.bare = true
			return nil, h.d.fs.errno("readdir", h.at, err)
		}
		fd = h.batch[name]
	}
	if !fd.dir && fd.obj.Key == "" { // gone since it was listed
		return nil, syscall.ENOENT
	}
	return h.d.child(ctx, name, fd, out), 0
}

// complete asks for the metadata that the entries of this batch lack: those of files, when
// nothing else is known of the directory, of a sample first (plain.go).
func (h *dirHandle) complete(ctx context.Context) error {
	store, err := h.d.fs.stores.open(ctx, h.at.Bucket)
	if err != nil {
		return err
	}
	var ask []string // names
	var files []backend.Object
	byKey := map[string]string{}
	bare := 0 // files that are known to carry nothing
	for name, fd := range h.batch {
		obj, ok := h.known(fd)
		if !ok && !fd.dir && !h.indexAsk {
			h.loadIndex(ctx, store)
			obj, ok = h.known(fd)
		}
		switch {
		case ok:
			if fd.obj = obj; !fd.dir {
				h.d.fs.saw(h.refOf(fd), obj)
			}
			if h.batch[name] = fd; len(obj.Meta) == 0 {
				bare++
			}
		case fd.dir || fd.obj.Key == "":
			ask = append(ask, name)
		default:
			files = append(files, fd.obj)
			byKey[fd.obj.Key] = name
		}
	}
	h.batches++
	slices.SortFunc(files, func(a, b backend.Object) int { return strings.Compare(a.Key, b.Key) })
	some, rest := files, []backend.Object(nil)
	if !h.askAll() {
		some, rest = sample(files, max(h.d.fs.plain.need(h.at.Bucket, h.batches)-bare, 0))
	}
	for _, obj := range some {
		ask = append(ask, byKey[obj.Key])
	}
	if err := h.head(ctx, store, ask); err != nil || len(rest) == 0 {
		return err
	}
	if !h.askAll() {
		h.d.fs.plain.believe(h.at)
		return nil
	}
	ask = ask[:0]
	for _, obj := range rest {
		ask = append(ask, byKey[obj.Key])
	}
	return h.head(ctx, store, ask)
}

// askAll reports whether files here are to be asked for, each of them.
func (h *dirHandle) askAll() bool {
	return h.d.fs.o.AskAll || h.list.index != "" || h.d.fs.plain.attributed(h.at)
}

// head asks for entries of this batch, in parallel.
func (h *dirHandle) head(ctx context.Context, store backend.Store, names []string) error {
	answers := make([]found, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dirRequests)
	for i, name := range names {
		fd := h.batch[name]
		g.Go(func() (err error) {
			ref := h.refOf(fd)
			if fd.dir {
				fd.obj, err = h.d.fs.marker(ctx, store, ref)
			} else if fd.obj, err = h.d.fs.object(ctx, store, ref); isNotExist(err) {
				fd.obj, err = backend.Object{}, nil
			} else if err == nil && h.list.index != "" {
				h.d.fs.index.Found(ref, fd.obj)
			}
			answers[i] = fd
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		h.batch[name] = answers[i]
	}
	return nil
}

// Seekdir goes back to an offset that Readdirent gave: the listing begins anew and is read
// up to there, since a store can be asked for what follows a key but not for a position.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	h.rewind()
	for h.pos < off {
		e, errno := h.Readdirent(ctx)
		if errno != 0 || e == nil {
			return errno
		}
	}
	return 0
}

func (h *dirHandle) Releasedir(ctx context.Context, releaseFlags uint32) {
	if h.stop != nil {
		h.stop()
	}
	h.next, h.stop, h.pending = nil, nil, nil
}

func (h *dirHandle) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return h.d.Fsync(ctx, nil, flags)
}
