package entries

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/thawfs/thawfs/backend"
)

// A record holds a version and its attributes: ETag, size, second of the time, class, Meta
// and Header. Numbers are varints, texts have their length before them, maps the number of
// their pairs. Texts are kept as they are, for metadata of others need not be UTF-8.

// memoryKey is the key of ref in the file. Names of buckets have no NUL.
func memoryKey(ref backend.Ref) string { return ref.Bucket + "\x00" + ref.Key }

// encodeRecord gives equal texts for equal objects.
func encodeRecord(obj backend.Object) []byte {
	b := appendText(nil, obj.ETag)
	b = binary.AppendVarint(b, obj.Size)
	b = binary.AppendVarint(b, obj.ModTime.Unix())
	b = appendText(b, obj.Class)
	b = appendMap(b, obj.Meta)
	return appendMap(b, obj.Header)
}

// decodeRecord returns the attributes in text if it is about the version that is listed.
func decodeRecord(text []byte, listed backend.Object) (backend.Attrs, bool) {
	r := recordReader{rest: text}
	etag, size, second := r.text(), r.number(), r.number()
	if r.failed || etag != listed.ETag || size != listed.Size || second != listed.ModTime.Unix() {
		return backend.Attrs{}, false
	}
	attrs := backend.Attrs{Class: r.text(), Meta: r.texts(), Header: r.texts()}
	if r.failed {
		return backend.Attrs{}, false
	}
	return attrs, true
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendMap(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		b = appendText(appendText(b, name), m[name])
	}
	return b
}

// A recordReader takes a record apart; after a failure it returns zeros.
type recordReader struct {
	rest   []byte
	failed bool
}

func (r *recordReader) number() int64 {
	v, n := binary.Varint(r.rest)
	return int64(r.advance(uint64(v), n))
}

func (r *recordReader) length() uint64 {
	v, n := binary.Uvarint(r.rest)
	return r.advance(v, n)
}

// advance takes n bytes, which held v; n <= 0 is a failure.
func (r *recordReader) advance(v uint64, n int) uint64 {
	if r.failed || n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *recordReader) text() string {
	n := r.length()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *recordReader) texts() map[string]string {
	m := make(map[string]string)
	for n := r.length(); n > 0 && !r.failed; n-- {
		name := r.text()
		m[name] = r.text()
	}
	return m
}
