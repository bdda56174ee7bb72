// Package record writes down what an object carries besides its bytes, together with the
// version that it is true of, in little space: the memory of cache/entries keeps such records
// on this machine, cache/attrindex in the store.
//
// A record holds a version and its attributes: ETag, size, second of the time, class, Meta
// and Header. Numbers are varints, texts have their length before them, maps the number of
// their pairs. Texts are kept as they are, for metadata of others need not be UTF-8.
package record

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/thawfs/thawfs/backend"
)

// Append appends the record of obj to b. It gives equal texts for equal objects.
func Append(b []byte, obj backend.Object) []byte {
	b = AppendText(b, obj.ETag)
	b = binary.AppendVarint(b, obj.Size)
	b = binary.AppendVarint(b, obj.ModTime.Unix())
	b = AppendText(b, obj.Class)
	b = appendMap(b, obj.Meta)
	return appendMap(b, obj.Header)
}

// SameVersion reports whether a version that a listing shows is one that is known from the
// answer to a request: by ETag, size and second of the time. The answer to a PUT tells when it
// was given; the store's time of the object can be in the second before.
func SameVersion(etag string, size, second int64, listed backend.Object) bool {
	late := second - listed.ModTime.Unix()
	return etag == listed.ETag && size == listed.Size && (late == 0 || late == 1)
}

// Attrs returns the attributes in a record if it is about the version that is listed.
func Attrs(text []byte, listed backend.Object) (backend.Attrs, bool) {
	r := NewReader(text)
	etag, size, second := r.Text(), r.Number(), r.Number()
	if r.failed || !SameVersion(etag, size, second, listed) {
		return backend.Attrs{}, false
	}
	attrs := backend.Attrs{Class: r.Text(), Meta: r.texts(), Header: r.texts()}
	if r.failed {
		return backend.Attrs{}, false
	}
	return attrs, true
}

// AppendText appends s as records have texts.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendMap(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		b = AppendText(AppendText(b, name), m[name])
	}
	return b
}

// A Reader takes records apart; after a failure it returns zeros.
type Reader struct {
	rest   []byte
	failed bool
}

// NewReader reads what b holds, which nobody changes meanwhile.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Failed reports whether something that was read was not there.
func (r *Reader) Failed() bool { return r.failed }

// Left is how many bytes are not read yet.
func (r *Reader) Left() int { return len(r.rest) }

// Number reads a varint.
func (r *Reader) Number() int64 {
	v, n := binary.Varint(r.rest)
	return int64(r.advance(uint64(v), n))
}

// Skip reads over a record.
func (r *Reader) Skip() {
	r.skipText()
	r.Number()
	r.Number()
	r.skipText()
	for range 2 {
		for n := r.length(); n > 0 && !r.failed; n-- {
			r.skipText()
			r.skipText()
		}
	}
}

func (r *Reader) length() uint64 {
	v, n := binary.Uvarint(r.rest)
	return r.advance(v, n)
}

// advance takes n bytes, which held v; n <= 0 is a failure.
func (r *Reader) advance(v uint64, n int) uint64 {
	if r.failed || n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Text reads a text.
func (r *Reader) Text() string { return string(r.skipText()) }

func (r *Reader) skipText() []byte {
	n := r.length()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *Reader) texts() map[string]string {
	m := make(map[string]string)
	for n := r.length(); n > 0 && !r.failed; n-- {
		name := r.Text()
		m[name] = r.Text()
	}
	return m
}
