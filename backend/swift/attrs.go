package swift

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/thawfs/thawfs/backend"
)

const (
	metaPrefix = "X-Object-Meta-"
	dirType    = "application/directory"
	plainType  = "application/octet-stream"

	// Of Swift (swift.conf-sample, "swift-constraints").
	maxMetaName  = 128  // bytes
	maxMetaValue = 256  // bytes
	maxMetaCount = 90   // names
	maxMetaAll   = 4096 // bytes of names and values

	// A value that is longer goes on under its name with ~1, ~2 and so on behind it. What no
	// header can carry begins with encodedWord.
	more        = "~"
	encodedWord = "=?"
)

// headerNames are the representation headers that objects keep.
var headerNames = []string{
	"content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "expires",
}

// wire makes the headers of a PUT or POST of attributes. What Swift could not keep is
// ErrInvalid, or ErrTooLarge.
func wire(a backend.Attrs) (map[string]string, error) {
	h := map[string]string{}
	count, size := 0, 0
	for name, value := range a.Meta {
		if !token(name) || len(name) > maxMetaName {
			return nil, fmt.Errorf("%w: metadata name %q", backend.ErrInvalid, name)
		}
		for i, piece := range pieces(encode(value)) {
			n := name
			if i > 0 {
				n += more + strconv.Itoa(i)
			}
			h[metaPrefix+n] = piece
			count, size = count+1, size+len(n)+len(piece)
		}
	}
	if count > maxMetaCount || size > maxMetaAll {
		return nil, fmt.Errorf("%w: %d bytes of metadata under %d names, Swift keeps %d under %d", backend.ErrTooLarge, size, count, maxMetaAll, maxMetaCount)
	}
	for name, value := range a.Header {
		if !slices.Contains(headerNames, name) {
			return nil, fmt.Errorf("%w: header %q is none that objects keep", backend.ErrInvalid, name)
		}
		if !plain(value) {
			return nil, fmt.Errorf("%w: header %s: %q", backend.ErrInvalid, name, value)
		}
		h[http.CanonicalHeaderKey(name)] = value
	}
	return h, nil
}

// contentType is the type of an object that is given none: Swift would choose one by the name,
// by the table of its own machine. Markers of directories get the type that Swift's clients
// know, in the place of s3fs's.
func contentType(key string, header map[string]string) string {
	if strings.HasSuffix(key, "/") {
		if header["content-type"] == "application/x-directory" {
			return dirType
		}
		return cmp.Or(header["content-type"], dirType)
	}
	return cmp.Or(header["content-type"], mime.TypeByExtension(path.Ext(key)), plainType)
}

// readAttrs are the attributes in the headers of an answer; neither map is nil.
func readAttrs(h http.Header) backend.Attrs {
	a := backend.Attrs{Meta: map[string]string{}, Header: map[string]string{}}
	for _, name := range headerNames {
		if v := h.Get(name); v != "" {
			a.Header[name] = v
		}
	}
	raw := map[string]string{}
	for name, values := range h {
		if n, ok := cutPrefixFold(name, metaPrefix); ok && len(values) > 0 {
			raw[strings.ToLower(n)] = values[0]
		}
	}
	for name, value := range raw {
		if base, number, ok := strings.Cut(name, more); ok {
			if _, err := strconv.Atoi(number); err == nil && raw[base] != "" {
				continue // of a long value
			}
		}
		for i := 1; raw[name+more+strconv.Itoa(i)] != ""; i++ {
			value += raw[name+more+strconv.Itoa(i)]
		}
		a.Meta[name] = decode(value)
	}
	return a
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// pieces cuts a value into what one header takes, not within a character nor beside a blank,
// which would be lost.
func pieces(v string) []string {
	var all []string
	for len(v) > maxMetaValue {
		n := maxMetaValue
		for n > 1 && (!utf8.RuneStart(v[n]) || v[n] == ' ' || v[n-1] == ' ') {
			n--
		}
		all, v = append(all, v[:n]), v[n:]
	}
	return append(all, v)
}

// encode makes a value that survives as headers: UTF-8 as it is, which is Swift's convention;
// control characters, blanks at an end and the empty value, which Swift drops, as an RFC 2047
// word.
func encode(v string) string {
	clean := v != "" && utf8.ValidString(v) && strings.TrimSpace(v) == v && !strings.Contains(v, encodedWord) && !strings.Contains(v, "   ")
	if clean && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return v
	}
	return "=?utf-8?b?" + base64Of(v) + "?="
}

func decode(v string) string {
	coded, ok := strings.CutPrefix(v, "=?utf-8?b?")
	coded, end := strings.CutSuffix(coded, "?=")
	if ok && end {
		if text, err := ofBase64(coded); err == nil {
			return text
		}
	}
	return v
}

// plain reports whether v is printable ASCII.
func plain(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' })
}

// token reports whether name can be part of a header's name and comes back as it is: Swift's
// server makes a dash of an underscore, and cases are one.
func token(name string) bool {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^`|", r)
	}
	return name != "" && !strings.ContainsFunc(name, bad)
}

// clone copies attributes, so that an Object handed out shares no map with its caller's options.
func clone(a backend.Attrs) backend.Attrs {
	c := backend.Attrs{Meta: map[string]string{}, Header: map[string]string{}, Class: a.Class}
	for name, value := range a.Meta {
		c.Meta[name] = value
	}
	for name, value := range a.Header {
		if value != "" {
			c.Header[name] = value
		}
	}
	return c
}
