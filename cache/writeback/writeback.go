// Package writeback holds every change of the store that was made here and is not there yet.
//
// A changed file is a staged file: a regular file below Options.Dir that the kernel may write
// by itself (FUSE passthrough). File.Commit notes in a journal what the store shall hold;
// when it returns, the change survives the death of the process, and at most
// Options.SyncEvery later the loss of power. A sender then carries the newest state of each
// key to the store: at most one request that changes a key is under way at a time, changes
// that were overtaken before their turn are never sent, and a chmod, rename or delete that
// comes before the upload changes the record and costs no request.
//
// Parts:
//
//	Queue     what is pending, by key: entries, found by Find and List
//	File      staged content; one File for all who have a name open
//	journal   an append-only log of records (record.go), replayed by New (recover.go)
//	schedule  which entry is next: delay, back-off, the store being down
//	send      one entry: a Put, an upload in parts, a copy onto itself, a batch of deletes
//	move      renames of what is already in the store: copies and deletes
//
// Nothing pending is dropped unless the store has confirmed it, a later change of the same
// key makes it pointless, or it was created and deleted before it was sent. A foreign change
// in the store is never overwritten: our bytes go to a name of their own (conflict.go).
package writeback

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

	"github.com/thawfs/thawfs/backend"
)

var (
	// ErrFull says that staged data reached Options.Capacity and the store did not take
	// enough of it in time.
	ErrFull = errors.New("the write-back cache is full")
	// ErrLocked says that another process uses the directory.
	ErrLocked = errors.New("the write-back directory is in use")

	errClosed = errors.New("the write-back queue is closed")
)

// Options of New. Dir, Open and Log must be set.
type Options struct {
	Dir           string        // staging and journal; created 0700; locked: a second process gets ErrLocked naming the pid
	Capacity      int64         // bytes of staged data not yet in the store; beyond it ErrFull. 0: no limit
	Workers       int           // keys being sent at once, default 32
	PartsInFlight int           // parts in flight of all uploads together, default 8
	Delay         time.Duration // how long a committed change settles before it is sent, default 500 ms; negative: not at all
	SyncEvery     time.Duration // group commit to disk, default 1 s; negative: every change is synced
	Log           *slog.Logger

	// Open returns the Store of a bucket. It is called once for each.
	Open func(ctx context.Context, bucket string) (backend.Store, error)

	// Stored tells that the store confirmed obj. It is called without locks, before
	// those who wait for it wake. path is a local file that holds exactly the bytes of
	// obj and may be renamed away; it is removed afterwards if it is still there. path
	// is empty when there is no such file or when somebody still has it open.
	Stored func(ref backend.Ref, obj backend.Object, path string)

	// Moved, if set, is told of a rename at the moment from which on everybody finds the new
	// name and not the old one; names of trees end in "/". It is called with the lock held,
	// so it must neither call the queue nor wait for somebody who does.
	Moved func(from, to backend.Ref)

	// Removed tells that the store confirmed a delete.
	Removed func(ref backend.Ref)

	// Unused, if set, is offered a local file that equals obj, known to be in the store
	// earlier, when its last user closed it. It may be renamed away. Unlike Stored it says
	// nothing new about the store.
	Unused func(ref backend.Ref, obj backend.Object, path string)

	// Left, if set, says of keys that the rename of a tree leaves them behind, deleted, archived
	// or not: they hold what can be made anew.
	Left func(key string) bool
}

// tuning holds sizes and times that tests make small.
type tuning struct {
	inline   int           // bytes of a Put kept in the journal
	crcMax   int64         // bytes of content whose checksum Commit computes at once
	buffered int64         // bytes of content sent from memory
	wholeMax int64         // bytes of content sent in one Put
	partSize int64         // bytes of the first parts
	poll     time.Duration // between looks at files being written
	makeRoom time.Duration // how long a writer waits for capacity
	compact  int64         // bytes of journal that are not worth a compaction
	moveFor  time.Duration // how long a rename retries while its caller waits
	fanout   int           // copies in flight of a tree being renamed
	volatile bool          // nothing is synced: tests that lose no power are much faster so
}

func defaultTuning() tuning {
	return tuning{
		inline:   4 << 10,
		crcMax:   256 << 10,
		buffered: 1 << 20,
		wholeMax: 16 << 20,
		partSize: 16 << 20,
		poll:     100 * time.Millisecond,
		makeRoom: 10 * time.Second,
		compact:  4 << 20,
		moveFor:  2 * time.Minute,
		fanout:   32,
	}
}

// A Queue is the write-back cache of one mount.
type Queue struct {
	o      Options
	tune   tuning
	host   string
	lock   *os.File // holds the flock
	j      *journal
	sharp  bool // mtimes of the staging file system tell any two writes apart
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines
	wake   chan struct{}  // the dispatcher looks again
	dirty  chan struct{}  // the syncer has something to do
	sweep  chan struct{}  // there are uploads to abort
	parts  chan struct{}  // a slot for each part in flight

	syncing   chan struct{} // holds a token while a sync or a compaction is under way
	synced    uint64        // the last line that is on the disk with its staged files; of the holder of that token
	compacted atomic.Int64  // bytes of the journal after its last compaction

	mu       sync.Mutex // guards all below, and what entries, files, uploads and moves say
	entries  map[backend.Ref]*entry
	keys     map[string]*sortedKeys // of entries, by bucket
	files    map[uint64]*File       // all that have a staged file or inline content
	writers  map[*File]struct{}     // files that somebody may be writing
	opened   chan struct{}          // closed and replaced when writers gets its first
	lastID   uint64                 // of files, uploads and moves
	lastGen  uint64
	due      dueHeap
	batches  map[string]*batch
	uploads  map[uint64]*upload
	moves    map[uint64]*move
	held     map[backend.Ref]int // refs that must not be sent now
	running  int                 // jobs
	health   health
	stores   map[string]*bucketStore
	drains   int           // Drain calls: nothing is delayed
	settled  chan struct{} // closed and replaced whenever something has been settled
	staged   int64         // bytes of staged files, as far as known
	room     chan struct{} // closed and replaced when staged shrinks
	unsynced map[*File]struct{}
	newNames bool // staging has directory entries that are not synced
	garbage  []garbage
	started  bool
	closed   bool
	sent     Sent
	hurried  time.Time // last hurryLocked
	recent   map[backend.Ref]recent
	recents  []recentKey // in the order of time
}

// garbage is a staged file that may go when line seq of the journal is on the disk.
type garbage struct {
	seq  uint64
	path string
}

// New opens Options.Dir and recovers what an earlier process left there. Nothing is sent
// before Start.
func New(o Options) (*Queue, error) { return newQueue(o, defaultTuning()) }

func newQueue(o Options, t tuning) (*Queue, error) {
	if o.Dir == "" || o.Open == nil || o.Log == nil {
		return nil, errors.New("writeback: Options.Dir, Open and Log must be set")
	}
	o.defaults()
	q := &Queue{
		o: o, tune: t, wake: make(chan struct{}, 1), dirty: make(chan struct{}, 1), sweep: make(chan struct{}, 1),
		parts: make(chan struct{}, o.PartsInFlight), syncing: make(chan struct{}, 1),
		entries: map[backend.Ref]*entry{}, keys: map[string]*sortedKeys{}, files: map[uint64]*File{},
		writers: map[*File]struct{}{}, batches: map[string]*batch{}, uploads: map[uint64]*upload{},
		moves: map[uint64]*move{}, held: map[backend.Ref]int{}, stores: map[string]*bucketStore{},
		settled: make(chan struct{}), room: make(chan struct{}), opened: make(chan struct{}), unsynced: map[*File]struct{}{},
		recent: map[backend.Ref]recent{},
	}
	q.host = hostName()
	if err := q.makeDirs(); err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	q.lock = lock
	if err := q.recover(); err != nil {
		_ = lock.Close() // gives the lock up
		return nil, fmt.Errorf("recover %s: %w", o.Dir, err)
	}
	q.sharp = probeMtime(q.o.Dir)
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.wg.Go(q.syncLoop)
	return q, nil
}

func (o *Options) defaults() {
	if o.Workers <= 0 {
		o.Workers = 32
	}
	if o.PartsInFlight <= 0 {
		o.PartsInFlight = 8
	}
	if o.Delay == 0 {
		o.Delay = 500 * time.Millisecond
	}
	o.Delay = max(o.Delay, 0)
	if o.SyncEvery == 0 {
		o.SyncEvery = time.Second
	}
	if o.Stored == nil {
		o.Stored = func(backend.Ref, backend.Object, string) {}
	}
	if o.Removed == nil {
		o.Removed = func(backend.Ref) {}
	}
	if o.Unused == nil {
		o.Unused = func(backend.Ref, backend.Object, string) {}
	}
}

// Start begins to send. It is called once.
func (q *Queue) Start() {
	q.mu.Lock()
	q.started = true
	for _, m := range q.moves {
		q.wg.Go(func() { q.resumeMove(m) })
	}
	q.mu.Unlock()
	q.wg.Go(q.dispatch)
	q.wg.Go(q.pollWriters)
	q.wg.Go(q.sweepUploads)
}

// Close stops the sender, which ends requests under way, and syncs the journal. What is
// unsent stays there. Files still open can be read and closed, not changed. It waits for
// all goroutines, even when ctx ends earlier: they end soon, having been cancelled.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errClosed
	}
	q.closed = true
	pending := q.pendingCountLocked()
	q.settleLocked()
	q.mu.Unlock()
	q.cancel()
	done := make(chan struct{})
	go func() { q.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		q.o.Log.Warn("close of the write-back queue waits for a request", "err", ctx.Err())
		<-done
	}
	err := q.syncNow()
	if err == nil {
		q.compactIfWorth(true)
	}
	if pending > 0 {
		q.o.Log.Info("changes left in the journal", "n", pending)
	}
	return errors.Join(err, q.j.close(), q.lock.Close())
}

func (q *Queue) stagingDir() string { return filepath.Join(q.o.Dir, "staging") }

func (q *Queue) lostDir() string { return filepath.Join(q.o.Dir, "lost+found") }

func (q *Queue) stagedPath(id uint64) string {
	return filepath.Join(q.stagingDir(), fmt.Sprintf("%016x", id))
}

func (q *Queue) journalPath() string { return filepath.Join(q.o.Dir, "journal") }

// commitLog hands the journal up to seq to the kernel, or to the disk if so configured.
func (q *Queue) commitLog(seq uint64) error {
	if q.o.SyncEvery < 0 {
		return q.syncNow()
	}
	return q.j.flush(seq)
}

// settleLocked wakes all who wait for something to be settled; they look for themselves.
func (q *Queue) settleLocked() {
	close(q.settled)
	q.settled = make(chan struct{})
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
