// Package fs gives an object store the meaning of a file system: buckets are directories
// of the root, objects are files, what stands before a "/" in a key is a directory.
//
// FS ties the rooms below together: cache/entries remembers what the store said of names,
// cache/blocks holds bytes of objects, cache/writeback holds every change until the store
// has confirmed it, cache/attrindex tells other mounts the attributes of what was stored. The node tree over them is go-fuse's: root.go (buckets), dir.go and
// dirhandle.go (directories), file.go (files), handle.go (open files), rename.go,
// symlink.go and xattr.go. name.go and attr.go are the pure translations between keys and
// names, metadata and attributes; errno.go is the one between errors and errnos.
//
// Where the truth about a name is: a change that waits in the queue wins over what is
// cached, and what is cached wins over the store until it is too old (resolve.go).
//
// SEMANTICS.md says what programs may rely on.
package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/cache/blocks"
	"github.com/thawfs/thawfs/cache/entries"
	"github.com/thawfs/thawfs/cache/writeback"
	"github.com/thawfs/thawfs/fs/recall"
)

// Options of a file system. Service and CacheDir are required.
type Options struct {
	Service backend.Service
	Bucket  string // show one bucket instead of all
	Prefix  string // show what is below this key prefix of Bucket
	Source  string // as the user named it, without secrets; shown in the mount table

	CacheDir  string // for this mount alone; created 0700
	CacheSize int64  // bytes of object data kept on disk; 0 is 10 GiB. Never more than cacheShare of what is free for it
	SpoolSize int64  // bytes written and not yet uploaded; 0 is half of the free disk space
	Memory    int64  // bytes of read buffers of all files together; 0 is 256 MiB

	TTL         time.Duration // how long the store's answers are believed; 0 is 30 s
	NegativeTTL time.Duration // how long absences are believed; 0 is 3 s
	Delay       time.Duration // how long a closed file settles before its upload; 0 is 500 ms, negative none

	ReadOnly   bool
	AllowOther bool
	NoIndex    bool   // indexes of attributes (index.go) are neither read nor written
	AskAll     bool   // every file is asked for its attributes, also where none is found to carry any (plain.go)
	SyncClose  bool   // close waits for the store, as fsync does
	UID, GID   uint32 // owner of objects that name none
	FileMode   uint32 // permission bits of files that carry none; 0 is 0644
	DirMode    uint32 // of directories; 0 is 0755

	// Class chooses the storage class of new content by key; nil or "" leaves it to the bucket.
	Class func(backend.Ref) string

	// Recall says what opens of archived objects do: policy, waiting, budget. Path, Open,
	// Changed, Awaited and Log are the file system's own.
	Recall recall.Options

	Log   *slog.Logger
	Debug bool // log every FUSE request

	indexTuning attrindex.Tuning // for tests
}

func (o *Options) defaults() error {
	if o.Service == nil || o.CacheDir == "" {
		return errors.New("fs: Service and CacheDir are required")
	}
	if o.Prefix != "" && o.Prefix[len(o.Prefix)-1] != '/' {
		o.Prefix += "/"
	}
	if o.CacheSize == 0 {
		o.CacheSize = 10 << 30
	}
	if o.SpoolSize == 0 {
		o.SpoolSize = spoolDefault(o.CacheDir)
	}
	if o.Memory == 0 {
		o.Memory = 256 << 20
	}
	if o.TTL == 0 {
		o.TTL = 30 * time.Second
	}
	if o.NegativeTTL == 0 {
		o.NegativeTTL = 3 * time.Second
	}
	if o.FileMode == 0 {
		o.FileMode = 0o644
	}
	if o.DirMode == 0 {
		o.DirMode = 0o755
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// FS is one file system over one Service. Its node tree is served by Mount, or by
// go-fuse's NewNodeFS in tests that need no kernel.
type FS struct {
	o       Options
	log     *slog.Logger
	blocks  *blocks.Cache
	entries *entries.Cache
	queue   *writeback.Queue
	index   *attrindex.Book
	recall  *recall.Manager
	bringer *bringer
	root    fusefs.InodeEmbedder
	notices sync.WaitGroup     // notes to the kernel that are on their way, and what a crash left half done
	served  atomic.Bool        // there is a kernel to notify: go-fuse sets the tree up before
	quit    context.CancelFunc // ends the latter
	fetches *fetches           // of what was waited for
	inos    inoTable
	born    time.Time // times of directories that have none

	stores storeTable
	levels levels
	walks  *walks
	swaps  swapTable
	plain  plainTable
	temps  tempSeq
	// passthrough is set when the kernel can read and write local files by itself.
	passthrough atomic.Bool
	failures    atomic.Int64 // requests of programs answered with EIO

	// tree guards parent and comp of every node, live and moving. It is a leaf: it is taken
	// after a node's own lock and the queue's, and never held across I/O.
	tree sync.RWMutex
	// moving are the renames under way, by their old names.
	moving map[backend.Ref]*renaming
	// live finds the file node of a key while it is open, for what the queue has to tell.
	live map[backend.Ref]*fileNode
}

// New opens the caches and replays the journal below o.CacheDir. Uploads left there go on
// from now. The caller ends it with Close.
func New(o Options) (*FS, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	f := &FS{o: o, log: o.Log, born: time.Now(), live: map[backend.Ref]*fileNode{}, moving: map[backend.Ref]*renaming{}}
	f.stores.service = o.Service
	f.swaps.dir, f.swaps.busy = filepath.Join(o.CacheDir, "exchanges"), map[backend.Ref]chan struct{}{}
	f.root = f.newRoot()
	f.walks = newWalks(f)
	if err := f.openCaches(); err != nil {
		return nil, errors.Join(err, f.closeCaches(context.Background()))
	}
	f.queue.Start()
	ctx, quit := context.WithCancel(context.Background())
	f.quit = quit
	f.notices.Go(func() { f.finishExchanges(ctx) })
	return f, nil
}

func (f *FS) openCaches() (err error) {
	dir := func(name string) string { return filepath.Join(f.o.CacheDir, name) }
	if f.queue, err = writeback.New(writeback.Options{
		Dir: dir("writeback"), Capacity: f.o.SpoolSize, Delay: f.o.Delay, Log: f.log,
		Open: f.stores.open, Stored: f.stored, Removed: f.removed, Moved: f.renamed, Unused: f.adopt, Left: attrindex.IsKey,
	}); err != nil {
		return err
	}
	// From here on the cache directory is ours: the queue has locked it.
	if err = errors.Join(os.RemoveAll(dir("tmp")), os.Mkdir(dir("tmp"), 0o700), os.MkdirAll(f.swaps.dir, 0o700)); err != nil {
		return err
	}
	limit := cacheLimit(dir("blocks"), f.o.CacheSize)
	if limit < f.o.CacheSize {
		f.log.Info("the disk has little room: the cache takes less than it may", slog.Int64("n", limit))
	}
	if f.blocks, err = blocks.New(blocks.Options{
		Dir: dir("blocks"), Capacity: limit, Memory: f.o.Memory, Log: f.log,
	}); err != nil {
		return err
	}
	if f.entries, err = entries.New(entries.Options{
		TTL: f.o.TTL, NegativeTTL: f.o.NegativeTTL, Capacity: 1 << 20, Path: dir("attrs.db"), Log: f.log,
	}); err != nil {
		return err
	}
	if err = f.openIndex(); err != nil {
		return err
	}
	f.fetches = newFetches(f)
	if f.bringer, err = newBringer(f, dir("bring")); err != nil {
		return err
	}
	if err := f.openRecall(dir("recall.db")); err != nil {
		return err
	}
	f.bringer.resume(f.recall.Jobs())
	return nil
}

// Drain sends everything that is pending; see writeback.Queue.Drain.
func (f *FS) Drain(ctx context.Context) error { return f.queue.Drain(ctx) }

// Queue shows what is pending.
func (f *FS) Queue() *writeback.Queue { return f.queue }

// Close ends the caches. What the queue has not sent stays in its journal. No file is
// open any more.
func (f *FS) Close(ctx context.Context) error { return f.closeCaches(ctx) }

func (f *FS) closeCaches(ctx context.Context) error {
	var errs []error
	if f.recall != nil {
		errs = append(errs, f.recall.Close())
	}
	if f.bringer != nil {
		f.bringer.close()
	}
	f.walks.close()
	if f.quit != nil {
		f.quit()
	}
	f.notices.Wait()
	if f.fetches != nil {
		f.fetches.close()
	}
	if f.index != nil {
		f.closeIndex(ctx)
	}
	if f.queue != nil {
		errs = append(errs, f.queue.Close(ctx))
	}
	if f.blocks != nil {
		errs = append(errs, f.blocks.Close())
	}
	if f.entries != nil {
		errs = append(errs, f.entries.Close())
	}
	return errors.Join(errs...)
}

// stored is told by the queue that the store holds obj as ref. The staged file at path
// becomes the cached one.
func (f *FS) stored(ref backend.Ref, obj backend.Object, path string) {
	f.entries.Back()
	f.entries.Set(ref, obj)
	f.index.Stored(ref, obj)
	f.saw(ref, obj)
	f.adopt(ref, obj, path)
	f.tree.RLock()
	n := f.live[ref]
	f.tree.RUnlock()
	if n != nil {
		n.stored(obj)
	}
}

// adopt makes a local file that holds exactly obj a cached one.
func (f *FS) adopt(ref backend.Ref, obj backend.Object, path string) {
	if path == "" || obj.Size == 0 {
		return
	}
	if err := f.blocks.Adopt(path, ref, obj); err != nil {
		f.log.Debug("not cached", slog.String("key", ref.String()), slog.Any("err", err))
	}
}

// removed is told by the queue that ref is gone from the store.
func (f *FS) removed(ref backend.Ref) {
	f.entries.Back()
	f.entries.Remove(ref)
	f.index.Removed(ref)
	f.blocks.Forget(ref)
}

// storeTable opens each bucket's Store once.
type storeTable struct {
	service backend.Service
	mu      sync.Mutex
	stores  map[string]backend.Store // guarded by mu
}

func (t *storeTable) open(ctx context.Context, bucket string) (backend.Store, error) {
	t.mu.Lock()
	s := t.stores[bucket]
	t.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := t.service.Open(ctx, bucket)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stores == nil {
		t.stores = map[string]backend.Store{}
	}
	t.stores[bucket] = s
	return s, nil
}

// known is the Store of a bucket that was opened before; nil of another.
func (t *storeTable) known(bucket string) backend.Store {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stores[bucket]
}

func (t *storeTable) forget(bucket string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.stores, bucket)
}

// Pending counts the changes that the store has not confirmed: names, bytes of content
// among them, and those whose last attempt failed.
func (f *FS) Pending() (files int, bytes int64, failed int) {
	s := f.queue.Stats()
	return s.Pending + s.Renames, s.Bytes, s.Failed
}
