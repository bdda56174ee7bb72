package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A record describes the newest version of one key. On disk it is a line of JSON and, if
// Blob is empty, the body behind it. A record file is replaced, never changed.
type record struct {
	Key     string            `json:"key"`
	Size    int64             `json:"size"`
	ModTime time.Time         `json:"mtime"`
	ETag    string            `json:"etag"`
	CRC     uint64            `json:"crc64nvme"`
	Class   string            `json:"class"`
	Meta    map[string]string `json:"meta,omitempty"`
	Header  map[string]string `json:"header,omitempty"`
	Blob    string            `json:"blob,omitempty"`
	Upload  string            `json:"upload,omitempty"` // the upload it was assembled by
	Thaw    *thaw             `json:"thaw,omitempty"`   // the last Restore

	inline []byte // the body, if Blob is empty and the record was read whole
}

// maxInline bounds the bodies that live in their record: one file to write, sync and open
// instead of two.
const maxInline = 16 << 10 // bytes

// headSize is what a listing reads of a record: more than nearly every line of JSON.
const headSize = 4 << 10 // bytes

// line returns the first part of a record file.
func (r *record) line() ([]byte, error) {
	b, err := json.Marshal(r)
	return append(b, '\n'), err
}

// readRecord reads the record file path with its inline body. It fails with
// fs.ErrNotExist, or with backend.ErrCorrupt if the file is no whole record.
func readRecord(path string) (*record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, body, whole := bytes.Cut(b, []byte{'\n'})
	r, err := parseRecord(line, whole)
	if err != nil {
		return nil, fmt.Errorf("%w: record %s", err, path)
	}
	if r.Blob == "" {
		if int64(len(body)) != r.Size {
			return nil, fmt.Errorf("%w: record %s holds %d of %d bytes", backend.ErrCorrupt, path, len(body), r.Size)
		}
		r.inline = body
	}
	return r, nil
}

// readHead reads a record without its inline body.
func readHead(path string) (*record, error) {
	return readHeadInto(path, make([]byte, headSize))
}

// readHeadInto is readHead for who has a buffer of headSize bytes at hand.
func readHeadInto(path string, buf []byte) (*record, error) {
	n, err := readUpTo(path, buf)
	if err != nil {
		return nil, err
	}
	line, _, whole := bytes.Cut(buf[:n], []byte{'\n'})
	if !whole && n == headSize {
		return readRecord(path)
	}
	r, err := parseRecord(line, whole)
	if err != nil {
		return nil, fmt.Errorf("%w: record %s", err, path)
	}
	return r, nil
}

func parseRecord(line []byte, whole bool) (*record, error) {
	r := &record{}
	if !whole {
		return nil, fmt.Errorf("%w: torn", backend.ErrCorrupt)
	}
	if err := json.Unmarshal(line, r); err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrCorrupt, err)
	}
	return r, nil
}

// object returns the version that r describes, at the time now.
func (r *record) object(now time.Time) backend.Object {
	obj := backend.Object{
		Key:     r.Key,
		Size:    r.Size,
		ModTime: r.ModTime,
		ETag:    r.ETag,
		Attrs:   backend.Attrs{Meta: r.Meta, Header: r.Header, Class: r.Class},
	}
	if obj.Meta == nil {
		obj.Meta = map[string]string{}
	}
	if obj.Header == nil {
		obj.Header = map[string]string{}
	}
	obj.State, obj.Until = r.state(now)
	return obj
}

// meets fails with backend.ErrChanged unless r, nil if the key is absent, is what c asks
// for.
func (r *record) meets(c backend.Cond) error {
	switch {
	case c.IfAbsent && r != nil:
		return fmt.Errorf("%w: %q exists", backend.ErrChanged, r.ETag)
	case c.IfMatch != "" && r == nil:
		return fmt.Errorf("%w: absent, not %q", backend.ErrChanged, c.IfMatch)
	case c.IfMatch != "" && r.ETag != c.IfMatch:
		return fmt.Errorf("%w: %q, not %q", backend.ErrChanged, r.ETag, c.IfMatch)
	}
	return nil
}
