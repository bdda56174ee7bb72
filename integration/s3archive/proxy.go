package s3archive

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// ServeHTTP answers one request, whose bucket is in the path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	switch {
	case strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-AWS4"):
		// Each chunk is signed on top of the request's signature, which is exchanged here.
		s.refuse(w, r, bucket, key, failure{http.StatusNotImplemented, "NotImplemented", "the double does not take bodies signed by the chunk", "", ""})
	case key == "" && r.Method == http.MethodGet && bucket != "" && lists(q):
		s.list(w, r, bucket)
	case key == "":
		s.pass(w, r)
	case r.Method == http.MethodPost && q.Has("restore"):
		s.restoreObject(w, r, bucket, key)
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.newUpload(w, r)
	case r.Method == http.MethodPost && q.Has("uploadId"):
		s.complete(w, r, bucket, key, q.Get("uploadId"))
	case r.Method == http.MethodPut && q.Has("uploadId"):
		s.part(w, r, bucket, key)
	case r.Method == http.MethodPut && plain(q):
		s.put(w, r, bucket, key)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && plain(q):
		s.get(w, r, bucket, key)
	default: // tags, ACLs, deletion and the like need no restore
		s.pass(w, r)
	}
}

// plain reports whether a request is about the object itself.
func plain(q url.Values) bool {
	return !slices.ContainsFunc(slices.Collect(maps.Keys(q)), func(name string) bool {
		return slices.Contains([]string{"acl", "attributes", "legal-hold", "retention", "tagging", "torrent", "uploadId"}, name)
	})
}

// pass hands a request on, and its answer back.
func (s *Server) pass(w http.ResponseWriter, r *http.Request) {
	if resp := s.ask(w, r); resp != nil {
		reply(w, resp, resp.Body)
	}
}

// ask sends r to the server behind; nil if that failed and w has been told. The caller replies.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) *http.Response {
	resp, err := s.forward(r.Context(), r.Method, r.URL, r.Header, r.Body, r.ContentLength)
	if err != nil {
		http.Error(w, "the server behind the double: "+err.Error(), http.StatusBadGateway)
		return nil
	}
	return resp
}

// forward sends a request to the server behind, signed anew: the headers and the host that the
// client has signed are others there.
func (s *Server) forward(ctx context.Context, method string, at *url.URL, h http.Header, body io.Reader, n int64) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, method, s.o.Endpoint, body)
	if err != nil {
		return nil, err
	}
	out.URL.Path, out.URL.RawPath, out.URL.RawQuery = at.Path, at.RawPath, at.RawQuery
	out.ContentLength = n
	if n == 0 {
		out.Body = http.NoBody
	}
	out.Header = h.Clone()
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Storage-Class", "Connection", "Expect", "Transfer-Encoding"} {
		out.Header.Del(name)
	}
	sum := out.Header.Get("X-Amz-Content-Sha256")
	if sum == "" {
		sum = "UNSIGNED-PAYLOAD"
		out.Header.Set("X-Amz-Content-Sha256", sum)
	}
	if err := s.signer.SignHTTP(ctx, s.creds, out, sum, "s3", s.o.Region, time.Now()); err != nil {
		return nil, err
	}
	return s.transport.RoundTrip(out)
}

// reply sends an answer of the server behind, with another body maybe.
func reply(w http.ResponseWriter, resp *http.Response, body io.Reader) {
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if name != "Connection" && name != "Transfer-Encoding" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler) // so that the client sees it break off as well
	}
}

// get is HeadObject and GetObject. Of an archived object only the first is answered; the other
// is InvalidObjectState (API, GetObject, "Errors").
func (s *Server) get(w http.ResponseWriter, r *http.Request, bucket, key string) {
	done := s.turns.look(bucket, key)
	resp := s.ask(w, r)
	if resp == nil {
		done()
		return
	}
	rec, st := s.look(object{bucket, key, resp.Header.Get("ETag")})
	done()
	ok := resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent
	if ok && r.Method == http.MethodGet && (st == archived || st == restoring) {
		_ = resp.Body.Close() // nobody gets to see it
		s.refuse(w, r, bucket, key, failure{http.StatusForbidden, "InvalidObjectState", "The operation is not valid for the object's storage class", rec.class, rec.tier})
		return
	}
	if ok {
		rec.show(resp.Header, st)
	}
	reply(w, resp, resp.Body)
}

// put is PutObject and CopyObject. A copy is of the class that the request names, or STANDARD
// (API, CopyObject, x-amz-storage-class), and an archived source must be restored first: else
// it is ObjectNotInActiveTierError (API, CopyObject, "Errors").
func (s *Server) put(w http.ResponseWriter, r *http.Request, bucket, key string) {
	if s.copiesArchived(w, r, bucket, key) {
		return
	}
	defer s.turns.change(bucket, key)()
	class := r.Header.Get("X-Amz-Storage-Class")
	if !s.knows(w, r, bucket, key, class) {
		return
	}
	resp := s.ask(w, r)
	if resp == nil {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	etag := resp.Header.Get("ETag")
	if r.Header.Get("X-Amz-Copy-Source") != "" {
		etag = etagIn(body, "CopyObjectResult")
	}
	if resp.StatusCode == http.StatusOK && etag != "" {
		s.stored(object{bucket, key, etag}, class)
	}
	reply(w, resp, bytes.NewReader(body))
}

// part is UploadPart, which passes, and UploadPartCopy, whose source must be restored like
// CopyObject's (guide, "Working with archived objects"; that the code is the same is a guess).
func (s *Server) part(w http.ResponseWriter, r *http.Request, bucket, key string) {
	if !s.copiesArchived(w, r, bucket, key) {
		s.pass(w, r)
	}
}

// copiesArchived refuses a copy of an archived object.
func (s *Server) copiesArchived(w http.ResponseWriter, r *http.Request, bucket, key string) bool {
	source := r.Header.Get("X-Amz-Copy-Source")
	if source == "" {
		return false
	}
	source, version, _ := strings.Cut(source, "?versionId=")
	name, err := url.PathUnescape(strings.TrimPrefix(source, "/"))
	from, fromKey, ok := strings.Cut(name, "/")
	if err != nil || !ok {
		return false // the server behind refuses it
	}
	etag, _ := s.etagOf(r.Context(), from, fromKey, version)
	if _, st := s.look(object{from, fromKey, etag}); st != archived && st != restoring {
		return false
	}
	s.refuse(w, r, bucket, key, failure{http.StatusForbidden, "ObjectNotInActiveTierError", "The source object of the COPY operation is not in the active tier and is only stored in Amazon S3 Glacier", "", ""})
	return true
}

// newUpload is CreateMultipartUpload, which is where the class of an object made of parts is
// chosen (API, CreateMultipartUpload, x-amz-storage-class).
func (s *Server) newUpload(w http.ResponseWriter, r *http.Request) {
	class := r.Header.Get("X-Amz-Storage-Class")
	if !s.knows(w, r, "", "", class) {
		return
	}
	resp := s.ask(w, r)
	if resp == nil {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var made struct {
		ID string `xml:"UploadId"`
	}
	if resp.StatusCode == http.StatusOK && xml.Unmarshal(body, &made) == nil {
		s.mu.Lock()
		s.uploads[made.ID] = class
		s.mu.Unlock()
	}
	reply(w, resp, bytes.NewReader(body))
}

// complete is CompleteMultipartUpload. It may fail behind a status of 200 (API,
// CompleteMultipartUpload).
func (s *Server) complete(w http.ResponseWriter, r *http.Request, bucket, key, id string) {
	defer s.turns.change(bucket, key)()
	resp := s.ask(w, r)
	if resp == nil {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if etag := etagIn(body, "CompleteMultipartUploadResult"); resp.StatusCode == http.StatusOK && etag != "" {
		s.mu.Lock()
		class := s.uploads[id]
		delete(s.uploads, id)
		s.mu.Unlock()
		s.stored(object{bucket, key, etag}, class)
	}
	reply(w, resp, bytes.NewReader(body))
}

// etagIn finds the ETag in an answer, quoted as in headers.
func etagIn(body []byte, name string) string {
	var made struct {
		XMLName xml.Name
		ETag    string
	}
	if err := xml.Unmarshal(body, &made); err != nil || made.XMLName.Local != name || made.ETag == "" {
		return ""
	}
	return `"` + strings.Trim(made.ETag, `"`) + `"`
}

// knows refuses a class that nobody knows, as S3 does (API, "Error responses").
func (s *Server) knows(w http.ResponseWriter, r *http.Request, bucket, key, class string) bool {
	if class == "" || class == standard || class == "REDUCED_REDUNDANCY" || slices.Contains(labels, class) {
		return true
	}
	s.refuse(w, r, bucket, key, failure{http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid", "", ""})
	return false
}

// etagOf asks the server behind for the ETag of an object; the status says whether it is there.
func (s *Server) etagOf(ctx context.Context, bucket, key, version string) (etag string, status int) {
	at := &url.URL{Path: "/" + bucket + "/" + key}
	if version != "" {
		at.RawQuery = "versionId=" + url.QueryEscape(version)
	}
	at.RawPath = strings.ReplaceAll((&url.URL{Path: at.Path}).EscapedPath(), "+", "%2B")
	resp, err := s.forward(ctx, http.MethodHead, at, http.Header{}, nil, 0)
	if err != nil {
		return "", http.StatusBadGateway
	}
	defer resp.Body.Close()
	return resp.Header.Get("ETag"), resp.StatusCode
}

// A failure is an error of S3.
type failure struct {
	status        int
	code, message string
	class         string // shown with InvalidObjectState
	tier          string
}

func absent(status int) failure {
	if status == http.StatusNotFound {
		return failure{status, "NoSuchKey", "The specified key does not exist.", "", ""}
	}
	return failure{status, "InternalError", fmt.Sprintf("the server behind the double answers %d", status), "", ""}
}

// refuse answers with an error as S3 words it (API, "Error responses", "REST error responses").
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, bucket, key string, f failure) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20)) // so that the connection can be used again
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "DOUBLE")
	w.WriteHeader(f.status)
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.WriteString(w, xml.Header) // the client may be gone
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName      xml.Name `xml:"Error"`
		Code         string
		Message      string
		StorageClass string `xml:",omitempty"`
		AccessTier   string `xml:",omitempty"`
		BucketName   string
		Key          string
		RequestID    string `xml:"RequestId"`
	}{Code: f.code, Message: f.message, StorageClass: f.class, AccessTier: f.tier, BucketName: bucket, Key: key, RequestID: "DOUBLE"})
}

// turns keep those who look at an object from seeing it between its being stored and its class
// being noted.
type turns [64]sync.RWMutex

func (t *turns) of(bucket, key string) *sync.RWMutex {
	h := fnv.New32a()
	_, _ = io.WriteString(h, bucket+"/"+key) // never fails
	return &t[h.Sum32()%uint32(len(t))]
}

func (t *turns) look(bucket, key string) (done func()) {
	mu := t.of(bucket, key)
	mu.RLock()
	return mu.RUnlock
}

func (t *turns) change(bucket, key string) (done func()) {
	mu := t.of(bucket, key)
	mu.Lock()
	return mu.Unlock
}
