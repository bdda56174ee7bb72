package glacier

import (
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// A name is what a description tells of an archive.
type name struct {
	path     string    // as the writer had it; "" if the description tells none
	mtime    time.Time // of the file; zero if it is not told
	dir      bool      // the archive stands for a directory
	encoding string    // how the bytes were changed before the upload; "" if they were not
	empty    bool      // the archive's only byte stands for an empty file
}

const (
	versionsDir = ".versions" // holds archives that a newer one of their name hides
	unnamedDir  = ".unnamed"  // holds archives whose description tells no name
)

// keyOf is the key under which an archive is shown: its path made safe, with a "/" at the end
// for a directory, or its id below unnamedDir.
func keyOf(n name, id string) string {
	p := cleanPath(n.path, id)
	if p == "" {
		return unnamedDir + "/" + id
	}
	if n.dir {
		p += "/"
	}
	return p
}

// maxComponent is the longest name that a directory can hold, in bytes.
const maxComponent = 255

// cleanPath makes a path that some program has written one that can be shown: a relative one
// with slashes, without drive letters, empty components, "." and "..", NUL, invalid UTF-8 and
// components that are too long. It returns "" if nothing is left.
func cleanPath(p, id string) string {
	p = strings.ReplaceAll(strings.ToValidUTF8(p, "\uFFFD"), "\\", "/")
	p = strings.ReplaceAll(p, "\x00", "\uFFFD")
	if len(p) >= 2 && p[1] == ':' && isLetter(p[0]) && (len(p) == 2 || p[2] == '/') {
		p = p[:1] + p[2:]
	}
	var parts []string
	for comp := range strings.SplitSeq(p, "/") {
		switch {
		case comp == "" || comp == ".":
			continue
		case comp == "..":
			comp = "_.."
		case len(parts) == 0 && (comp == versionsDir || comp == unnamedDir):
			comp = "_" + comp // those are ours
		}
		parts = append(parts, cut(comp, id))
	}
	return strings.Join(parts, "/")
}

// cut shortens a component that no directory could hold; the id keeps two of them apart.
func cut(comp, id string) string {
	if len(comp) <= maxComponent {
		return comp
	}
	mark := "~" + id[:min(len(id), 8)]
	comp = comp[:maxComponent-len(mark)]
	for len(comp) > 0 { // not in the middle of a character
		r, size := utf8.DecodeLastRuneInString(comp)
		if r != utf8.RuneError || size > 1 {
			break
		}
		comp = comp[:len(comp)-size]
	}
	return comp + mark
}

func isLetter(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

// versionKey is where an archive of a key that has a newer one is shown.
func versionKey(key string, created time.Time, id string) string {
	if strings.HasSuffix(key, "/") || strings.HasPrefix(key, unnamedDir+"/") {
		return unnamedDir + "/" + id // a directory has no versions
	}
	return path.Join(versionsDir, key, created.UTC().Format(versionStamp)+"~"+id[:min(len(id), versionMark)])
}

const (
	versionStamp = "20060102T150405Z"
	versionMark  = 12 // characters of the id: two archives of one second and name differ in them
)
