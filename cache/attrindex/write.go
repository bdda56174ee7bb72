package attrindex

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	writeLimit = time.Minute            // for one index
	idle       = time.Hour              // how long run sleeps when nothing is due
	pause      = 100 * time.Millisecond // between two looks at what is due
	tries      = 5                      // at an index that others write too
)

// run writes indexes as they become due.
func (b *Book) run() {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		pause := min(pause, b.o.Tuning.Quiet)
		timer.Reset(max(b.startDue(), pause))
		select {
		case <-timer.C:
		case <-b.ctx.Done():
			return
		case <-b.wake:
			select { // what comes together is looked at together
			case <-time.After(pause):
			case <-b.ctx.Done():
				return
			}
		}
	}
}

// startDue begins to write what is due and returns how long to wait for the next.
func (b *Book) startDue() time.Duration {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := idle
	for at, d := range b.dirs {
		if !b.worthLocked(d) {
			continue
		}
		if left := d.due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if b.writing >= workers {
			continue // the end of one wakes
		}
		b.writing++
		ctx := b.beginLocked(b.ctx, d)
		b.wg.Go(func() {
			b.write(ctx, at, d)
			b.mu.Lock()
			b.writing--
			b.mu.Unlock()
			b.kick()
		})
	}
	b.next = now.Add(wait)
	return wait
}

func (b *Book) beginLocked(ctx context.Context, d *dir) context.Context {
	d.busy = make(chan struct{})
	ctx, d.cancel = context.WithTimeout(ctx, writeLimit)
	return ctx
}

// write brings the index of at up to date, d.busy having been set, as far as versions are old
// enough, and plans what is left.
func (b *Book) write(ctx context.Context, at backend.Ref, d *dir) {
	b.mu.Lock()
	taken := b.ripeLocked(d)
	b.mu.Unlock()
	var err error
	absent := false
	if len(taken) > 0 {
		absent, err = b.store(ctx, at, taken)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	d.cancel()
	close(d.busy)
	d.busy = nil
	switch {
	case errors.Is(err, backend.ErrPermission), errors.Is(err, errArchived):
		b.o.Log.Info("the bucket takes no indexes of attributes", slog.String("bucket", at.Bucket), slog.Any("err", err))
		b.refused[at.Bucket] = true
		b.dropLocked(at, d)
		return
	case errors.Is(err, errGone):
		b.dropLocked(at, d)
		return
	case err != nil && b.ctx.Err() != nil: // Close tries once more
	case err != nil:
		b.o.Log.Info("index of attributes not written", slog.String("key", at.String()), slog.Any("err", err))
		d.fails++
	case absent:
		d.absent = true
	default:
		d.fails, d.absent = 0, false
		b.doneLocked(d, taken)
	}
	if len(d.changes) == 0 {
		b.dropLocked(at, d)
		return
	}
	b.planLocked(at, d, now)
}

// ripeLocked returns the changes of d that an index may name.
func (b *Book) ripeLocked(d *dir) map[string]change {
	taken := map[string]change{}
	for name, c := range d.changes {
		if c.entry == nil || time.Since(c.at) >= b.o.Tuning.Settled {
			taken[name] = c
		}
	}
	return taken
}

// doneLocked forgets the changes that the store has, if no newer ones came.
func (b *Book) doneLocked(d *dir, taken map[string]change) {
	d.first = time.Now()
	for name, c := range taken {
		if d.changes[name].at != c.at {
			continue
		}
		delete(d.changes, name)
		b.waiting--
		if c.entry != nil {
			d.adds--
		}
	}
}

// store merges changes into the index in the store. It reports absent if there is none, and
// too few files for one.
func (b *Book) store(ctx context.Context, at backend.Ref, taken map[string]change) (absent bool, err error) {
	s, err := b.o.Open(ctx, at.Bucket)
	if err != nil {
		return false, err
	}
	entries := make(map[string][]byte, len(taken))
	adds := 0
	for name, c := range taken {
		if entries[name] = c.entry; c.entry != nil {
			adds++
		}
	}
	old, ok := b.known(at)
	for range tries {
		if !ok {
			old, err = b.current(ctx, s, at)
		}
		if err == nil && old.etag == "" && adds < b.o.Tuning.Few {
			return true, nil
		}
		if err == nil {
			err = b.replace(ctx, s, at, old, entries)
		}
		if !errors.Is(err, backend.ErrChanged) && !errors.Is(err, backend.ErrNotExist) {
			return false, err
		}
		ok = false // another mount was faster
	}
	return false, err
}

// replace stores old with changes in its place.
func (b *Book) replace(ctx context.Context, s backend.Store, at backend.Ref, old known, changes map[string][]byte) error {
	var listed map[string]bool
	var err error
	switch {
	case old.etag == "": // another mount may have removed the directory: an index would bring it back
		err = inhabited(ctx, s, at)
	case old.index.overgrown():
		listed, err = names(ctx, s, at)
	}
	if err != nil {
		return err
	}
	return b.put(ctx, s, at, old.etag, old.index.merge(changes, listed))
}

// current is the index that the store has; without an ETag it has none.
func (b *Book) current(ctx context.Context, s backend.Store, at backend.Ref) (known, error) {
	head, err := s.Head(ctx, Key(at.Key))
	switch {
	case errors.Is(err, backend.ErrNotExist):
		return known{}, nil
	case err != nil:
		return known{}, err
	case !head.State.Readable() || head.Size > maxBody:
		return known{etag: head.ETag}, nil // archived by a rule of the bucket, or none of ours
	}
	x, err := fetch(ctx, s, at, head.ETag)
	if errors.Is(err, errDamaged) {
		err = nil
	}
	return known{head.ETag, x}, err
}

var (
	errGone     = errors.New("nothing is left in the directory")
	errArchived = errors.New("the store archives what it is given")
)

// inhabited is errGone if the store has nothing of a directory.
func inhabited(ctx context.Context, s backend.Store, at backend.Ref) error {
	for e, err := range s.List(ctx, at.Key, "", backend.ListOptions{PageSize: 2}) {
		if err != nil || e.Key != Key(at.Key) {
			return err
		}
	}
	return errGone
}

// names are those that a directory has, nil if they are too many.
func names(ctx context.Context, s backend.Store, at backend.Ref) (map[string]bool, error) {
	all := map[string]bool{}
	for e, err := range s.List(ctx, at.Key, "", backend.ListOptions{Delimited: true}) {
		if err != nil {
			return nil, err
		}
		if all[e.Key[len(at.Key):]] = true; len(all) > maxListing {
			return nil, nil
		}
	}
	return all, nil
}

// put stores x in place of the version etag, "" for none.
func (b *Book) put(ctx context.Context, s backend.Store, at backend.Ref, etag string, x *Index) error {
	body, err := x.encode()
	if err != nil {
		return err
	}
	opts := backend.PutOptions{
		Attrs: backend.Attrs{Header: map[string]string{"content-type": "application/vnd.thawfs.attributes"}},
		Cond:  backend.Cond{IfMatch: etag, IfAbsent: etag == ""},
	}
	send := func() (backend.Object, error) {
		return s.Put(ctx, Key(at.Key), io.NewSectionReader(bytes.NewReader(body), 0, int64(len(body))), opts)
	}
	obj, err := send()
	if errors.Is(err, backend.ErrUnsupported) { // then it is asked just before
		head, headErr := s.Head(ctx, Key(at.Key))
		switch {
		case headErr != nil && !errors.Is(headErr, backend.ErrNotExist):
			return headErr
		case head.ETag != etag:
			return backend.ErrChanged
		}
		opts.Cond = backend.Cond{}
		obj, err = send()
	}
	if err != nil {
		return err
	}
	if !obj.State.Readable() { // a store of archives: it shall hold no more of them
		return errors.Join(errArchived, s.Delete(ctx, Key(at.Key)))
	}
	b.learn(at, known{obj.ETag, x})
	if b.o.Written != nil {
		b.o.Written(backend.Ref{Bucket: at.Bucket, Key: Key(at.Key)}, obj)
	}
	return nil
}

// flush writes what is worth it before a mount ends, when it is old enough.
func (b *Book) flush(ctx context.Context) {
	var youngest time.Time
	for _, d := range b.flushable() {
		b.mu.Lock()
		for _, c := range d.changes {
			if c.at.After(youngest) {
				youngest = c.at
			}
		}
		b.mu.Unlock()
	}
	if !youngest.IsZero() {
		select {
		case <-time.After(b.o.Tuning.Settled - time.Since(youngest)):
		case <-ctx.Done():
		}
	}
	b.flushOnce(ctx)
}

func (b *Book) flushOnce(ctx context.Context) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for at, d := range b.flushable() {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			b.mu.Lock()
			began := d.busy == nil && ctx.Err() == nil
			var limited context.Context
			if began {
				limited = b.beginLocked(ctx, d)
			}
			b.mu.Unlock()
			if began {
				b.write(limited, at, d)
			}
		})
	}
	wg.Wait()
}

// flushable are the directories whose index is worth to be written now: not those with few
// changes of which it would have to be found out whether there is one.
func (b *Book) flushable() map[backend.Ref]*dir {
	b.mu.Lock()
	defer b.mu.Unlock()
	dirs := map[backend.Ref]*dir{}
	for at, d := range b.dirs {
		k, _ := b.read.Peek(at)
		if b.worthLocked(d) && d.fails == 0 && (d.adds >= b.o.Tuning.Few || k.etag != "") {
			dirs[at] = d
		}
	}
	return dirs
}
