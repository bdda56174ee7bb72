package fs

import (
	"context"
	"errors"
	"fmt"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/blocks"
	"github.com/thawfs/thawfs/cache/writeback"
)

// What the commands of a running mount do, without the kernel.

// Stats are figures of this moment and counters since the start.
type Stats struct {
	Cache       blocks.Stats
	Queue       writeback.Stats
	Failures    int64 // requests of programs answered with EIO
	Passthrough bool  // the kernel reads and writes local files by itself
}

// Stats looks into memory only.
func (f *FS) Stats() Stats {
	return Stats{Cache: f.blocks.Stats(), Queue: f.queue.Stats(), Failures: f.failures.Load(), Passthrough: f.passthrough.Load()}
}

// all reports whether p is all that this mount shows.
func (f *FS) all(p Place) bool {
	return p.Dir && p.Ref == backend.Ref{Bucket: f.o.Bucket, Key: f.o.Prefix}
}

// Flush returns when the store has confirmed what was closed at or below p, or with the errors why
// that will not be by itself. It goes on trying while the store is down: ctx bounds that.
func (f *FS) Flush(ctx context.Context, p Place) error {
	switch {
	case f.all(p):
		return f.queue.Drain(ctx)
	case p.Dir:
		return f.queue.WaitBelow(ctx, p.Ref.Bucket, p.Ref.Key)
	}
	return f.queue.Wait(ctx, p.Ref)
}

// PendingBelow counts the changes at and below p that the store has not confirmed, the bytes of
// content among them, and those whose last attempt failed.
func (f *FS) PendingBelow(p Place) (files int, bytes int64, failed int) {
	if f.all(p) {
		return f.Pending()
	}
	for w := range f.queue.List(p.Ref.Bucket, p.Ref.Key, "") {
		if w.Clean || w.Parked || !p.Dir && w.Ref != p.Ref {
			continue
		}
		files++
		if w.Object.ETag == "" {
			bytes += w.Object.Size
		}
		if w.Err != nil {
			failed++
		}
	}
	return files, bytes, failed
}

// Drop takes what is cached of the content at and below p from the disk, and ends pins there. It
// returns how many files it looked at.
func (f *FS) Drop(ctx context.Context, p Place) (files int, err error) {
	return f.each(ctx, p, func(file Place) error {
		if err := f.blocks.Unpin(file.Ref); err != nil {
			return err
		}
		f.blocks.Forget(file.Ref)
		return nil
	})
}

// Clear takes everything from the disk that no pin keeps.
func (f *FS) Clear() { f.blocks.Clear() }

// Unpin ends pins at and below p. What is on the disk stays for now.
func (f *FS) Unpin(ctx context.Context, p Place) (files int, err error) {
	return f.each(ctx, p, func(file Place) error { return f.blocks.Unpin(file.Ref) })
}

// Pin brings the content of files at and below p to the disk and keeps it there. done is told of each
// file, with its error if it has one; an error of done ends it.
func (f *FS) Pin(ctx context.Context, p Place, done func(file Place, err error) error) error {
	_, err := f.each(ctx, p, func(file Place) error { return done(file, f.pin(ctx, file)) })
	return err
}

func (f *FS) pin(ctx context.Context, file Place) error {
	obj := file.Object
	if obj.ETag == "" {
		return errors.New("not in the store yet: flush it first")
	}
	if obj.Size == 0 {
		return nil
	}
	store, err := f.stores.open(ctx, file.Ref.Bucket)
	if err == nil && !obj.State.Readable() {
		err = fmt.Errorf("%w: restore it first", backend.ErrArchived)
	}
	if err != nil {
		return err
	}
	// Pinned first: what follows may need its room.
	if err := f.blocks.Pin(file.Ref); err != nil {
		return err
	}
	whole, err := f.blocks.Fill(ctx, store, file.Ref, obj)
	if err != nil {
		return errors.Join(err, f.blocks.Unpin(file.Ref))
	}
	return whole.Close()
}

// SetCacheSize changes how many bytes the cache may take on the disk until the mount ends.
func (f *FS) SetCacheSize(bytes int64) error { return f.blocks.SetCapacity(bytes) }

// each calls do for the file p, or those below the directory p.
func (f *FS) each(ctx context.Context, p Place, do func(Place) error) (n int, err error) {
	if !p.Dir {
		return 1, do(p)
	}
	for file, err := range f.Tree(ctx, p) {
		if err == nil {
			err = do(file)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
