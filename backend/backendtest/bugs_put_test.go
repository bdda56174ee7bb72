package backendtest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

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
