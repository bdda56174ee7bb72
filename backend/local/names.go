package local

import (
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/thawfs/thawfs/backend"
)

// Keys become paths below keys/: each component of a key is a directory, the last one a
// record, whose name ends in recordSuffix. Bytes that would hurt become %XX. As a % is
// always followed by two hexadecimal digits there, the names below cannot be mistaken for
// components: an object a, a prefix a/ and an object a%obj are three different names.
const (
	recordSuffix = "%obj" // a record: cat.jpg%obj
	moreSuffix   = "%+"   // a directory that holds the rest of over-long components
	emptyName    = "%-"   // the directory of an empty component, as in a//b
	maxName      = 240    // bytes of a name before its suffix; file systems end at 255
	maxKey       = 1024   // bytes, as on S3
)

// checkKey fails with backend.ErrInvalid for keys the store cannot hold.
func checkKey(key string) error {
	switch {
	case !backend.ValidKey(key):
		return backend.ErrInvalid
	case len(key) > maxKey:
		return backend.ErrTooLong
	}
	return nil
}

// recordPath returns the path of the record of key below root.
func recordPath(root, key string) string {
	i := strings.LastIndexByte(key, '/') + 1
	chunks := split(escape(key[i:]))
	last := len(chunks) - 1
	elem := []string{dirPath(root, key[:i])}
	for _, c := range chunks[:last] {
		elem = append(elem, c+moreSuffix)
	}
	return filepath.Join(append(elem, chunks[last]+recordSuffix)...)
}

// dirPath returns the directory of the keys that begin with prefix, which is empty or ends
// in a slash.
func dirPath(root, prefix string) string {
	var b strings.Builder
	b.WriteString(root)
	for prefix != "" {
		var comp string
		comp, prefix, _ = strings.Cut(prefix, "/")
		chunks := split(escape(comp))
		for i, c := range chunks {
			b.WriteByte('/')
			if i < len(chunks)-1 {
				b.WriteString(c + moreSuffix)
			} else {
				b.WriteString(dirName(c))
			}
		}
	}
	return b.String()
}

// dirName is the name of a directory for an escaped component that is short enough.
func dirName(escaped string) string {
	switch escaped {
	case "":
		return emptyName
	case ".", "..":
		return strings.ReplaceAll(escaped, ".", "%2E")
	}
	return escaped
}

// escape makes comp a file name, apart from its length and the special cases of dirName.
func escape(comp string) string {
	n := 0
	for i := range len(comp) {
		if hurts(comp[i]) {
			n++
		}
	}
	if n == 0 {
		return comp
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(comp)+2*n)
	for i := range len(comp) {
		if c := comp[i]; hurts(c) {
			b = append(b, '%', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func hurts(c byte) bool { return c == '%' || c < ' ' || c == 0x7f }

// split cuts an escaped component into pieces of at most maxName bytes, neither inside an
// escape nor inside a character.
func split(escaped string) []string {
	var chunks []string
	for len(escaped) > maxName {
		n := maxName
		for !utf8.RuneStart(escaped[n]) {
			n--
		}
		if i := strings.LastIndexByte(escaped[:n], '%'); i > n-3 && i >= 0 {
			n = i
		}
		chunks = append(chunks, escaped[:n])
		escaped = escaped[n:]
	}
	return append(chunks, escaped)
}

// A kind says what a name in the tree of keys stands for.
type kind uint8

const (
	isRecord kind = iota
	isDir
	isMore
)

// parseName is the reverse of escape, split and dirName for one name. It reports false for
// a name that is none of ours.
func parseName(name string) (comp string, k kind, ok bool) {
	switch {
	case strings.HasSuffix(name, recordSuffix):
		k, name = isRecord, name[:len(name)-len(recordSuffix)]
	case strings.HasSuffix(name, moreSuffix):
		k, name = isMore, name[:len(name)-len(moreSuffix)]
	case name == emptyName:
		return "", isDir, true
	default:
		k = isDir
	}
	comp, ok = unescape(name)
	return comp, k, ok
}

func unescape(name string) (string, bool) {
	i := strings.IndexByte(name, '%')
	if i < 0 {
		return name, true
	}
	b := append(make([]byte, 0, len(name)), name[:i]...)
	for ; i < len(name); i++ {
		if name[i] != '%' {
			b = append(b, name[i])
			continue
		}
		if i+2 >= len(name) {
			return "", false
		}
		hi, lo := digit(name[i+1]), digit(name[i+2])
		if hi > 15 || lo > 15 {
			return "", false
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), true
}

// digit is the value of an upper-case hexadecimal digit, 255 for anything else.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
