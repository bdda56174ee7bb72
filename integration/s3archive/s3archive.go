// Package s3archive puts the archive of S3 in front of an S3 server that has none. It is a
// test double of ours, written from what Amazon documents, and no more a real server than
// that: what it says has been checked against the documents, never against Amazon's S3.
//
//	clock := &s3archive.Clock{}
//	double := s3archive.New(s3archive.Options{
//		Endpoint: minio.Endpoint, AccessKey: minio.AccessKey, SecretKey: minio.SecretKey,
//		Region: minio.Region, Now: clock.Now, Takes: s3archive.Always(50 * time.Millisecond),
//	})
//	front := httptest.NewServer(double) // what clients are pointed at
//
// Bytes, names and conditions are the real server's business: requests go there signed anew,
// without the storage class, which it would refuse. The double remembers the class by key and
// ETag, so an object that is replaced behind its back is an ordinary one again.
//
// The rules, with what they were read in ("guide" is the S3 user guide, "API" the API
// reference, by page):
//
//   - object.go: which objects need a restore, and what their states are
//   - restore.go: RestoreObject
//   - proxy.go: what is refused, and what HEAD and GET show
//   - list.go: what listings show
//
// Where the documents say nothing, the comment says that it is a guess.
package s3archive

import (
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Options of a Server. Endpoint and the keys are required.
type Options struct {
	Endpoint, AccessKey, SecretKey, Region string // of the server behind

	// Now is the time by which restores are ready and copies end; nil is time.Now. Requests
	// are signed by the real time.
	Now func() time.Time
	// Takes is how long a restore takes; nil is no time at all.
	Takes func(class, tier string) time.Duration
	// Expedited says that there is capacity for expedited restores.
	Expedited bool
	// Mute leaves RestoreStatus out of listings, as servers do that do not know of it: most but
	// S3.
	Mute bool
	// Answer, if set, is called before the answer to a RestoreObject is sent, when what it
	// says is true already: a test can hold the answer back.
	Answer func(Request)
}

// Always is an Options.Takes of one duration.
func Always(d time.Duration) func(class, tier string) time.Duration {
	return func(string, string) time.Duration { return d }
}

// A Request is a RestoreObject as it was answered.
type Request struct {
	Bucket, Key string
	Tier        string // as asked for; "" is Standard
	Days        int    // 0: none were named
	Status      int    // of HTTP
	Code        string // of the error; "" for none
	Paid        bool   // it began a retrieval, or made one faster: both are charged (guide, "Restoring an archived object")
}

// A Server is the double. It is an http.Handler, safe for concurrent use.
type Server struct {
	o         Options
	signer    *v4.Signer
	creds     aws.Credentials
	transport *http.Transport
	turns     turns

	mu       sync.Mutex
	denied   bool               // guarded by mu
	objects  map[object]*record // guarded by mu; what is not here is of class STANDARD
	uploads  map[string]string  // guarded by mu; classes by upload id
	requests []Request          // guarded by mu
}

// New prepares a Server; it does not speak to the server behind yet.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Takes == nil {
		o.Takes = Always(0)
	}
	return &Server{
		o:         o,
		signer:    v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }), // as S3 has it
		creds:     aws.Credentials{AccessKeyID: o.AccessKey, SecretAccessKey: o.SecretKey},
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		objects:   map[object]*record{}, uploads: map[string]string{},
	}
}

// Close drops the connections to the server behind.
func (s *Server) Close() { s.transport.CloseIdleConnections() }

// Deny makes RestoreObject answer AccessDenied, as to users without s3:RestoreObject.
func (s *Server) Deny(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = on
}

// Requests returns all RestoreObjects so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Paid counts the requests for a key that were charged as retrievals.
func (s *Server) Paid(bucket, key string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Bucket == bucket && r.Key == key && r.Paid {
			n++
		}
	}
	return n
}

// A Clock is the real time, plus what it was moved ahead. The zero Clock is ready.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration // guarded by mu
}

// Now is an Options.Now.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Advance moves the clock ahead.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}
