package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// A bug is a way of being wrong, and the check that must notice.
type bug struct {
	name, check string
	service     func(backend.Service) backend.Service
}

// in makes a bug of the service from one of its stores.
func in(wrap func(Full) backend.Store) func(backend.Service) backend.Service {
	return func(s backend.Service) backend.Service { return brokenService{s, wrap} }
}

type (
	bg   = context.Context
	obj  = backend.Object
	opts = backend.PutOptions
	seq  = iter.Seq2[backend.Entry, error]
)

// Each of these is a store with one method replaced; the functions call the good one.
type (
	badHead struct {
		Full
		do func(s Full, ctx bg, key string) (obj, error)
	}
	badGet struct {
		Full
		do func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error)
	}
	badPut struct {
		Full
		do func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error)
	}
	badDelete struct {
		Full
		do func(s Full, ctx bg, key string) error
	}
	badList struct {
		Full
		do func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq
	}
	badCopy struct {
		Full
		do func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error)
	}
	badNewUpload struct {
		Full
		do func(s Full, ctx bg, key string, o opts) (backend.Upload, error)
	}
	badUploadPart struct {
		Full
		do func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error)
	}
	badComplete struct {
		Full
		do func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error)
	}
	badAbort struct {
		Full
		do func(s Full, ctx bg, up backend.Upload) error
	}
	badCopyPart struct {
		Full
		do func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error)
	}
	badBatch struct {
		Full
		do func(s Full, ctx bg, keys []string) map[string]error
	}
	badRestore struct {
		Full
		do func(s Full, ctx bg, key string, o backend.RestoreOptions) error
	}
)

func (s badHead) Head(ctx bg, key string) (obj, error) { return s.do(s.Full, ctx, key) }
func (s badGet) Get(ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
	return s.do(s.Full, ctx, key, etag, off, n)
}

func (s badPut) Put(ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
	return s.do(s.Full, ctx, key, r, o)
}
func (s badDelete) Delete(ctx bg, key string) error { return s.do(s.Full, ctx, key) }
func (s badList) List(ctx bg, prefix, after string, o backend.ListOptions) seq {
	return s.do(s.Full, ctx, prefix, after, o)
}

func (s badCopy) Copy(ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
	return s.do(s.Full, ctx, from, to, o)
}

func (s badNewUpload) NewUpload(ctx bg, key string, o opts) (backend.Upload, error) {
	return s.do(s.Full, ctx, key, o)
}

func (s badUploadPart) UploadPart(ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
	return s.do(s.Full, ctx, up, n, r, crc)
}

func (s badComplete) Complete(ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
	return s.do(s.Full, ctx, up, ps, o)
}
func (s badAbort) Abort(ctx bg, up backend.Upload) error { return s.do(s.Full, ctx, up) }
func (s badCopyPart) CopyPart(ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error) {
	return s.do(s.Full, ctx, up, n, from, off, size)
}

func (s badBatch) DeleteBatch(ctx bg, keys []string) map[string]error {
	return s.do(s.Full, ctx, keys)
}

func (s badRestore) Restore(ctx bg, key string, o backend.RestoreOptions) error {
	return s.do(s.Full, ctx, key, o)
}

// bugs are real ones of real stores and clients, where one was known.
func bugs() []bug {
	return slices.Concat(getBugs(), putBugs(), listBugs(), keyBugs(), copyBugs(), partBugs(), otherBugs())
}

func getBugs() []bug {
	get := func(name, check string, do func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badGet{s, do} })}
	}
	const ranges = "Get returns exactly the range"
	return []bug{
		get("ignores the ETag", "Get fails with ErrChanged", func(s Full, ctx bg, key, _ string, off, n int64) (io.ReadCloser, error) {
			return s.Get(ctx, key, "", off, n)
		}),
		get("ignores the length", ranges, func(s Full, ctx bg, key, etag string, off, _ int64) (io.ReadCloser, error) {
			return s.Get(ctx, key, etag, off, -1)
		}),
		get("ignores the offset", ranges, func(s Full, ctx bg, key, etag string, _, n int64) (io.ReadCloser, error) {
			return s.Get(ctx, key, etag, 0, n)
		}),
		get("takes length 0 for all", ranges, func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			if n == 0 {
				n = -1
			}
			return s.Get(ctx, key, etag, off, n)
		}),
		get("fails for a range past the end", ranges, func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			if o, err := s.Head(ctx, key); err == nil && off >= o.Size {
				return nil, fault(OpGet, key, backend.ErrInvalid)
			}
			return s.Get(ctx, key, etag, off, n)
		}),
		get("ends the body short", "Get serves many readers", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			r, err := s.Get(ctx, key, etag, off, n)
			return struct {
				io.Reader
				io.Closer
			}{io.LimitReader(r, 200_000), r}, err
		}),
		get("mixes two versions", "Get beside a replacement", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			return &twoStep{s: s, ctx: ctx, key: key}, nil
		}),
		get("says ErrNotExist in bare words", "Get and Head of an absent key", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			r, err := s.Get(ctx, key, etag, off, n)
			if err != nil {
				err = backend.ErrNotExist
			}
			return r, err
		}),
		get("ends early when cancelled", "Get cancelled on the way", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			r, err := s.Get(ctx, key, etag, off, n)
			return mute{r}, err
		}),
		get("opens archived objects", "archived objects are ErrArchived", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("frozen")), nil
		}),
	}
}

// A twoStep reads an object in two requests without an ETag, between which it is replaced.
type twoStep struct {
	s     Full
	ctx   bg
	key   string
	off   int64
	after bool
}

func (r *twoStep) Read(p []byte) (int, error) {
	n := int64(20_000)
	if r.after {
		n = -1
	} else {
		defer r.s.Put(r.ctx, r.key, body(bytes.Repeat([]byte("f"), 85_000)), opts{})
	}
	content, err := r.s.Get(r.ctx, r.key, "", r.off, n)
	if err != nil {
		return 0, err
	}
	defer content.Close()
	got, err := content.Read(p)
	r.off, r.after = r.off+int64(got), true
	return got, err
}

func (r *twoStep) Close() error { return nil }

// mute takes every error for the end.
type mute struct{ io.ReadCloser }

func (m mute) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// A meeting lets all contenders of a race look before the first of them goes on.
type meeting struct {
	mu sync.Mutex
	at map[string]chan struct{} // by key; guarded by mu
	n  map[string]int           // who has come; guarded by mu
}

func (m *meeting) wait(key string) {
	m.mu.Lock()
	if m.at[key] == nil {
		m.at[key] = make(chan struct{})
	}
	at := m.at[key]
	if m.n[key]++; m.n[key] == contenders {
		close(at)
	}
	m.mu.Unlock()
	<-at
}

func putBugs() []bug {
	put := func(name, check string, do func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badPut{s, do} })}
	}
	looked := &meeting{at: map[string]chan struct{}{}, n: map[string]int{}}
	return []bug{
		put("ignores IfMatch", "Put honours IfMatch", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			o.IfMatch = ""
			return s.Put(ctx, key, r, o)
		}),
		put("ignores IfAbsent", "Put honours IfAbsent", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			o.IfAbsent = false
			return s.Put(ctx, key, r, o)
		}),
		put("looks, then puts", "Put with IfAbsent: of many one wins", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			_, err := s.Head(ctx, key)
			looked.wait(key)
			if err == nil {
				return obj{}, fault(OpPut, key, backend.ErrChanged)
			}
			o.Cond = backend.Cond{}
			return s.Put(ctx, key, r, o)
		}),
		put("changes before it says ErrUnsupported", "Put honours IfMatch", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			if o.IfMatch == "" {
				return s.Put(ctx, key, r, o)
			}
			o.Cond = backend.Cond{}
			_, _ = s.Put(ctx, key, r, o)
			return obj{}, fault(OpPut, key, backend.ErrUnsupported)
		}),
		put("says ErrExist for ErrChanged", "Put honours IfAbsent", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			stored, err := s.Put(ctx, key, r, o)
			if errors.Is(err, backend.ErrChanged) {
				err = fault(OpPut, key, backend.ErrExist)
			}
			return stored, err
		}),
		put("forgets Meta", "Put keeps Meta", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			o.Meta = nil
			return s.Put(ctx, key, r, o)
		}),
		put("drops empty Meta", "Put keeps Meta", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			meta := map[string]string{}
			for k, v := range o.Meta {
				if v != "" {
					meta[k] = v
				}
			}
			o.Meta = meta
			return s.Put(ctx, key, r, o)
		}),
		put("forgets Header", "Put keeps Header", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			o.Header = nil
			return s.Put(ctx, key, r, o)
		}),
		put("drops unknown headers", "Put refuses other headers", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			o.Header = nil
			return s.Put(ctx, key, r, o)
		}),
		put("returns no Meta", "Put replaces", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			stored, err := s.Put(ctx, key, r, o)
			stored.Meta = nil
			return stored, err
		}),
		put("returns no ModTime", "Put replaces", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			stored, err := s.Put(ctx, key, r, o)
			stored.ModTime = stored.ModTime.AddDate(0, 0, -1)
			return stored, err
		}),
		put("merges with the old Meta", "Put replaces", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			if old, err := s.Head(ctx, key); err == nil {
				for k, v := range o.Meta {
					old.Meta[k] = v
				}
				o.Meta = old.Meta
			}
			return s.Put(ctx, key, r, o)
		}),
		put("ignores the checksum", "Put verifies CRC64NVME", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			o.CRC64NVME = nil
			return s.Put(ctx, key, r, o)
		}),
		put("verifies too late", "Put verifies CRC64NVME", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			stored, err := s.Put(ctx, key, r, o)
			if errors.Is(err, backend.ErrCorrupt) {
				_ = s.Delete(ctx, key)
			}
			return stored, err
		}),
		put("sends the rest of the body", "Put stores what the body holds", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			off, _ := r.Seek(0, io.SeekCurrent)
			_, _ = r.Seek(0, io.SeekEnd)
			return s.Put(ctx, key, io.NewSectionReader(r, off, r.Size()-off), o)
		}),
		put("stores nothing", "Put stores objects of any size", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			return s.Put(ctx, key, body(nil), backend.PutOptions{})
		}),
		put("appends", "Put replaces", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			old := ""
			if g, err := s.Get(ctx, key, "", 0, -1); err == nil {
				b, _ := io.ReadAll(g)
				old = string(b)
				_ = g.Close()
			}
			b, _ := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			return s.Put(ctx, key, body(append([]byte(old), b...)), o)
		}),
		put("deletes the old object first", "Put of a body that breaks", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			_ = s.Delete(ctx, key)
			return s.Put(ctx, key, r, o)
		}),
		put("pads a short body", "Put of a body that breaks", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			b := make([]byte, r.Size())
			_, _ = r.ReadAt(b, 0)
			return s.Put(ctx, key, body(b), o)
		}),
		put("ignores the context", "a cancelled context", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			return s.Put(context.WithoutCancel(ctx), key, r, o)
		}),
		put("stores half when cancelled", "Put cancelled on the way", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			stored, err := s.Put(ctx, key, r, o)
			if err != nil {
				_, _ = s.Put(context.WithoutCancel(ctx), key, body(pattern(3, r.Size()/2)), o)
			}
			return stored, err
		}),
		put("is not safe for concurrent use", "methods may be called concurrently", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			if strings.HasSuffix(key, "7") {
				key = strings.TrimSuffix(key, "7") + "8"
			}
			return s.Put(ctx, key, r, o)
		}),
		put("gives every object one ETag", "Put tells apart", func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
			return s.Put(ctx, key, body([]byte("same")), o)
		}),
	}
}

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

// A mangler changes keys on their way in.
type mangler struct {
	Full
	f func(string) string
}

func (m mangler) Head(ctx bg, key string) (obj, error) {
	o, err := m.Full.Head(ctx, m.f(key))
	if err == nil {
		o.Key = key
	}
	return o, err
}

func (m mangler) Get(ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
	return m.Full.Get(ctx, m.f(key), etag, off, n)
}

func (m mangler) Put(ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
	return m.Full.Put(ctx, m.f(key), r, o)
}
func (m mangler) Delete(ctx bg, key string) error { return m.Full.Delete(ctx, m.f(key)) }

func keyBugs() []bug {
	key := func(name, shape string, f func(string) string) bug {
		return bug{name, "keys are held or refused as ErrInvalid: " + shape, in(func(s Full) backend.Store { return mangler{s, f} })}
	}
	replace := func(old, new string) func(string) string {
		return func(k string) string { return strings.ReplaceAll(k, old, new) }
	}
	return []bug{
		key("strips a leading slash", "a leading slash", func(k string) string { return strings.TrimPrefix(k, "/") }),
		key("strips a trailing slash", "a trailing slash", func(k string) string { return strings.TrimSuffix(k, "/") }),
		key("cleans paths", "empty components", replace("//", "/")),
		key("resolves dots", "dot segments", replace("/./", "/")),
		key("trims spaces", "spaces", strings.TrimSpace),
		key("takes + for a space", "marks of URLs", replace("+", " ")),
		key("decodes %2F", "marks of URLs", replace("%2F", "/")),
		key("cuts at ?", "marks of URLs", func(k string) string { k, _, _ = strings.Cut(k, "?"); return k }),
		key("makes LF of CRLF", "a newline", replace("\r\n", "\n")),
		key("ignores case", "names that differ in case", strings.ToLower),
		key("composes unicode", "unicode", replace("e\u0301", "é")),
		key("cuts long names", "a component beyond 255", func(k string) string { return k[:min(len(k), 256)] }),
		{"accepts any key", "keys that are not UTF-8", in(func(s Full) backend.Store {
			return mangler{s, func(k string) string { return strings.ToValidUTF8(k+"x", "?") }}
		})},
		{"sorts by UTF-16", "keys are held or refused as ErrInvalid: unicode beyond", in(func(s Full) backend.Store {
			return badList{s, func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq {
				return func(yield func(backend.Entry, error) bool) {
					var late []backend.Entry
					for e, err := range s.List(ctx, prefix, after, o) {
						if strings.HasPrefix(e.Key, "\ue000") || strings.HasPrefix(e.Key, "\uffff") {
							late = append(late, e)
						} else if !yield(e, err) {
							return
						}
					}
					for _, e := range late {
						if !yield(e, nil) {
							return
						}
					}
				}
			}}
		})},
	}
}

func copyBugs() []bug {
	copy := func(name, check string, do func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badCopy{s, do} })}
	}
	return []bug{
		copy("ignores the version of the source", "Copy of another version", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			from.ETag = ""
			return s.Copy(ctx, from, to, o)
		}),
		copy("ignores new attributes", "Copy keeps the attributes", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			o.Attrs = nil
			return s.Copy(ctx, from, to, o)
		}),
		copy("drops attributes", "Copy keeps the attributes", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			if o.Attrs == nil {
				o.Attrs = &backend.Attrs{}
			}
			return s.Copy(ctx, from, to, o)
		}),
		copy("merges attributes", "Copy keeps the attributes", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			if o.Attrs != nil && o.Attrs.Header == nil {
				o.Attrs = &backend.Attrs{Meta: o.Attrs.Meta, Header: from.Header}
			}
			return s.Copy(ctx, from, to, o)
		}),
		copy("ignores conditions", "Copy honours IfAbsent", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			o.Cond = backend.Cond{}
			return s.Copy(ctx, from, to, o)
		}),
		copy("moves", "Copy makes an object", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			stored, err := s.Copy(ctx, from, to, o)
			_ = s.Delete(ctx, from.Key)
			return stored, err
		}),
		copy("cannot copy onto itself", "Copy onto itself", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			if from.Key == to {
				return from, nil
			}
			return s.Copy(ctx, from, to, o)
		}),
		copy("thaws", "archived objects are ErrArchived", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			return s.Put(ctx, to, body(nil), opts{})
		}),
	}
}

func partBugs() []bug {
	newUpload := func(name, check string, do func(s Full, ctx bg, key string, o opts) (backend.Upload, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badNewUpload{s, do} })}
	}
	send := func(name, check string, do func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badUploadPart{s, do} })}
	}
	complete := func(name, check string, do func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badComplete{s, do} })}
	}
	copyPart := func(name, check string, do func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badCopyPart{s, do} })}
	}
	abort := func(name, check string, do func(s Full, ctx bg, up backend.Upload) error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badAbort{s, do} })}
	}
	return []bug{
		newUpload("forgets attributes", "the object has the attributes", func(s Full, ctx bg, key string, o opts) (backend.Upload, error) {
			return s.NewUpload(ctx, key, opts{})
		}),
		newUpload("deletes the old object", "until Complete", func(s Full, ctx bg, key string, o opts) (backend.Upload, error) {
			_ = s.Delete(ctx, key)
			return s.NewUpload(ctx, key, o)
		}),
		send("ignores the checksum", "UploadPart verifies", func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, _ uint64) (backend.Part, error) {
			b, _ := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			return s.UploadPart(ctx, up, n, r, *crc(string(b)))
		}),
		send("keeps the first of two", "a part may be sent again", func() func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
			sent := map[string]backend.Part{}
			return func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
				id := fmt.Sprint(up.ID, n)
				if p, ok := sent[id]; ok {
					return p, nil
				}
				p, err := s.UploadPart(ctx, up, n, r, crc)
				sent[id] = p
				return p, err
			}
		}()),
		send("shows parts at once", "until Complete", func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
			_, _ = s.Put(ctx, up.Key, r, opts{})
			return s.UploadPart(ctx, up, n, r, crc)
		}),
		send("makes up unknown uploads", "Abort discards", func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
			p, err := s.UploadPart(ctx, up, n, r, crc)
			if errors.Is(err, backend.ErrNotExist) {
				err = nil
			}
			return p, err
		}),
		complete("takes parts in the order they came", "parts may arrive in any order", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			return s.Complete(ctx, up, ps[:1], opts{})
		}),
		complete("ignores conditions", "Complete honours IfMatch", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			o.Cond = backend.Cond{}
			return s.Complete(ctx, up, ps, o)
		}),
		complete("ignores the checksum", "Complete verifies", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			o.CRC64NVME = nil
			return s.Complete(ctx, up, ps, o)
		}),
		complete("skips parts it does not have", "Complete of parts that were not sent", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			return s.Complete(ctx, up, ps[:min(1, len(ps))], o)
		}),
		complete("succeeds twice", "a finished upload", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			stored, err := s.Complete(ctx, up, ps, o)
			if errors.Is(err, backend.ErrNotExist) {
				return s.Head(ctx, up.Key)
			}
			return stored, err
		}),
		complete("looks at other fields", "the object has the attributes", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			stored, err := s.Complete(ctx, up, ps, o)
			if err != nil || o.Meta == nil {
				return stored, err
			}
			return s.Copy(ctx, stored, up.Key, backend.CopyOptions{Attrs: &o.Attrs})
		}),
		abort("does not abort", "Abort discards", func(s Full, ctx bg, up backend.Upload) error { return nil }),
		abort("fails for unknown uploads", "an unknown upload", func(s Full, ctx bg, up backend.Upload) error {
			for u := range s.Uploads(ctx, up.Key) {
				if u == up {
					return s.Abort(ctx, up)
				}
			}
			return fault(OpAbort, up.Key, backend.ErrNotExist)
		}),
		copyPart("ignores the version of the source", "CopyPart of another version", func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error) {
			from.ETag = ""
			return s.CopyPart(ctx, up, n, from, off, size)
		}),
		copyPart("ignores the offset", "CopyPart takes a range", func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error) {
			return s.CopyPart(ctx, up, n, from, 0, size)
		}),
	}
}

func otherBugs() []bug {
	del := func(name, check string, do func(s Full, ctx bg, key string) error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badDelete{s, do} })}
	}
	batch := func(name, check string, do func(s Full, ctx bg, keys []string) map[string]error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badBatch{s, do} })}
	}
	restore := func(name, check string, do func(s Full, ctx bg, key string, o backend.RestoreOptions) error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badRestore{s, do} })}
	}
	return []bug{
		{"tells another key", "Put replaces", in(func(s Full) backend.Store {
			return badHead{s, func(s Full, ctx bg, key string) (obj, error) {
				o, err := s.Head(ctx, key)
				o.Key = "/" + o.Key
				return o, err
			}}
		})},
		{"takes a prefix for an object", "Get and Head of an absent key", in(func(s Full) backend.Store {
			return badHead{s, func(s Full, ctx bg, key string) (obj, error) {
				o, err := s.Head(ctx, key)
				for e := range s.List(ctx, key+"/", "", backend.ListOptions{}) {
					return e.Object, nil
				}
				return o, err
			}}
		})},
		del("fails for absent keys", "Delete of an absent key", func(s Full, ctx bg, key string) error {
			if _, err := s.Head(ctx, key); err != nil {
				return err
			}
			return s.Delete(ctx, key)
		}),
		del("does not delete", "Delete removes", func(Full, bg, string) error { return nil }),
		del("deletes what is below", "Delete removes", func(s Full, ctx bg, key string) error {
			for e := range s.List(ctx, key, "", backend.ListOptions{}) {
				_ = s.Delete(ctx, e.Key)
			}
			return nil
		}),
		batch("deletes the first thousand", "DeleteBatch deletes any number", func(s Full, ctx bg, keys []string) map[string]error {
			return s.DeleteBatch(ctx, keys[:min(1000, len(keys))])
		}),
		batch("names absent keys", "DeleteBatch deletes any number", func(s Full, ctx bg, keys []string) map[string]error {
			failed := map[string]error{}
			for _, key := range keys {
				if _, err := s.Head(ctx, key); err != nil {
					failed[key] = err
				}
			}
			return failed
		}),
		batch("hides errors", "DeleteBatch returns an error", func(s Full, ctx bg, keys []string) map[string]error {
			_ = s.DeleteBatch(ctx, keys)
			return nil
		}),
		batch("strips spaces", "DeleteBatch deletes keys of any shape", func(s Full, ctx bg, keys []string) map[string]error {
			for i := range keys {
				keys[i] = strings.TrimSpace(keys[i]) + "x"
			}
			return s.DeleteBatch(ctx, keys)
		}),
		restore("does not restore", "archived objects are ErrArchived", func(Full, bg, string, backend.RestoreOptions) error { return nil }),
		restore("accepts absent keys", "Restore of an absent key", func(Full, bg, string, backend.RestoreOptions) error { return nil }),
		restore("fails the second time", "archived objects are ErrArchived", func(s Full, ctx bg, key string, o backend.RestoreOptions) error {
			if head, _ := s.Head(ctx, key); head.State != backend.Archived {
				return fault(OpRestore, key, backend.ErrExist)
			}
			return s.Restore(ctx, key, o)
		}),
		{"lists buckets backwards", "Buckets yields", func(s backend.Service) backend.Service { return backwards{s} }},
		{"makes buckets twice", "CreateBucket fails with ErrExist", func(s backend.Service) backend.Service { return lax{s} }},
		{"allows all names", "CreateBucket fails with ErrInvalid", func(s backend.Service) backend.Service { return lax{s} }},
		{"deletes full buckets", "DeleteBucket of a bucket with objects", func(s backend.Service) backend.Service { return lax{s} }},
		{"opens absent buckets", "DeleteBucket and Open of an absent", func(s backend.Service) backend.Service { return lax{s} }},
	}
}

type backwards struct{ backend.Service }

func (s backwards) Buckets(ctx bg) iter.Seq2[backend.Bucket, error] {
	return func(yield func(backend.Bucket, error) bool) {
		var all []backend.Bucket
		for b := range s.Service.Buckets(ctx) {
			all = append(all, b)
		}
		for _, b := range slices.Backward(all) {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// lax is a service that finds everything all right.
type lax struct{ backend.Service }

func (s lax) CreateBucket(ctx bg, name string) error {
	_ = s.Service.CreateBucket(ctx, name)
	return nil
}

func (s lax) DeleteBucket(ctx bg, name string) error {
	_ = s.Service.DeleteBucket(ctx, name)
	return nil
}
