package attrindex

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/record"
)

// An index in the store is a line that says what it is, the CRC64NVME of what follows, and,
// deflated, how many files were listed when it was last held against a listing, and for each
// file its name, the nanoseconds of its time and a record (cache/record), in byte order of names.
const (
	magic      = "thawfs attributes 1\n"
	maxEntries = 100_000  // files of one directory
	maxRaw     = 64 << 20 // bytes of an index when it is inflated
	maxBody    = maxRaw + 1<<10
)

var errDamaged = errors.New("damaged index")

// An Index is what an object of that name holds. It is never changed.
type Index struct {
	raw    []byte   // entries one behind the other
	at     []uint32 // where each begins, in the order of names
	listed int      // files that the directory had when the index was held against a listing
}

// Len is how many files x knows, those among them that are gone.
func (x *Index) Len() int {
	if x == nil {
		return 0
	}
	return len(x.at)
}

// Find returns the attributes of a file if x has them of the version that is listed (see
// record.SameVersion). Exact asks for the same nanosecond.
func (x *Index) Find(name string, listed backend.Object, exact bool) (backend.Attrs, bool) {
	if x == nil {
		return backend.Attrs{}, false
	}
	i, ok := slices.BinarySearchFunc(x.at, name, func(at uint32, name string) int {
		return strings.Compare(record.NewReader(x.raw[at:]).Text(), name)
	})
	if !ok {
		return backend.Attrs{}, false
	}
	e := x.entry(i)
	r := record.NewReader(e)
	r.Text()
	if nano := r.Number(); exact && nano != int64(listed.ModTime.Nanosecond()) {
		return backend.Attrs{}, false
	}
	return record.Attrs(e[len(e)-r.Left():], listed)
}

// entry is the i-th entry.
func (x *Index) entry(i int) []byte {
	if i+1 < len(x.at) {
		return x.raw[x.at[i]:x.at[i+1]]
	}
	return x.raw[x.at[i]:]
}

func (x *Index) name(i int) string { return record.NewReader(x.entry(i)).Text() }

// weight is what x takes in memory, in bytes.
func (x *Index) weight() int64 {
	if x == nil {
		return 64
	}
	return int64(cap(x.raw)) + 4*int64(cap(x.at)) + 64
}

// appendEntry appends the entry of a file.
func appendEntry(b []byte, name string, obj backend.Object) []byte {
	b = record.AppendText(b, name)
	b = binary.AppendVarint(b, int64(obj.ModTime.Nanosecond()))
	return record.Append(b, obj)
}

// merge returns x with some entries replaced, or removed if the change is nil, and without
// those of files that are not listed, if a listing is given. What does not fit is left out.
func (x *Index) merge(changes map[string][]byte, listed map[string]bool) *Index {
	made := &Index{}
	if x != nil {
		made.listed = x.listed
	}
	names := slices.Sorted(maps.Keys(changes))
	for i := range x.Len() {
		name := x.name(i)
		for len(names) > 0 && names[0] < name {
			made.add(changes[names[0]])
			names = names[1:]
		}
		switch {
		case len(names) > 0 && names[0] == name:
			made.add(changes[name])
			names = names[1:]
		case listed == nil || listed[name]:
			made.add(x.entry(i))
		}
	}
	for _, name := range names {
		made.add(changes[name])
	}
	if listed != nil {
		made.listed = len(listed)
	}
	return made
}

func (x *Index) add(entry []byte) {
	if entry == nil || len(x.at) >= maxEntries || len(x.raw)+len(entry) > maxRaw-binary.MaxVarintLen64 {
		return
	}
	x.at = append(x.at, uint32(len(x.raw)))
	x.raw = append(x.raw, entry...)
}

// overgrown reports whether so much was added since x was held against a listing that it may
// consist mostly of files that others have removed.
func (x *Index) overgrown() bool { return x != nil && x.Len() > 2*x.listed+1000 }

// encode is x as the store has it.
func (x *Index) encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(magic)
	b.Write(make([]byte, 8))
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(binary.AppendVarint(nil, int64(x.listed)))
	if err == nil {
		_, err = w.Write(x.raw)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	body := b.Bytes()
	h := crc64nvme.New()
	_, _ = h.Write(body[len(magic)+8:]) // never fails
	binary.BigEndian.PutUint64(body[len(magic):], h.Sum64())
	return body, nil
}

// parse reads what encode wrote; anything else is errDamaged.
func parse(body []byte) (*Index, error) {
	rest, ok := bytes.CutPrefix(body, []byte(magic))
	if !ok || len(rest) < 8 {
		return nil, fmt.Errorf("%w: not one of this version", errDamaged)
	}
	h := crc64nvme.New()
	_, _ = h.Write(rest[8:]) // never fails
	if h.Sum64() != binary.BigEndian.Uint64(rest) {
		return nil, fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	inflate := flate.NewReader(bytes.NewReader(rest[8:]))
	raw, err := io.ReadAll(io.LimitReader(inflate, maxRaw+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	case len(raw) > maxRaw:
		return nil, fmt.Errorf("%w: more than %d bytes", errDamaged, maxRaw)
	}
	return scan(raw)
}

// scan finds where the entries begin.
func scan(raw []byte) (*Index, error) {
	r := record.NewReader(raw)
	x := &Index{listed: int(r.Number())}
	x.raw = raw[len(raw)-r.Left():]
	last := ""
	for r.Left() > 0 && !r.Failed() {
		at := uint32(len(x.raw) - r.Left())
		name := r.Text()
		r.Number()
		r.Skip()
		if len(x.at) > 0 && name <= last || len(x.at) >= maxEntries {
			return nil, fmt.Errorf("%w: names in no order", errDamaged)
		}
		x.at, last = append(x.at, at), name
	}
	if r.Failed() {
		return nil, fmt.Errorf("%w: it ends too soon", errDamaged)
	}
	return x, nil
}

// settled is how long ago a version must have been confirmed before an index names it. An
// index knows versions by the second, for that is what stores tell: a change of metadata alone
// that came within the same second would leave it with attributes that are no longer true. What
// comes so much later has a later second than the answer that confirmed the version.
const settled = 1200 * time.Millisecond
