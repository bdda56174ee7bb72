package glacier

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A record is what the catalogue knows of one key: an archive, or a directory that is only
// remembered here (its id is empty).
type record struct {
	id       string // of the archive
	size     int64  // bytes that a reader gets
	created  time.Time
	mtime    time.Time // from the description; zero if it tells none
	hash     sum       // of the whole archive
	hashed   bool      // hash is known
	hollow   bool      // the archive's one byte stands for none
	encoding string    // see name.encoding
	attrs    *backend.Attrs
}

// One byte says what a record has.
const (
	hasHash = 1 << iota
	isHollow
	hasAttrs
	hasMtime
)

var errRecord = errors.New("the catalogue holds a record that cannot be read")

// marshal writes a record in the form of the catalogue: flags, size, times, hash, id,
// encoding, attributes.
func (r record) marshal() []byte {
	b := make([]byte, 0, 64+len(r.id)+len(r.encoding))
	var flags byte
	for flag, set := range map[byte]bool{hasHash: r.hashed, isHollow: r.hollow, hasAttrs: r.attrs != nil, hasMtime: !r.mtime.IsZero()} {
		if set {
			flags |= flag
		}
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, r.size)
	b = binary.AppendVarint(b, r.created.UnixMilli())
	if flags&hasMtime != 0 {
		b = binary.AppendVarint(b, r.mtime.UnixNano())
	}
	if flags&hasHash != 0 {
		b = append(b, r.hash[:]...)
	}
	b = appendText(b, r.id)
	b = appendText(b, r.encoding)
	if r.attrs != nil {
		text, err := json.Marshal(r.attrs)
		if err != nil {
			panic("glacier: attributes do not marshal: " + err.Error()) // strings only
		}
		b = append(b, text...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unmarshal reads what marshal has written. The record shares nothing with b.
func unmarshal(b []byte) (r record, err error) {
	d := decoder{b: b}
	flags := d.byte()
	r.hollow = flags&isHollow != 0
	r.size = d.varint()
	r.created = time.UnixMilli(d.varint()).UTC()
	if flags&hasMtime != 0 {
		r.mtime = time.Unix(0, d.varint()).UTC()
	}
	if flags&hasHash != 0 {
		r.hashed = true
		copy(r.hash[:], d.take(len(r.hash)))
	}
	r.id, r.encoding = d.text(), d.text()
	if flags&hasAttrs != 0 && !d.bad {
		r.attrs = &backend.Attrs{}
		err = json.Unmarshal(d.b, r.attrs)
	}
	if d.bad || err != nil {
		return record{}, errRecord
	}
	return r, nil
}

// A decoder takes values off the front of b; bad is set when there were too few bytes.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, max(0, min(n, 64)))
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	d.b = d.b[size:]
	return string(d.take(int(n)))
}

// className is the storage class that all archives of a vault are in.
const className = "VAULT"

// object is a record as a Store shows it; its state is not known here.
func (r record) object(key string) backend.Object {
	o := backend.Object{Key: key, Size: r.size, ModTime: r.mtime, ETag: r.id}
	if o.ModTime.IsZero() {
		o.ModTime = r.created
	}
	if r.attrs != nil {
		o.Attrs = *r.attrs
	}
	if o.Meta == nil {
		o.Meta = map[string]string{}
	}
	if o.Header == nil {
		o.Header = map[string]string{}
	}
	if r.encoding != "" {
		o.Header = maps.Clone(o.Header)
		o.Header["content-encoding"] = r.encoding
	}
	o.Class = className
	if r.local() {
		o.ETag, o.Class = "local-"+r.created.UTC().Format("20060102T150405.000"), ""
	}
	return o
}

// local reports whether nothing is in the vault for this record.
func (r record) local() bool { return r.id == "" }

// isVersion reports whether key shows an archive that a newer one hides.
func isVersion(key string) bool { return strings.HasPrefix(key, versionsDir+"/") }
