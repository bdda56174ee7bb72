package main

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
)

const (
	lookups     = 32  // paths that are looked up at once
	listedFrom  = 32  // paths in one directory that are worth a listing of it
	listedWorth = 200 // entries of it that one path is worth: a page has a thousand
)

// locate finds the places of all paths, each once. What leads nowhere is told and counted.
func (r *restoring) locate(ctx context.Context) ([]fs.Place, error) {
	byDir := map[string][]string{}
	for _, p := range r.req.Paths {
		p = path.Clean("/" + p)
		byDir[path.Dir(p)] = append(byDir[path.Dir(p)], path.Base(p))
	}
	var places []fs.Place
	var single []string
	for dir, names := range byDir {
		found, rest := r.listed(ctx, dir, names)
		places = append(places, found...)
		for _, name := range rest {
			single = append(single, path.Join(dir, name))
		}
	}
	found, errs := r.lookUp(ctx, single)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, p := range found {
		err := errs[i]
		if err == nil && p.Dir && !r.req.Recursive {
			err = errors.New("a directory: add -r to restore what is in it")
		}
		if err != nil {
			r.lost++
			r.tell(strings.TrimPrefix(single[i], "/"), recall.IsFailed, lookupError(err))
			continue
		}
		places = append(places, p)
	}
	return distinct(places), nil
}

// lookupError is err as the user of a path reads it.
func lookupError(err error) error {
	if errors.Is(err, backend.ErrNotExist) {
		return errors.New("no such file or directory")
	}
	return err
}

// listed finds files of one directory in its listing, if they are many, and returns the names
// that it did not find there.
func (r *restoring) listed(ctx context.Context, dir string, names []string) (found []fs.Place, rest []string) {
	if len(names) < listedFrom {
		return nil, names
	}
	p, err := r.d.m.Locate(ctx, dir)
	if err != nil || !p.Dir {
		return nil, names // each will say why
	}
	want := map[string]*fs.Place{}
	for _, name := range names {
		want[name] = nil
	}
	seen, missing := 0, len(want)
	for c, err := range r.d.m.Places(ctx, p) {
		if seen++; err != nil || missing == 0 || seen > listedWorth*len(want) {
			break
		}
		if at, wanted := want[c.Name]; wanted && at == nil {
			want[c.Name] = &c
			missing--
		}
	}
	for name, at := range want {
		if at == nil || at.Dir {
			rest = append(rest, name)
		} else {
			found = append(found, *at)
		}
	}
	return found, rest
}

// lookUp finds each path by itself, several at once.
func (r *restoring) lookUp(ctx context.Context, paths []string) ([]fs.Place, []error) {
	places, errs := make([]fs.Place, len(paths)), make([]error, len(paths))
	var g errgroup.Group
	g.SetLimit(lookups)
	for i, p := range paths {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				places[i], errs[i] = r.d.m.Locate(ctx, p)
			}
			return nil
		})
	}
	_ = g.Wait() // nothing fails
	return places, errs
}

// distinct leaves out places that are there twice or lie in a directory that is there.
func distinct(places []fs.Place) []fs.Place {
	slices.SortFunc(places, func(a, b fs.Place) int {
		return cmp.Or(cmp.Compare(a.Ref.Bucket, b.Ref.Bucket), cmp.Compare(a.Ref.Key, b.Ref.Key))
	})
	var kept []fs.Place
	for _, p := range places {
		if n := len(kept); n > 0 && covers(kept[n-1], p) {
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// covers reports whether b is a or lies in it.
func covers(a, b fs.Place) bool {
	switch {
	case a.Dir && a.Ref.Bucket == "":
		return true // all buckets
	case a.Ref.Bucket != b.Ref.Bucket:
		return false
	case a.Dir:
		return strings.HasPrefix(b.Ref.Key, a.Ref.Key)
	}
	return a.Ref == b.Ref
}
