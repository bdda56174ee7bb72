package backendtest

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A Full is a store with all powers, as those of backend/local are.
type Full interface {
	backend.Store
	backend.Copier
	backend.PartUploader
	backend.PartCopier
	backend.BatchDeleter
	backend.Restorer
}

// Plain hides the powers of a store: for tests of what does without them.
func Plain(s backend.Store) backend.Store { return struct{ backend.Store }{s} }

// An Op names a method of a store. The values are the ones a driver writes into
// backend.Error.Op.
type Op string

// All operations that a Faulty counts and can make fail.
const (
	OpHead        Op = "head"
	OpList        Op = "list"
	OpGet         Op = "get"
	OpPut         Op = "put"
	OpDelete      Op = "delete"
	OpCopy        Op = "copy"
	OpNewUpload   Op = "new upload"
	OpUploadPart  Op = "upload part"
	OpCopyPart    Op = "copy part"
	OpComplete    Op = "complete"
	OpAbort       Op = "abort"
	OpUploads     Op = "uploads"
	OpDeleteBatch Op = "delete batch"
	OpRestore     Op = "restore"
)

// A Fault is something that goes wrong in calls of a store. The zero Fault makes the next
// call of any operation fail with ErrUnavailable.
type Fault struct {
	Op  Op     // "" matches every operation
	Key string // "" matches every key; the prefix in a List, never one in a DeleteBatch

	Skip  int // matching calls that go well first
	Times int // matching calls that fail after them; 0 is one, negative is all

	// Err is what the call fails with, below a *backend.Error; nil is
	// backend.ErrUnavailable. With Delay or Hold set, nil means that the call goes on.
	Err error

	// Late lets the store do the work before the call fails: an answer that was lost.
	Late bool

	// Cut lets a Get succeed and breaks its body after this many bytes with Err; a List
	// yields this many entries first. 0 does not cut; negative cuts before the first.
	Cut int64

	Delay time.Duration   // before the call, or until its context is done
	Hold  <-chan struct{} // before the call, until this is closed or its context is done
}

// Faulty is a store for tests that passes everything on to another one, counts the calls
// and makes those fail that it was told to. It has all powers; use Plain around it to test
// without them. All methods may be called concurrently.
type Faulty struct {
	store Full

	mu     sync.Mutex
	faults []*Fault   // guarded by mu; Skip and Times count down
	counts map[Op]int // guarded by mu
	busy   map[Op]int // calls under way; guarded by mu
	peak   map[Op]int // guarded by mu
	bytes  atomic.Int64
}

var _ Full = (*Faulty)(nil)

// NewFaulty wraps s, which must be a Full: NewFaulty panics otherwise.
func NewFaulty(s backend.Store) *Faulty {
	return &Faulty{store: s.(Full), counts: map[Op]int{}, busy: map[Op]int{}, peak: map[Op]int{}}
}

// Inject adds a fault. Of several that match a call the one that was added first is used.
func (f *Faulty) Inject(ft Fault) {
	if ft.Times == 0 {
		ft.Times = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &ft)
}

// Heal removes all faults; calls that are delayed or held are not woken.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Count returns how many calls of op have begun since the last ResetCounts, the failed
// ones among them; of all operations if op is "". Reading on in a listing does not count.
func (f *Faulty) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op != "" {
		return f.counts[op]
	}
	sum := 0
	for _, n := range f.counts {
		sum += n
	}
	return sum
}

// Peak returns how many calls of op were under way at once at most since the last
// ResetCounts. A Get is under way until its body is closed.
func (f *Faulty) Peak(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.peak[op]
}

// BytesRead returns how many bytes the bodies of Gets have yielded since the last
// ResetCounts.
func (f *Faulty) BytesRead() int64 { return f.bytes.Load() }

// ResetCounts sets the counts to zero.
func (f *Faulty) ResetCounts() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.counts)
	clear(f.peak)
	f.bytes.Store(0)
}

// begin counts a call and returns the fault it meets, if any.
func (f *Faulty) begin(op Op, key string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	f.busy[op]++
	f.peak[op] = max(f.peak[op], f.busy[op])
	for i, ft := range f.faults {
		if ft.Op != "" && ft.Op != op || ft.Key != "" && ft.Key != key {
			continue
		}
		if ft.Skip > 0 {
			ft.Skip--
			continue
		}
		hit := *ft
		if ft.Times > 0 {
			ft.Times--
		}
		if ft.Times == 0 {
			f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
		}
		return &hit
	}
	return nil
}

func (f *Faulty) end(op Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[op]--
}

// wait spends the delay of ft; nil does nothing.
func (ft *Fault) wait(ctx context.Context) error {
	if ft == nil {
		return nil
	}
	if ft.Delay > 0 {
		t := time.NewTimer(ft.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if ft.Hold != nil {
		select {
		case <-ft.Hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// err returns what the call fails with, nil if it is only slow.
func (ft *Fault) err() error {
	switch {
	case ft == nil:
		return nil
	case ft.Err != nil:
		return ft.Err
	case ft.Delay > 0 || ft.Hold != nil:
		return nil
	}
	return backend.ErrUnavailable
}

func fault(op Op, key string, err error) error {
	return &backend.Error{Store: "faulty:", Op: string(op), Key: key, Err: err}
}

// call runs one operation under the faults of f.
func call[T any](ctx context.Context, f *Faulty, op Op, key string, do func() (T, error)) (T, error) {
	var none T
	ft := f.begin(op, key)
	defer f.end(op)
	if err := ft.wait(ctx); err != nil {
		return none, fault(op, key, err)
	}
	err := ft.err()
	if err != nil && !ft.Late {
		return none, fault(op, key, err)
	}
	v, doErr := do()
	if doErr == nil && err != nil {
		return none, fault(op, key, err)
	}
	return v, doErr
}

// run is call for operations that return nothing else.
func run(ctx context.Context, f *Faulty, op Op, key string, do func() error) error {
	_, err := call(ctx, f, op, key, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// stream is call for operations that yield.
func stream[T any](ctx context.Context, f *Faulty, op Op, key string, seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ft := f.begin(op, key)
		defer f.end(op)
		if err := ft.wait(ctx); err != nil {
			yield(none, fault(op, key, err))
			return
		}
		err := ft.err()
		left := int64(0)
		if err != nil {
			left = ft.Cut
		}
		for v, seqErr := range seq {
			if err != nil && left <= 0 {
				break
			}
			left--
			if !yield(v, seqErr) || seqErr != nil {
				return
			}
		}
		if err != nil {
			yield(none, fault(op, key, err))
		}
	}
}
