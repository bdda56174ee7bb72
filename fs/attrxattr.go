package fs

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// parseXattrs reads the extended attributes as s3fs keeps them: a URL-encoded JSON object
// of base64 values by name. It returns nil when there are none that can be read.
func parseXattrs(text string) map[string][]byte {
	if text == "" {
		return nil
	}
	if plain, ok := percentDecode(text); ok {
		text = plain
	}
	var values map[string]string
	if json.Unmarshal([]byte(text), &values) != nil {
		return nil
	}
	xattrs := make(map[string][]byte, len(values))
	for name, value := range values {
		content, err := base64.StdEncoding.DecodeString(value)
		if raw, ok := unescapeBytes(name); ok {
			name = raw
		}
		if err == nil && name != "" && !strings.Contains(name, "\x00") {
			xattrs[name] = content
		}
	}
	if len(xattrs) == 0 {
		return nil
	}
	return xattrs
}

// formatXattrs is the inverse of parseXattrs; equal attributes give equal texts. In names,
// what s3fs splits at is written as \uXXXX, which leaves it able to read the others; names
// that are not UTF-8 are escaped as file names are.
func formatXattrs(xattrs map[string][]byte) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(xattrs)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoteXattr(name))
		b.WriteString(`:"`)
		b.WriteString(base64.StdEncoding.EncodeToString(xattrs[name]))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return percentEncode(b.String())
}

func quoteXattr(name string) string {
	if !utf8.ValidString(name) {
		name = escapeBytes(name)
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		panic("fs: cannot quote " + name) // strings always can be
	}
	inner := string(quoted[1 : len(quoted)-1])
	inner = strings.NewReplacer(`\"`, `\u0022`, ",", `\u002c`, ":", `\u003a`, "{", `\u007b`, "}", `\u007d`).Replace(inner)
	return `"` + inner + `"`
}

// percentEncode makes s safe for a header and for decoders that take + for a blank.
func percentEncode(s string) string {
	const plain = "-._~/=:,"
	var b strings.Builder
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if letter || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

// writeXattrs stores xattrs. A text that says the same already, or that could not be read,
// stays as it is.
func writeXattrs(meta map[string]string, xattrs map[string][]byte) {
	switch old := parseXattrs(meta[metaXattr]); {
	case maps.EqualFunc(old, xattrs, bytes.Equal):
	case len(xattrs) == 0:
		delete(meta, metaXattr)
	default:
		meta[metaXattr] = formatXattrs(xattrs)
	}
}

// foreignXattrs shows the metadata that no dialect knows as extended attributes of the user
// namespace, as geesefs writes them (name and value %XX-escaped) and svfs (xattr-NAME in
// hexadecimal). They are for reading: encode leaves them as they are.
func foreignXattrs(meta map[string]string) map[string][]byte {
	xattrs := make(map[string][]byte)
	for name, value := range meta {
		if isAttrName(name) || strings.Contains(name, "\x00") {
			continue
		}
		if short, ok := strings.CutPrefix(name, metaXattrSvfs); ok && short != "" {
			if content, err := hex.DecodeString(value); err == nil {
				xattrs["user."+short] = content
				continue
			}
		}
		if plain, ok := percentDecode(name); ok && plain != "" && !strings.Contains(plain, "\x00") {
			name = plain
		}
		if plain, ok := percentDecode(value); ok {
			value = plain
		}
		xattrs["user."+name] = []byte(value)
	}
	return xattrs
}

// isAttrName reports whether a name of metadata is one that decodeAttr reads.
func isAttrName(name string) bool {
	named := func(f timeField) bool { return f.name == name }
	return name == metaMode || name == metaXattr || name == metaFolderAzure ||
		slices.Contains(uidNames, name) || slices.Contains(gidNames, name) ||
		slices.Contains(rdevNames, name) || slices.Contains(targetNames, name) ||
		slices.Contains(linkNames, name) ||
		slices.ContainsFunc(mtimeFields, named) || slices.ContainsFunc(ctimeFields, named) ||
		slices.ContainsFunc(atimeFields, named) ||
		slices.ContainsFunc(modeFields, func(f modeField) bool { return f.name == name })
}
