package fs

import (
	"context"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
)

// The index of a directory is an object in it that repeats the metadata of its files, so that
// a listing needs no HEAD for each (cache/attrindex). It is no file here: listings leave it out,
// no name leads to it, and a directory in which nothing else is left is empty. It goes with its
// directory: rmdir deletes it, and a rename leaves it behind, deleted, for copies have versions
// of their own.

// openIndex begins the book of indexes. A mount that writes none still reads what others wrote,
// unless Options say otherwise.
func (f *FS) openIndex() (err error) {
	f.index, err = attrindex.New(attrindex.Options{
		Open: f.stores.open, Written: f.entries.Set, Log: f.log, Tuning: f.o.indexTuning,
		ReadOnly: f.o.ReadOnly || f.o.NoIndex,
	})
	return err
}

// indexLimit bounds how long the end of a mount waits for indexes to be written.
const indexLimit = 10 * time.Second

// closeIndex writes what waits, unless the store does not answer anyway.
func (f *FS) closeIndex(ctx context.Context) {
	limit := indexLimit
	if f.queue.Stats().Down {
		limit = 0
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f.index.Close(ctx)
}

// loadIndex reads the index of at. etag is the version that the listing shows, "" if it has not
// come so far: then there may be none.
func (f *FS) loadIndex(ctx context.Context, store backend.Store, at backend.Ref, etag string) *attrindex.Index {
	if f.o.NoIndex {
		return nil
	}
	return f.index.Load(ctx, store, at, etag)
}

// indexed completes a listed object from the index of its directory.
func (f *FS) indexed(x *attrindex.Index, at backend.Ref, listed backend.Object) (backend.Object, bool) {
	attrs, ok := f.index.Find(x, listed.Key[len(at.Key):], listed)
	if !ok {
		return listed, false
	}
	listed.Meta, listed.Header = attrs.Meta, attrs.Header
	return listed, true
}

// dropIndex deletes the index of a directory that is being removed. listed is what a listing has
// shown of it.
func (f *FS) dropIndex(dir backend.Ref, listed backend.Object) error {
	if there := f.index.Discard(dir); !there && listed.ETag == "" {
		return nil
	}
	return f.queue.Delete(backend.Ref{Bucket: dir.Bucket, Key: attrindex.Key(dir.Key)}, listed)
}

// dirOf is the directory that lists key.
func dirOf(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }

// fromListing finds the metadata of an object without a request, or with one for a whole
// directory: if a listing that is still believed shows it, and its version is remembered or in the
// index.
func (f *FS) fromListing(ctx context.Context, store backend.Store, ref backend.Ref) (backend.Object, bool) {
	listed, ok := f.entries.Listed(ref)
	if !ok || listed.State != backend.Online { // of others Head tells more
		return listed, false
	}
	obj, ok := f.entries.Complete(ref, listed)
	if !ok {
		at := backend.Ref{Bucket: ref.Bucket, Key: dirOf(ref.Key)}
		index, there := f.entries.Listed(backend.Ref{Bucket: at.Bucket, Key: attrindex.Key(at.Key)})
		if !there {
			return listed, false
		}
		if obj, ok = f.indexed(f.loadIndex(ctx, store, at, index.ETag), at, listed); !ok {
			return listed, false
		}
	}
	f.entries.Keep(ref, obj)
	return obj, true
}
