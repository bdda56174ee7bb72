package entries

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/record"
)

const (
	writeBehind = 2 * time.Second // a batch costs one fsync
	flushAt     = 10_000          // records that end the wait
	maxPending  = 40_000          // records in memory; more are not remembered
	maxFile     = 256 << 20       // bytes of a generation, about a million records
	maxKey      = 8 << 10         // bytes; longer keys are not remembered
	oldSuffix   = ".old"
)

// A memory keeps attributes by version in a bbolt file, written behind in batches. The nil
// memory remembers nothing.
//
// There are two generations, so that the files are bounded and what is used stays: when the
// file has grown to its limit it replaces the old one and a new one is begun; what is found
// in the old one is written to the new one again. All of it can be learned anew from the
// store, so a file that cannot be read is deleted, and one that cannot be written is done
// without.
type memory struct {
	path  string       // constant
	limit int64        // constant; bytes of a generation
	log   *slog.Logger // constant

	dbs     atomic.Pointer[generations]
	damaged atomic.Bool   // run is to delete the files
	kick    chan struct{} // there is something to write
	full    chan struct{} // there is much to write
	stop    chan struct{}
	done    sync.WaitGroup

	flushing sync.Mutex // one flush at a time; before mu

	mu      sync.Mutex        // leaf
	pending map[string][]byte // guarded by mu; records by key, not written yet
	writing map[string][]byte // guarded by mu; those being written, never changed
}

// generations are the open files; either may be nil.
type generations struct {
	young, old *bolt.DB
}

func openMemory(path string, log *slog.Logger) (*memory, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	m := &memory{path: path, limit: maxFile, log: log, pending: map[string][]byte{}}
	m.kick, m.full, m.stop = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	young, err := m.openOrRenew(path)
	if err != nil {
		return nil, err
	}
	g := &generations{young: young}
	if _, err := os.Stat(path + oldSuffix); err == nil {
		if g.old, err = m.openOrRenew(path + oldSuffix); err != nil {
			_ = young.Close() // nothing was written
			return nil, err
		}
	}
	m.dbs.Store(g)
	m.done.Go(m.run)
	return m, nil
}

// Close writes what is pending.
func (m *memory) Close() error {
	close(m.stop)
	m.done.Wait()
	return m.closeFiles(m.dbs.Swap(&generations{}))
}

// remember notes the attributes of a version. It does not wait for the disk.
func (m *memory) remember(ref backend.Ref, obj backend.Object) {
	key := memoryKey(ref)
	if m == nil || len(key) > maxKey || obj.ETag == "" {
		return
	}
	text := record.Append(nil, obj)
	m.mu.Lock()
	if len(m.pending) < maxPending {
		m.pending[key] = text
	}
	waiting := len(m.pending)
	m.mu.Unlock()
	signal(m.kick)
	if waiting >= flushAt {
		signal(m.full)
	}
}

// recall returns the attributes of the version that is listed.
func (m *memory) recall(ref backend.Ref, listed backend.Object) (backend.Attrs, bool) {
	if m == nil {
		return backend.Attrs{}, false
	}
	text, aged := m.find(memoryKey(ref))
	attrs, ok := record.Attrs(text, listed)
	if ok && aged {
		listed.Attrs = attrs
		m.remember(ref, listed)
	}
	return attrs, ok
}

// find returns the last record of key; aged tells that it is in the old file.
func (m *memory) find(key string) (text []byte, aged bool) {
	m.mu.Lock()
	text, ok := m.pending[key]
	if !ok {
		text, ok = m.writing[key]
	}
	m.mu.Unlock()
	if ok {
		return text, false
	}
	g := m.dbs.Load()
	if text = m.read(g.young, key); text != nil {
		return text, false
	}
	return m.read(g.old, key), true
}

// read returns a copy of the record of key in db, nil if there is none.
func (m *memory) read(db *bolt.DB, key string) (text []byte) {
	if db == nil {
		return nil
	}
	err := guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			text = bytes.Clone(tx.Bucket([]byte(memoryBucket)).Get([]byte(key)))
			return nil
		})
	})
	if errors.Is(err, errDamaged) {
		m.damaged.Store(true)
		signal(m.kick)
	}
	if err != nil { // or closed by rotate a moment ago
		return nil
	}
	return text
}

// memoryKey is the key of ref in the file. Names of buckets have no NUL.
func memoryKey(ref backend.Ref) string { return ref.Bucket + "\x00" + ref.Key }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes batches until Close.
func (m *memory) run() {
	for {
		select {
		case <-m.kick:
		case <-m.stop:
			m.flush()
			return
		}
		select {
		case <-time.After(writeBehind):
		case <-m.full:
		case <-m.stop:
		}
		m.flush()
	}
}

// flush writes what is pending, and sees to it that the file keeps its bounds.
func (m *memory) flush() {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	m.mu.Lock()
	m.writing, m.pending = m.pending, map[string][]byte{}
	batch := m.writing
	m.mu.Unlock()

	g := m.dbs.Load()
	if g.young != nil && len(batch) > 0 {
		if err := guarded(func() error { return write(g.young, batch) }); errors.Is(err, errDamaged) {
			m.damaged.Store(true)
		} else if err != nil {
			m.log.Warn("attributes are not remembered", slog.String("path", m.path), slog.Any("err", err))
		}
	}
	if info, err := os.Stat(m.path); err == nil && info.Size() > m.limit {
		m.rotate()
	}
	if m.damaged.Swap(false) {
		m.renew()
	}
	m.mu.Lock()
	m.writing = nil
	m.mu.Unlock()
}

// rotate makes the file the old one and begins another.
func (m *memory) rotate() {
	g := m.dbs.Load()
	if err := os.Rename(m.path, m.path+oldSuffix); err != nil {
		m.damaged.Store(true) // the bound holds by deleting it
		return
	}
	young, err := openFile(m.path)
	if err != nil {
		m.log.Warn("attributes are not remembered", slog.String("path", m.path), slog.Any("err", err))
	}
	m.dbs.Store(&generations{young: young, old: g.young})
	_ = m.closeFiles(&generations{old: g.old}) // deleted by the rename
}

// renew deletes damaged files and begins anew.
func (m *memory) renew() {
	m.log.Warn("remembered attributes are damaged and dropped", slog.String("path", m.path))
	_ = m.closeFiles(m.dbs.Swap(&generations{})) // to be deleted
	_ = os.Remove(m.path + oldSuffix)            // begun anew, it is overwritten by the next rotate
	_ = os.Remove(m.path)                        // if it stays, openFile fails on it
	young, err := openFile(m.path)
	if err != nil {
		m.log.Warn("attributes are not remembered", slog.String("path", m.path), slog.Any("err", err))
		return
	}
	m.dbs.Store(&generations{young: young})
}

// closeFiles waits for those who read in them.
func (m *memory) closeFiles(g *generations) error {
	var errs []error
	for _, db := range []*bolt.DB{g.young, g.old} {
		if db != nil {
			errs = append(errs, guarded(db.Close))
		}
	}
	return errors.Join(errs...)
}

// openOrRenew opens a file, and deletes one that cannot be read.
func (m *memory) openOrRenew(path string) (*bolt.DB, error) {
	db, err := openFile(path)
	if err == nil || errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, os.ErrPermission) {
		return db, err
	}
	m.log.Warn("remembered attributes are damaged and dropped", slog.String("path", path), slog.Any("err", err))
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return openFile(path)
}
