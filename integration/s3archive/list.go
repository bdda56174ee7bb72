package s3archive

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// lists reports whether a GET of a bucket is ListObjects, ListObjectsV2 or ListObjectVersions,
// and not one of its settings.
func lists(q url.Values) bool {
	if q.Has("list-type") || q.Has("versions") {
		return true
	}
	for name := range q {
		if !slices.Contains([]string{"prefix", "delimiter", "marker", "max-keys", "encoding-type", "x-id"}, name) {
			return false
		}
	}
	return true
}

// An entry of a listing is an element without others of its name inside. Keys are escaped, so
// the end cannot stand in one.
var (
	entries = regexp.MustCompile(`(?s)<(Contents|Version)>.*?</(?:Contents|Version)>`)
	classes = regexp.MustCompile(`<StorageClass>[^<]*</StorageClass>`)
)

// list shows the class of each object: that of INTELLIGENT_TIERING whatever its tier (guide,
// "Managing S3 Intelligent-Tiering"). If it is asked for, RestoreStatus is there for objects
// whose restore is under way or done (API, ListObjectsV2, x-amz-optional-object-attributes,
// and RestoreStatus).
func (s *Server) list(w http.ResponseWriter, r *http.Request, bucket string) {
	resp := s.ask(w, r)
	if resp == nil {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if resp.StatusCode == http.StatusOK {
		status := !s.o.Mute && strings.Contains(r.Header.Get("X-Amz-Optional-Object-Attributes"), "RestoreStatus")
		encoded := r.URL.Query().Get("encoding-type") == "url" && bytes.Contains(body, []byte("<EncodingType>url</EncodingType>"))
		body = entries.ReplaceAllFunc(body, func(e []byte) []byte { return s.entry(bucket, e, encoded, status) })
		resp.Header.Del("Content-Length")
	}
	reply(w, resp, bytes.NewReader(body))
}

// entry is one entry as S3 would show it.
func (s *Server) entry(bucket string, e []byte, encoded, status bool) []byte {
	var listed struct{ Key, ETag string }
	if xml.Unmarshal(e, &listed) != nil {
		return e
	}
	if encoded {
		if key, err := url.QueryUnescape(listed.Key); err == nil {
			listed.Key = key
		}
	}
	rec, st := s.look(object{bucket, listed.Key, listed.ETag})
	if rec.class == standard {
		return e
	}
	e = classes.ReplaceAll(e, nil)
	end := bytes.LastIndex(e, []byte("</"))
	var b bytes.Buffer
	b.Write(e[:end])
	b.WriteString("<StorageClass>" + rec.class + "</StorageClass>")
	switch {
	case !status:
	case st == restoring:
		b.WriteString("<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>")
	case st == restored:
		b.WriteString("<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>" +
			rec.expires.UTC().Format(time.RFC3339) + "</RestoreExpiryDate></RestoreStatus>")
	}
	b.Write(e[end:])
	return b.Bytes()
}
