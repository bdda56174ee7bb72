package writeback

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/thawfs/thawfs/backend"
)

// A record is one fact in the journal; exactly one field is set. Records tell states, not
// steps: replaying a line twice, or missing an older one, leaves the newest state right.
type record struct {
	Set     *entryRec  `json:"set,omitempty"`     // what is pending for a key
	Drop    *refRec    `json:"drop,omitempty"`    // nothing is pending for a key any more
	Sparse  *sparseRec `json:"sparse,omitempty"`  // a change of a sparse file after its last Set
	Free    *freeRec   `json:"free,omitempty"`    // a staged file that may be deleted
	Up      *uploadRec `json:"up,omitempty"`      // an upload, without its parts
	Part    *partRec   `json:"part,omitempty"`    // a part the store has confirmed
	UpEnd   uint64     `json:"upend,omitempty"`   // an upload that is completed or aborted
	Move    *moveRec   `json:"move,omitempty"`    // a rename that needs copies
	Copied  *copiedRec `json:"copied,omitempty"`  // copies it has made
	MoveEnd uint64     `json:"moveend,omitempty"` // it is over
	Synced  uint64     `json:"synced,omitempty"`  // staged files of the lines up to this one are on the disk
	Above   bool       `json:"above,omitempty"`   // the same of all lines above
	Boot    string     `json:"boot,omitempty"`    // the kernel's boot id when the lines below were written
}

type refRec struct {
	Bucket string `json:"b"`
	Key    string `json:"k"`
}

func (r refRec) ref() backend.Ref { return backend.Ref{Bucket: r.Bucket, Key: r.Key} }

func newRefRec(ref backend.Ref) refRec { return refRec{ref.Bucket, ref.Key} }

// An entryRec is the journalled part of an entry.
type entryRec struct {
	refRec
	Want     string    `json:"w"` // content, attrs or gone
	File     *fileRec  `json:"f,omitempty"`
	Attrs    *attrsRec `json:"a,omitempty"`
	Base     *objRec   `json:"base,omitempty"` // nil: not known; ETag "": absent
	Tries    []try     `json:"try,omitempty"`
	Metas    []textMap `json:"meta,omitempty"`
	Since    int64     `json:"t"` // Unix nanoseconds
	Mod      int64     `json:"m"` // Unix nanoseconds
	Conflict bool      `json:"conflict,omitempty"`
}

// A fileRec is staged content as it was when it was committed.
type fileRec struct {
	ID     uint64     `json:"id"`
	Held   bool       `json:"h,omitempty"` // the content is in Inline, not in a file
	Inline []byte     `json:"d,omitempty"`
	Size   int64      `json:"n"`
	Mtime  int64      `json:"m,omitempty"`  // of the staged file, Unix nanoseconds
	CRC    *uint64    `json:"c,omitempty"`  // CRC64NVME, if it was computed
	Ranges [][2]int64 `json:"r,omitempty"`  // of a sparse file: staged [from, to)
	Base   *objRec    `json:"b,omitempty"`  // of a sparse file: where the rest is
	Sparse bool       `json:"s,omitempty"`  // Ranges and Base count
	BaseN  int64      `json:"bn,omitempty"` // of a sparse file: bytes of Base still visible
}

// A sparseRec says that [From, To) of a sparse file was written, or that it was cut to To
// bytes.
type sparseRec struct {
	ID   uint64 `json:"id"`
	From int64  `json:"f,omitempty"`
	To   int64  `json:"t"`
	Cut  bool   `json:"x,omitempty"`
}

// A try is content that was sent to the store and may have arrived without our knowing.
type try struct {
	Size int64  `json:"n"`
	CRC  uint64 `json:"c"` // CRC64NVME; 0 if not known
}

// A freeRec says that nothing needs a staged file if it still has this size and mtime; a
// negative size means whatever it has.
type freeRec struct {
	ID    uint64 `json:"id"`
	Size  int64  `json:"n"`
	Mtime int64  `json:"m,omitempty"` // Unix nanoseconds
}

type attrsRec struct {
	Meta   textMap `json:"m,omitempty"`
	Header textMap `json:"h,omitempty"`
	Class  string  `json:"c,omitempty"`
}

func newAttrsRec(a backend.Attrs) *attrsRec {
	return &attrsRec{textMap(a.Meta), textMap(a.Header), a.Class}
}

func (r *attrsRec) attrs() backend.Attrs {
	if r == nil {
		return backend.Attrs{}
	}
	return backend.Attrs{Meta: r.Meta, Header: r.Header, Class: r.Class}
}

type objRec struct {
	Key   string    `json:"k,omitempty"`
	Size  int64     `json:"n,omitempty"`
	Mod   int64     `json:"m,omitempty"` // Unix nanoseconds
	ETag  string    `json:"e,omitempty"`
	Attrs *attrsRec `json:"a,omitempty"`
	// State is only what was true once. It keeps attributes that were put aside from being
	// tried after each start; see entry.parked.
	State backend.State `json:"s,omitempty"`
}

func newObjRec(o backend.Object) *objRec {
	r := &objRec{Key: o.Key, Size: o.Size, ETag: o.ETag, State: o.State}
	if !o.ModTime.IsZero() {
		r.Mod = o.ModTime.UnixNano()
	}
	if o.ETag != "" {
		r.Attrs = newAttrsRec(o.Attrs)
	}
	return r
}

func (r *objRec) object() backend.Object {
	o := backend.Object{Key: r.Key, Size: r.Size, ETag: r.ETag, Attrs: r.Attrs.attrs(), State: r.State}
	if r.Mod != 0 {
		o.ModTime = time.Unix(0, r.Mod)
	}
	return o
}

type uploadRec struct {
	UID    uint64    `json:"u"`
	Bucket string    `json:"b"`
	Key    string    `json:"k"`
	ID     string    `json:"id,omitempty"` // empty: the store was asked, its answer is not known
	File   uint64    `json:"f,omitempty"`
	Attrs  *attrsRec `json:"a,omitempty"`
	Layout layout    `json:"l,omitempty"`
	Abort  bool      `json:"x,omitempty"` // not wanted any more
}

type partRec struct {
	UID    uint64       `json:"u"`
	Part   backend.Part `json:"p"`
	Copied bool         `json:"c,omitempty"` // taken from the base object: CRC is not known
}

type moveRec struct {
	ID     uint64    `json:"id"`
	Bucket string    `json:"b"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Tree   bool      `json:"tree,omitempty"`
	Obj    *objRec   `json:"o,omitempty"` // of a single key
	Attrs  *attrsRec `json:"a,omitempty"` // that the copy shall have; nil: the source's
	Undo   bool      `json:"undo,omitempty"`
}

type copiedRec struct {
	ID   uint64   `json:"id"`
	Keys []string `json:"k"` // destinations
}

// A textMap is a map whose values need not be UTF-8: JSON would replace foreign bytes, and
// metadata that other programs wrote must come back as it was.
type textMap map[string]string

func (m textMap) MarshalJSON() ([]byte, error) {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return json.Marshal(m.encoded())
		}
	}
	return json.Marshal(map[string]string(m))
}

func (m textMap) encoded() [][2]string {
	var pairs [][2]string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, [2]string{
			base64.StdEncoding.EncodeToString([]byte(k)),
			base64.StdEncoding.EncodeToString([]byte(m[k])),
		})
	}
	return pairs
}

func (m *textMap) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '[' {
		return json.Unmarshal(data, (*map[string]string)(m))
	}
	var pairs [][2][]byte // encoding/json decodes base64 into []byte
	if err := json.Unmarshal(data, &pairs); err != nil {
		return err
	}
	*m = make(textMap, len(pairs))
	for _, p := range pairs {
		(*m)[string(p[0])] = string(p[1])
	}
	return nil
}
