package entries

import (
	"encoding/json"

	"github.com/thawfs/thawfs/backend"
)

// A record is what is remembered of a key: a version and its attributes.
type record struct {
	ETag    string            `json:"e"`
	Size    int64             `json:"s"`
	ModTime int64             `json:"t"` // seconds since 1970
	Meta    map[string]string `json:"m,omitempty"`
	Header  map[string]string `json:"h,omitempty"`
	Class   string            `json:"c,omitempty"`
}

// memoryKey is the key of ref in the file. Names of buckets have no NUL.
func memoryKey(ref backend.Ref) string { return ref.Bucket + "\x00" + ref.Key }

func encodeRecord(obj backend.Object) []byte {
	text, err := json.Marshal(record{obj.ETag, obj.Size, obj.ModTime.Unix(), obj.Meta, obj.Header, obj.Class})
	if err != nil {
		panic("entries: cannot encode a record: " + err.Error()) // strings and integers always can be
	}
	return text
}

// decodeRecord returns the attributes in text if it is about the version that is listed.
func decodeRecord(text []byte, listed backend.Object) (backend.Attrs, bool) {
	var r record
	if text == nil || json.Unmarshal(text, &r) != nil {
		return backend.Attrs{}, false
	}
	if r.ETag != listed.ETag || r.Size != listed.Size || r.ModTime != listed.ModTime.Unix() {
		return backend.Attrs{}, false
	}
	if r.Meta == nil {
		r.Meta = map[string]string{}
	}
	return backend.Attrs{Meta: r.Meta, Header: r.Header, Class: r.Class}, true
}
