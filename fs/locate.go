package fs

import (
	"context"
	"iter"
	"path"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// A Place is what a path of the mount stands for in the store. The root of all buckets has
// an empty Ref.
type Place struct {
	Name   string // the last element of the path
	Ref    backend.Ref
	Dir    bool           // Ref.Key is what keys below begin with
	Object backend.Object // of a directory: its marker, or only a Key
}

// Locate finds the place of a path relative to the mountpoint, without the kernel.
func (f *FS) Locate(ctx context.Context, rel string) (Place, error) {
	rel = strings.Trim(path.Clean("/"+rel), "/")
	var elems []string
	if rel != "" {
		elems = strings.Split(rel, "/")
	}
	p := Place{Dir: true, Ref: backend.Ref{Bucket: f.o.Bucket, Key: f.o.Prefix}}
	if f.o.Bucket == "" {
		if len(elems) == 0 {
			return p, nil
		}
		p.Name, p.Ref.Bucket = elems[0], elems[0]
		elems = elems[1:]
	}
	if _, err := f.stores.open(ctx, p.Ref.Bucket); err != nil {
		return p, err
	}
	for _, name := range elems {
		if !p.Dir {
			return p, backend.ErrNotExist
		}
		fd, err := f.topDir(p.Ref.Bucket, p.Ref.Key).resolve(ctx, name)
		if err != nil {
			return p, err
		}
		p = f.place(p.Ref, name, fd)
	}
	return p, nil
}

func (f *FS) place(at backend.Ref, name string, fd found) Place {
	p := Place{Name: name, Ref: backend.Ref{Bucket: at.Bucket, Key: at.Key + fd.comp}, Dir: fd.dir, Object: fd.obj}
	if fd.dir {
		p.Ref.Key += "/"
	}
	return p
}

// Places yields what lies in the directory p, as a listing shows it: the objects may lack
// their metadata.
func (f *FS) Places(ctx context.Context, p Place) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		if p.Ref.Bucket == "" {
			for b, err := range f.o.Service.Buckets(ctx) {
				if !yield(Place{Name: b.Name, Ref: backend.Ref{Bucket: b.Name}, Dir: true}, err) || err != nil {
					return
				}
			}
			return
		}
		h := &dirHandle{at: p.Ref}
		for e, err := range newLister(f, p.Ref).all(ctx) {
			if err != nil {
				yield(Place{}, err)
				return
			}
			de := h.entry(e)
			if !yield(f.place(p.Ref, de.name, de.fd), nil) {
				return
			}
		}
	}
}
