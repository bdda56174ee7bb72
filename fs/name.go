package fs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/thawfs/thawfs/cache/attrindex"
)

// Names
//
// A key is cut at its slashes into components, and each component is shown as one path
// element. Nearly always the element is the component itself, byte for byte, control
// characters included. What a path element cannot be, or what would be two things at once,
// gets a name that begins with "%thaw-":
//
//	component of the key               element                     what it is
//	empty (a//b, /b)                   %thaw-empty                 directory
//	.                                  %thaw-dot                   either
//	..                                 %thaw-dotdot                either
//	X, an object, where X/ exists too  %thaw-file-X                the object; X is the directory
//	empty at the end (a/) with data    %thaw-data (in a)           the bytes of the marker a/
//	%thaw-X                            %thaw-%thaw-X               either
//	name of more than 255 bytes        %thaw-long-HEAD~HASH        either
//	the same for %thaw-file-X          %thaw-longfile-HEAD~HASH    the object
//	.thawfs-attrs                      %thaw-.thawfs-attrs         either; the object is not listed
//	%thaw-bytes-X                      X with %HH turned to bytes  either
//
// The last line serves names that are not UTF-8, as old trees have them: keys are UTF-8, so
// the file caf\xe9 is kept as %thaw-bytes-caf%E9 (each wrong byte as %HH, % as %25) and shown
// as it was called.
//
// Every key has exactly one path, except that a directory marker with data is the directory
// and the file %thaw-data in it. Two elements of a directory never stand for one key. Other
// names that begin with "%thaw-" stand for nothing: they do not exist and cannot be created.
// A shortened name does not tell the component; it is found by listing the directory, so it
// can be opened, renamed and removed, but not created. %thaw-file-X exists while X/ does:
// when the directory goes, the object is called X again.

// elemKind tells what of a component an element stands for.
type elemKind uint8

const (
	// plainElem is the directory of the component or, if there is none, the object.
	plainElem elemKind = iota
	// objectElem is the object that a directory of the same component hides, and, for the
	// empty component, the data of the directory's own marker.
	objectElem
)

const (
	maxName = 255  // bytes of a path element, Linux's NAME_MAX
	maxKey  = 1024 // bytes of a key on S3 and Swift; beyond it ENAMETOOLONG

	marker     = "%thaw-"
	markEmpty  = marker + "empty"
	markDot    = marker + "dot"
	markDotDot = marker + "dotdot"
	markData   = marker + "data"
	markFile   = marker + "file-"
	markBytes  = marker + "bytes-"
	markLong   = marker + "long-"
	markLongF  = marker + "longfile-"
	hashDigits = 32 // hexadecimal: 128 bits of SHA-256
)

// Errors of elemComponent. No file has such a name; they tell what else can be done.
var (
	errNameTooLong  = errors.New("name too long")                                 // ENAMETOOLONG everywhere
	errNameInvalid  = errors.New("not a path element")                            // EINVAL everywhere
	errNameReserved = errors.New("name is reserved for escapes")                  // ENOENT; EINVAL for a new name
	errNameShort    = errors.New("shortened name: the listing has its component") // resolve, or EINVAL for a new name
)

// elemName returns the path element that shows component, a part of a valid key without
// slashes. It is the inverse of elemComponent wherever that does not fail.
func elemName(component string, kind elemKind) string {
	name := fullName(component, kind)
	if len(name) > maxName {
		return shortName(component, kind)
	}
	return name
}

// elemComponent returns the component that name stands for, or that a new file of that name
// gets. A name of kind objectElem exists only while a directory of the same component does
// (always, for the empty component: the directory it lies in).
func elemComponent(name string) (component string, kind elemKind, err error) {
	switch {
	case len(name) > maxName:
		return "", 0, errNameTooLong
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return "", 0, errNameInvalid
	case name == attrindex.Name:
		return "", 0, errNameReserved
	case !utf8.ValidString(name):
		return escapeBytes(name), plainElem, nil
	case !strings.HasPrefix(name, marker):
		return name, plainElem, nil
	}
	if _, short := isShortName(name); short {
		return "", 0, errNameShort
	}
	component, kind = unmark(name)
	if elemName(component, kind) != name {
		return "", 0, errNameReserved
	}
	return component, kind, nil
}

// shortName returns the element of a component whose full name would exceed maxName. It is
// the same on every mount.
func shortName(component string, kind elemKind) string {
	mark := markLong
	if kind == objectElem {
		mark = markLongF
	}
	sum := sha256.Sum256([]byte(component))
	tail := "~" + hex.EncodeToString(sum[:])[:hashDigits]
	head := component[:min(len(component), maxName-len(mark)-len(tail))]
	for !utf8.ValidString(head) {
		head = head[:len(head)-1]
	}
	return mark + head + tail
}

// isShortName reports whether name has the form of a shortened name, and of which kind. The
// component is the one in the directory's listing for which elemName(component, kind) == name.
func isShortName(name string) (kind elemKind, short bool) {
	switch {
	case strings.HasPrefix(name, markLong):
		return plainElem, true
	case strings.HasPrefix(name, markLongF):
		return objectElem, true
	}
	return 0, false
}

// fullName is elemName without the limit on length.
func fullName(component string, kind elemKind) string {
	if kind == objectElem {
		if component == "" {
			return markData
		}
		return markFile + component
	}
	switch component {
	case "":
		return markEmpty
	case ".":
		return markDot
	case "..":
		return markDotDot
	}
	if raw, ok := unescapeBytes(component); ok {
		return raw
	}
	if strings.HasPrefix(component, marker) || component == attrindex.Name {
		return marker + component
	}
	return component
}

// unmark undoes fullName for names with a marker. For names that are no result of fullName
// it returns anything.
func unmark(name string) (component string, kind elemKind) {
	switch name {
	case markEmpty:
		return "", plainElem
	case markDot:
		return ".", plainElem
	case markDotDot:
		return "..", plainElem
	case markData:
		return "", objectElem
	}
	if object, ok := strings.CutPrefix(name, markFile); ok {
		return object, objectElem
	}
	return strings.TrimPrefix(name, marker), plainElem
}

// escapeBytes returns the component that keeps a name that is not UTF-8.
func escapeBytes(name string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString(markBytes)
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == '%' || r == utf8.RuneError && n == 1 {
			b.WriteByte('%')
			b.WriteByte(digits[name[i]>>4])
			b.WriteByte(digits[name[i]&15])
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unescapeBytes returns the name that escapeBytes made component of, if it did.
func unescapeBytes(component string) (name string, ok bool) {
	text, ok := strings.CutPrefix(component, markBytes)
	if !ok {
		return "", false
	}
	name, ok = percentDecode(text)
	if !ok || utf8.ValidString(name) || escapeBytes(name) != component {
		return "", false
	}
	return name, true
}

// percentDecode replaces each %HH by its byte; ok is false if a % is followed by anything else.
func percentDecode(s string) (decoded string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), true
}
