package backendtest

import (
	"io"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

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
