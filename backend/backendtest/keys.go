package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// shapes are keys that a store must hold or refuse, and nothing between. Those of one shape
// are stored together, in this order.
var shapes = map[string][]string{
	"an object and a prefix of one name":   {"a", "a/b", "a/b/c", "a-", "a0", "a.txt", "a!"},
	"a prefix, then an object of its name": {"n/b/c", "n/b", "n"},
	"empty components":                     {"a//b", "a///c", "a/b"},
	"a leading slash":                      {"/x", "//x", "x"},
	"a trailing slash with a body":         {"dir/", "dir/file", "d2//"},
	"only slashes":                         {"/", "//", "///"},
	"dot segments":                         {".", "..", "./x", "../x", "a/../b", "a/./b", "a/..", "a/."},
	"names with dots":                      {"...", ".hidden", "a/.b", "x.", "..x"},
	"spaces":                               {" ", " a", "a ", "a b", "a/ /b", "a  b"},
	"marks of URLs":                        {"a+b", "a%b", "a%2Fb", "a%2f", "%", "100%", "a?b", "a#b", "a&b=c", "a;b", "a:b", "a@b", "~a", "$a", "a,b"},
	"quotes and brackets":                  {`a"b`, "a'b", "a<b>", "a[b]", "a{b}", `a\b`, "a|b", "a*b", "a^b`c"},
	"a newline and a tab":                  {"a\nb", "a\tb", "a\r\nb"},
	"control characters":                   {"a\x01b", "a\x1fb", "a\x7fb", "\x1b[0m"},
	"unicode":                              {"é", "e\u0301", "日本/語", "\u00a0", "ß", "ﬀ", "\u202e", "\ufeff"},
	"unicode beyond the base plane":        {"😀", "😀/𝒳", "\U0010ffff", "\uffff", "\ue000"},
	"names of file systems":                {"con", "NUL", "a%obj", "a%obj/b", ".obj", "xl.meta", "part.1", "a%+", "%-", "%-/a"},
	"names that differ in case":            {"A", "a", "A/b", "aA", "Aa"},
	"a component of 255 bytes":             {strings.Repeat("x", 255), strings.Repeat("y", 255) + "/z"},
	"a component beyond 255 bytes":         {strings.Repeat("x", 256), strings.Repeat("x", 257) + "/z", strings.Repeat("é", 300), strings.Repeat("%", 300), strings.Repeat("x", 240) + "é", strings.Repeat("x", 600), strings.Repeat("x", 600) + "/" + strings.Repeat("x", 300)},
	"a key of 1024 bytes":                  {strings.Repeat("k", 1024), strings.Repeat("a/", 512), strings.Repeat("\u00e9", 512), strings.Repeat("b/c", 341) + "d"},
	"a key beyond 1024 bytes":              {strings.Repeat("k", 1025), strings.Repeat("0123456789abcdef/", 300)},
}

func keyChecks() []check {
	cs := []check{{name: "keys that are not UTF-8, empty or with NUL are ErrInvalid", run: invalidKeys}}
	for name, keys := range shapes {
		cs = append(cs, check{
			name: "keys are held or refused as ErrInvalid: " + name,
			run:  func(b *bucket) { holdOrRefuse(b, keys) },
		})
	}
	slices.SortFunc(cs, func(x, y check) int { return strings.Compare(x.name, y.name) })
	return cs
}

// holdOrRefuse stores each key under its own name as content, sees that exactly the keys
// that were accepted are there, then deletes them one by one and sees that the others stay.
func holdOrRefuse(b *bucket, keys []string) {
	var held []string
	for _, key := range keys {
		_, err := b.store.Put(b.ctx, key, body([]byte(key)), backend.PutOptions{})
		if err == nil {
			held = append(held, key)
			continue
		}
		b.fails(err, key, "Put", backend.ErrInvalid)
		if _, err := b.store.Head(b.ctx, key); !errors.Is(err, backend.ErrNotExist) && !errors.Is(err, backend.ErrInvalid) {
			b.Errorf("Head(%q) of a refused key = %v, want ErrNotExist or ErrInvalid", key, err)
		}
	}
	slices.Sort(held)
	for len(held) > 0 {
		b.holdsExactly(held)
		i := len(held) / 2
		if err := b.store.Delete(b.ctx, held[i]); err != nil {
			b.Fatalf("Delete(%q) = %v, want success", held[i], err)
		}
		held = slices.Delete(held, i, i+1)
	}
	b.holdsExactly(nil)
}

// holdsExactly fails unless the bucket holds the sorted keys, each with itself as content,
// and nothing else, in flat listings and in those of every level.
func (b *bucket) holdsExactly(keys []string) {
	b.Helper()
	for _, key := range keys {
		if obj := b.head(key); obj.Key != key || obj.Size != int64(len(key)) {
			b.Fatalf("Head(%q) = %q, %d bytes, want that key, %d bytes", key, obj.Key, obj.Size, len(key))
		}
		b.holds(key, "", key)
	}
	for prefix := range prefixesOf(keys) {
		b.listsAs(keys, prefix, "", backend.ListOptions{Delimited: true})
	}
	b.listsAs(keys, "", "", backend.ListOptions{})
}

// prefixesOf returns the levels that keys lie in, but only the upper ones of a deep tree
// and the lowest.
func prefixesOf(keys []string) map[string]bool {
	prefixes := map[string]bool{"": true}
	for _, key := range keys {
		rest, depth := key, 0
		for i := strings.IndexByte(rest, '/'); i >= 0 && depth < 5; i = strings.IndexByte(rest, '/') {
			rest, depth = rest[i+1:], depth+1
			prefixes[key[:len(key)-len(rest)]] = true
		}
		prefixes[key[:strings.LastIndexByte(key, '/')+1]] = true
	}
	return prefixes
}

// listsAs fails unless a listing is the one that the contract prescribes for these keys.
func (b *bucket) listsAs(keys []string, prefix, after string, opts backend.ListOptions) {
	b.Helper()
	got, want := names(b.list(prefix, after, opts)), listing(keys, prefix, after, opts.Delimited)
	if !slices.Equal(got, want) {
		b.Fatalf("List(%q, %q, %+v) = %s, want %s", prefix, after, opts, briefAll(got), briefAll(want))
	}
}

// listing is the model of List: what keys, which are in order, come to. Prefixes are marked
// with a star.
func listing(keys []string, prefix, after string, delimited bool) []string {
	var out []string
	last := ""
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		entry := key
		if i := strings.IndexByte(key[len(prefix):], '/'); delimited && i >= 0 {
			entry = key[:len(prefix)+i+1]
		}
		if entry <= after || entry == last {
			continue
		}
		last = entry
		if entry != key || delimited && strings.HasSuffix(key[len(prefix):], "/") {
			entry += "*"
		}
		out = append(out, entry)
	}
	return out
}

func briefAll(keys []string) string {
	if len(keys) <= 40 {
		return fmt.Sprintf("%q", keys)
	}
	return fmt.Sprintf("%d entries %q...", len(keys), keys[:40])
}

func invalidKeys(b *bucket) {
	p, _ := b.store.(backend.PartUploader)
	c, _ := b.store.(backend.Copier)
	src := b.put("source", "x")
	for _, key := range []string{"", "\xff", "a\xc3", "\xed\xa0\x80", "a\x00b", "\x00"} {
		_, err := b.store.Head(b.ctx, key)
		b.fails(err, key, "Head", backend.ErrInvalid)
		_, err = b.store.Get(b.ctx, key, "", 0, -1)
		b.fails(err, key, "Get", backend.ErrInvalid)
		_, err = b.store.Put(b.ctx, key, body(nil), backend.PutOptions{})
		b.fails(err, key, "Put", backend.ErrInvalid)
		b.fails(b.store.Delete(b.ctx, key), key, "Delete", backend.ErrInvalid)
		if p != nil {
			_, err = p.NewUpload(b.ctx, key, backend.PutOptions{})
			b.fails(err, key, "NewUpload", backend.ErrInvalid)
		}
		if c != nil {
			_, err = c.Copy(b.ctx, src, key, backend.CopyOptions{})
			b.fails(err, key, "Copy", backend.ErrInvalid)
		}
	}
	b.listsAs([]string{"source"}, "", "", backend.ListOptions{})
}
