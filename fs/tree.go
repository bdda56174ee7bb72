package fs

import (
	"context"
	"iter"
	"path"
	"strings"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/cache/writeback"
)

// Tree yields every file below the directory p, from one listing of each bucket and from
// what waits in the queue, in byte order of the keys. Name is the path from p; a file that a
// directory of the same name hides is not told from it. Objects may lack their metadata.
func (f *FS) Tree(ctx context.Context, p Place) iter.Seq2[Place, error] {
	if p.Ref.Bucket != "" {
		return f.bucketTree(ctx, p)
	}
	return func(yield func(Place, error) bool) {
		for bucket, err := range f.Places(ctx, p) {
			if err != nil {
				yield(Place{}, err)
				return
			}
			for file, err := range f.bucketTree(ctx, bucket) {
				file.Name = path.Join(bucket.Name, file.Name)
				if !yield(file, err) || err != nil {
					return
				}
			}
		}
	}
}

func (f *FS) bucketTree(ctx context.Context, p Place) iter.Seq2[Place, error] {
	at := p.Ref
	return func(yield func(Place, error) bool) {
		store, err := f.stores.open(ctx, at.Bucket)
		if err != nil {
			yield(Place{}, err)
			return
		}
		show := func(obj backend.Object) bool {
			if strings.HasSuffix(obj.Key, "/") && obj.Size == 0 || attrindex.IsKey(obj.Key) {
				return true // a marker, or no file
			}
			ref := backend.Ref{Bucket: at.Bucket, Key: obj.Key}
			return yield(Place{Name: keyPath(obj.Key[len(at.Key):]), Ref: ref, Object: obj}, nil)
		}
		next, stop := iter.Pull(f.queue.List(at.Bucket, at.Key, ""))
		defer stop()
		wait, waits := next()
		for e, err := range store.List(ctx, at.Key, "", backend.ListOptions{}) {
			if err != nil {
				yield(Place{}, err)
				return
			}
			for ; waits && wait.Ref.Key < e.Key; wait, waits = next() {
				if unsent(wait) && !show(wait.Object) {
					return
				}
			}
			if waits && wait.Ref.Key == e.Key {
				gone := wait.Gone
				if unsent(wait) {
					e.Object = wait.Object
				}
				if wait, waits = next(); gone {
					continue
				}
			}
			if !show(e.Object) {
				return
			}
		}
		for ; waits; wait, waits = next() {
			if unsent(wait) && !show(wait.Object) {
				return
			}
		}
	}
}

// unsent reports whether p is content that the store does not have.
func unsent(p writeback.Pending) bool { return !p.Gone && p.Object.ETag == "" }

// Path is where the mount shows the object ref, relative to the mountpoint.
func (f *FS) Path(ref backend.Ref) string {
	name := keyPath(strings.TrimPrefix(ref.Key, f.o.Prefix))
	if f.o.Bucket == "" {
		return path.Join(ref.Bucket, name)
	}
	return name
}

// keyPath is a key as a path.
func keyPath(key string) string {
	comps := strings.Split(key, "/")
	for i, comp := range comps {
		kind := plainElem
		if i == len(comps)-1 && comp == "" {
			kind = objectElem
		}
		comps[i] = elemName(comp, kind)
	}
	return strings.Join(comps, "/")
}
