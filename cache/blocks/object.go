package blocks

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/thawfs/thawfs/backend"
)

// File opens the one local file that holds all of obj, if there is one and its bytes were
// written or compared with their checksums since the start; one of up to 8 MiB is compared
// now. It is open for reading and writing, as FUSE passthrough wants it, but nobody may
// write to it. The caller closes it; while it is open the file is not evicted.
func (c *Cache) File(ref backend.Ref, obj backend.Object) (*os.File, bool) {
	if c.disk == nil || obj.ETag == "" {
		return nil, false
	}
	if obj.Size == 0 {
		f, err := c.disk.empty()
		return f, err == nil
	}
	f, ok := c.disk.file(context.Background(), sourceOf(ref, obj), false, true)
	if ok {
		c.count.hits.Add(1)
	}
	return f, ok
}

// Whole reports whether all bytes of obj are on disk, so that they can be read without the
// store: as long as they are not evicted, and unless they turn out to be damaged.
func (c *Cache) Whole(ref backend.Ref, obj backend.Object) bool {
	if obj.Size == 0 {
		return true
	}
	return c.disk != nil && obj.ETag != "" && c.disk.wholeVersion(sourceOf(ref, obj)) != nil
}

// Fill fetches what is missing of obj and returns it as File does. It fails where a read
// would, and when the file cannot be kept: the cache is too small, full of files in use, or
// broken. Then a Reader still works.
func (c *Cache) Fill(ctx context.Context, store backend.Store, ref backend.Ref, obj backend.Object) (*os.File, error) {
	f, err := c.fillFile(ctx, store, ref, obj)
	if err != nil {
		return nil, fmt.Errorf("fill cache with %q: %w", ref.Key, err)
	}
	return f, nil
}

func (c *Cache) fillFile(ctx context.Context, store backend.Store, ref backend.Ref, obj backend.Object) (*os.File, error) {
	if c.disk == nil || obj.ETag == "" {
		return nil, errDisabled
	}
	if obj.Size == 0 {
		return c.disk.empty()
	}
	s := sourceOf(ref, obj)
	for range fillAttempts {
		if f, ok := c.disk.file(ctx, s, true, false); ok {
			return f, nil
		}
		f, err := c.tryFill(ctx, store, ref, obj, s)
		if !errors.Is(err, errStale) {
			return f, err
		}
	}
	return nil, errStale
}

// A Fill begins again when the file was taken or forgotten meanwhile, or found damaged.
const fillAttempts = 3

func (c *Cache) tryFill(ctx context.Context, store backend.Store, ref backend.Ref, obj backend.Object, s source) (*os.File, error) {
	v, err := c.disk.beginFill(s)
	if err != nil {
		return nil, err
	}
	defer c.disk.endFill(v)
	r := c.Open(store, ref, obj)
	defer r.Close()
	for g := range granules(s.size) {
		if c.disk.missing(s, g, 1) == 0 {
			continue
		}
		if err := r.keep(ctx, g); err != nil {
			return nil, err
		}
	}
	f, ok := c.disk.file(ctx, s, true, false)
	if !ok {
		return nil, errors.Join(errStale, ctx.Err())
	}
	return f, nil
}

// keep fetches granule g and waits until it is on disk.
func (r *Reader) keep(ctx context.Context, g int64) error {
	off := g * granuleSize
	s := r.note(off, int64(granuleLen(r.size, g)))
	gr := r.c.memory.attach(granuleKey{r.id, g})
	if gr == nil {
		var err error
		if gr, err = r.demand(ctx, s, g, off+int64(granuleLen(r.size, g))); err != nil {
			return err
		}
	}
	r.readAhead(s)
	err := gr.wait(ctx)
	if err == nil {
		err = r.c.disk.storeNow(ctx, r.source, g, gr.data)
	}
	r.c.memory.unpin(gr, err == nil)
	return err
}

// Adopt renames the local file at path, which holds exactly obj, into the cache; it must be
// on the same file system. Descriptors of it stay good, but nobody may write to it any more.
// A large file is summed in the background. On failure path is still there.
func (c *Cache) Adopt(path string, ref backend.Ref, obj backend.Object) error {
	if c.disk == nil || obj.ETag == "" {
		return fmt.Errorf("adopt %q: %w", ref.Key, errDisabled)
	}
	if obj.Size == 0 {
		return os.Remove(path) // File makes an empty one as well
	}
	if err := c.disk.adopt(path, sourceOf(ref, obj)); err != nil {
		return fmt.Errorf("adopt %q: %w", ref.Key, err)
	}
	return nil
}

// Take is the reverse of Adopt: it renames the file that holds all of obj to path, if there is
// one, and forgets it. The caller may write to it from then on: readers of obj fetch from the
// store what they do not find in memory. Files that File and Fill returned are the same file.
func (c *Cache) Take(ref backend.Ref, obj backend.Object, to string) bool {
	if c.disk == nil || obj.ETag == "" || obj.Size == 0 {
		return false
	}
	return c.disk.take(sourceOf(ref, obj), to)
}
