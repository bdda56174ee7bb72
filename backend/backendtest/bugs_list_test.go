package backendtest

import (
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func listBugs() []bug {
	list := func(name, check string, do func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badList{s, do} })}
	}
	each := func(s seq, f func(e *backend.Entry, err error) (keep bool)) seq {
		return func(yield func(backend.Entry, error) bool) {
			for e, err := range s {
				if f(&e, err) && !yield(e, err) {
					return
				}
			}
		}
	}
	const pages, matrix = "List is in byte order", "List rolls up"
	return []bug{
		list("lists in the order of a tree", pages, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return func(yield func(backend.Entry, error) bool) {
				var all []backend.Entry
				for e, err := range s.List(ctx, prefix, after, o) {
					if err != nil {
						yield(e, err)
						return
					}
					all = append(all, e)
				}
				slices.SortFunc(all, func(x, y backend.Entry) int {
					return slices.Compare(strings.Split(x.Key, "/"), strings.Split(y.Key, "/"))
				})
				for _, e := range all {
					if !yield(e, nil) {
						return
					}
				}
			}
		}),
		list("stops after one page", pages, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			n := 0
			return each(s.List(ctx, prefix, after, o), func(*backend.Entry, error) bool { n++; return n <= 100 })
		}),
		list("loses an entry between pages", pages, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			n := 0
			return each(s.List(ctx, prefix, after, o), func(*backend.Entry, error) bool {
				n++
				return o.PageSize == 0 || n%(o.PageSize+1) != 0
			})
		}),
		list("ignores after", matrix, func(s Full, ctx bg, prefix, _ string, o backend.ListOptions) seq {
			return s.List(ctx, prefix, "", o)
		}),
		list("includes after", matrix, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			if after != "" {
				after = after[:len(after)-1] + string(after[len(after)-1]-1) + "~"
			}
			return s.List(ctx, prefix, after, o)
		}),
		list("ignores the delimiter", matrix, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return s.List(ctx, prefix, after, backend.ListOptions{})
		}),
		list("takes the prefix for a directory", matrix, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			if prefix != "" && !strings.HasSuffix(prefix, "/") {
				prefix += "/"
			}
			return s.List(ctx, prefix, after, o)
		}),
		list("repeats the prefix that after lies in", matrix, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			if i := strings.LastIndexByte(after, '/'); o.Delimited && i >= 0 && len(prefix) <= i {
				after = after[:i]
			}
			return s.List(ctx, prefix, after, o)
		}),
		list("forgets the ETag", "List tells size", func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return each(s.List(ctx, prefix, after, o), func(e *backend.Entry, _ error) bool { e.ETag = ""; return true })
		}),
		list("shows deleted directories", "List of nothing", func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return func(yield func(backend.Entry, error) bool) {
				yield(backend.Entry{Object: obj{Key: prefix + "ghost/"}, Prefix: true}, nil)
			}
		}),
		list("goes on after an error", "List yields one error", func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return func(yield func(backend.Entry, error) bool) {
				for e, err := range s.List(ctx, prefix, after, o) {
					if !yield(e, err) || err != nil && !yield(e, err) {
						return
					}
				}
			}
		}),
		list("hides errors", "List yields one error", func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return each(s.List(ctx, prefix, after, o), func(_ *backend.Entry, err error) bool { return err == nil })
		}),
		list("can be ranged over once", "List can be stopped", func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			done := false
			return func(yield func(backend.Entry, error) bool) {
				if !done {
					done = true
					s.List(ctx, prefix, after, o)(yield)
				}
			}
		}),
		list("pages by number", "List does not miss", func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
			return func(yield func(backend.Entry, error) bool) {
				for seen := 0; ; seen++ {
					n := 0
					var found *backend.Entry
					for e, err := range s.List(ctx, prefix, after, o) {
						if err != nil {
							yield(e, err)
							return
						}
						if n++; n > seen {
							found = &e
							break
						}
					}
					if found == nil || !yield(*found, nil) {
						return
					}
				}
			}
		}),
	}
}
