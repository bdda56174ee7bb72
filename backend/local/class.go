package local

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/thawfs/thawfs/backend"
)

// classes are the storage classes of S3 (StorageClass in the API reference of PutObject).
var classes = []string{
	"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
	"GLACIER_IR", "GLACIER", "DEEP_ARCHIVE", "EXPRESS_ONEZONE",
}

// maxMeta bounds the attributes of an object, names and values together. S3 itself stops at
// 2 KiB of metadata.
const maxMeta = 64 << 10 // bytes

// headers are the names that Attrs.Header may have.
var headers = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language",
	"content-type", "expires",
}

// A thaw is a Restore that was asked for.
type thaw struct {
	Ready time.Time `json:"ready"` // readable from then
	Until time.Time `json:"until"` // to then
}

// state tells whether the body can be read at the time now.
func (r *record) state(now time.Time) (backend.State, time.Time) {
	switch {
	case !isArchive(r.Class):
		return backend.Online, time.Time{}
	case r.Thaw == nil || !now.Before(r.Thaw.Until):
		return backend.Archived, time.Time{}
	case now.Before(r.Thaw.Ready):
		return backend.Restoring, time.Time{}
	}
	return backend.Restored, r.Thaw.Until
}

// readable fails with backend.ErrArchived if the body cannot be read now.
func (r *record) readable() error {
	if state, _ := r.state(time.Now()); !state.Readable() {
		return fmt.Errorf("%w: class %s, %s", backend.ErrArchived, r.Class, state)
	}
	return nil
}

func isArchive(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

func checkClass(class string) error {
	if class != "" && !slices.Contains(classes, class) {
		return fmt.Errorf("%w: storage class %q", backend.ErrInvalid, class)
	}
	return nil
}

// checkAttrs fails with backend.ErrInvalid for attributes that no request could carry.
func checkAttrs(a backend.Attrs) error {
	size := 0
	for name, value := range a.Meta {
		size += len(name) + len(value)
		if name == "" || strings.ToLower(name) != name || strings.ContainsAny(name, " \t\r\n:") || !utf8.ValidString(name+value) {
			return fmt.Errorf("%w: metadata %q: %q", backend.ErrInvalid, name, value)
		}
	}
	for name, value := range a.Header {
		size += len(name) + len(value)
		if !slices.Contains(headers, name) || !utf8.ValidString(value) {
			return fmt.Errorf("%w: header %q: %q", backend.ErrInvalid, name, value)
		}
	}
	if size > maxMeta {
		return fmt.Errorf("%w: %d bytes of attributes", backend.ErrTooLarge, size)
	}
	return checkClass(a.Class)
}

// setAttrs gives r the attributes a, in the class of the bucket if a names none.
func (r *record) setAttrs(a backend.Attrs, class string) {
	r.Meta, r.Header, r.Class = maps.Clone(a.Meta), maps.Clone(a.Header), a.Class
	if r.Class == "" {
		r.Class = class
	}
}
