// Package recall keeps a promise to readers: an archived object that somebody opens comes
// back, once, within a budget, and whoever waits for it is told.
//
// A Manager has one job for each key that is on its way back. Open and Request begin a job
// or join the one there is; a single poller watches all of them and tells Options.Changed
// what became of them. Batch does it for whole trees.
//
// # What is true
//
// The store knows the state of an object, and Head is how it is asked: before a restore is
// sent, after it, and until it is done. When a copy ends is read there too, never computed.
// So a restore that another mount began, or this one before it was killed, is simply seen.
//
// The journal remembers what the store cannot tell: that a restore was about to be sent, who
// asked, for how long, and how much of the day's budget is gone. It is written before the
// request is sent. It is a bbolt file: a job and the budget it takes change in one durable
// transaction, and a hundred thousand jobs are updated in place, which an append-only file
// of our own would have to grow up to. Losing it costs the memory of who asked and of
// today's budget, but no second request.
//
// # What a job goes through
//
//	asked ──► restoring ──► restored ──► (lapsed: the job ends)
//	  └───────────┴──► failed ──► asked again, when its back-off is over
//
// state.go has the transitions, act.go and send.go the conversation with the store, poll.go the poller,
// guard.go what stops a storm. A job is busy while one goroutine talks to the store about it;
// others wait for that to end and look again.
package recall

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Policy says what an open of an archived object does.
type Policy uint8

const (
	Start        Policy = iota // it begins a restore
	ExplicitOnly               // only Request and Batch begin one
)

// Options of a Manager. Path and Open are required. The zero value of a limit is its
// default, a negative one is no limit.
type Options struct {
	Path string // the journal; created 0600. One process at a time has it open.

	// Open returns the store of a bucket. It is called often and should remember.
	Open func(ctx context.Context, bucket string) (backend.Store, error)

	// Changed is told what the store says of an object that is or was on its way back:
	// its state became another one, or its Until moved. It is called without locks,
	// before those who wait for the object go on, by several goroutines at once, and for
	// jobs from the journal even before New returns. An object that was seen in a listing
	// has neither Meta nor Header. May be nil.
	Changed func(ref backend.Ref, obj backend.Object)

	// Awaited is told when an object is back that an open had waited for, be it that nobody
	// waits any more. It is called like Changed, and after it. May be nil.
	Awaited func(ref backend.Ref, obj backend.Object)

	Policy Policy
	Wait   time.Duration // how long an Open waits for its object at most; 0: not at all

	DayObjects  int           // restores begun in one day, UTC; 1,000
	DayBytes    int64         // their sizes together; 100 GiB
	Burst       int           // restores begun by opens of one program within BurstWindow; 20
	BurstWindow time.Duration // 10 s
	Waiters     int           // opens that wait at once; 64
	Days        int           // how long copies stay readable; 3. Negative leaves it to the store.

	Prices *Prices // nil: those that are built in
	Log    *slog.Logger

	noSync bool // for tests: the journal survives the process, not a power loss
}

func (o *Options) defaults() error {
	if o.Path == "" || o.Open == nil {
		return errors.New("recall: Path and Open are required")
	}
	or(&o.DayObjects, 1000)
	or(&o.DayBytes, 100<<30)
	or(&o.Burst, 20)
	or(&o.BurstWindow, 10*time.Second)
	or(&o.Waiters, 64)
	or(&o.Days, 3)
	if o.Changed == nil {
		o.Changed = func(backend.Ref, backend.Object) {}
	}
	if o.Awaited == nil {
		o.Awaited = func(backend.Ref, backend.Object) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Prices == nil {
		p, err := DefaultPrices()
		if err != nil {
			return err
		}
		o.Prices = p
	}
	return nil
}

func or[T int | int64 | time.Duration](limit *T, def T) {
	if *limit == 0 {
		*limit = def
	}
}

const (
	maxJobs     = 1 << 20 // at about 1 KiB each
	maxRequests = 64      // to stores at once, of all jobs together
)

// A Manager brings archived objects back. Its methods may be called concurrently.
type Manager struct {
	o       Options
	journal *journal
	slots   chan struct{} // holds a token for each request under way

	life context.Context // of the goroutines; ended by Close
	end  context.CancelFunc
	work sync.WaitGroup
	poke chan struct{} // there is something new to look at

	mu       sync.Mutex // nothing is locked while it is held but the journal's leaf
	closed   bool
	jobs     map[backend.Ref]*job
	holds    map[backend.Ref]int // open handles on restored copies
	waiting  int                 // opens that wait
	guards   guards
	pace     pace
	moved    chan struct{}   // closed and replaced when a pass of the poller is over
	mute     map[string]bool // buckets whose listings do not tell of restores
	earliest time.Time       // when the poller will look next; zero: when it is poked
}

// New opens the journal and goes on with the jobs in it: the poller asks the store about
// all of them. The caller ends it with Close.
func New(o Options) (*Manager, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	j, err := openJournal(o.Path, !o.noSync, o.Log)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		o: o, journal: j, slots: make(chan struct{}, maxRequests), poke: make(chan struct{}, 1),
		jobs: map[backend.Ref]*job{}, holds: map[backend.Ref]int{}, guards: newGuards(o),
		pace: pace{}, moved: make(chan struct{}), mute: map[string]bool{},
	}
	if err := m.adopt(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.work.Go(m.poll)
	return m, nil
}

// adopt takes over what the journal remembers.
func (m *Manager) adopt() error {
	now := time.Now()
	m.mu.Lock() // nobody else is here yet; it keeps the rule simple
	defer m.mu.Unlock()
	return m.journal.load(func(ref backend.Ref, r record) {
		m.jobs[ref] = adoptedJob(ref, r, now)
	}, m.guards.budget.remember)
}

// Close ends all waits and the poller. Jobs go on in the store; the next Manager with this
// journal finds them. A request that is being sent is waited for.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.end()
	m.work.Wait()
	return m.journal.Close()
}
