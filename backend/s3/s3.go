// Package s3 reaches S3 and the stores that speak its protocol: a backend.Service over
// aws-sdk-go-v2. Its stores copy, assemble from parts, delete in batches and restore.
//
// New finds credentials like every AWS tool does (environment, shared files, SSO, web
// identity, container, instance). A custom endpoint gets what compatible servers understand:
// the bucket in the path and no checksum they did not ask for in a form they may not know.
//
// What was sent is what is stored: every body travels with its CRC64NVME, which the server
// checks. Servers that do not know that checksum are noticed by their answers and get
// Content-MD5 instead (checksum.go).
//
// Where to look: client.go builds the SDK's client, errors.go translates its errors, attrs.go
// and state.go its headers, the other files hold an operation or a power each.
package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/thawfs/thawfs/backend"
)

// Options say which account on which endpoint, and how to reach it. The zero value is AWS with
// the credentials of the environment.
type Options struct {
	Endpoint string // URL; empty means AWS (or what AWS_ENDPOINT_URL or the profile say)
	Region   string // empty: of the environment or profile, else us-east-1
	Profile  string // of the shared configuration files; empty: AWS_PROFILE or default

	// Anonymous sends unsigned requests, for public buckets.
	Anonymous bool
	// AccessKey and SecretKey, with SessionToken if they are temporary, bypass the search
	// for credentials.
	AccessKey, SecretKey, SessionToken string

	// Checksum is how bodies are protected on their way: "auto" (or empty) is crc64nvme,
	// or md5 for servers that turn out not to know it; "crc64nvme"; "md5"; "off".
	Checksum string
	// Addressing is where the bucket's name goes: "path", "virtual" (host name), or
	// "auto" (or empty): virtual on AWS, path elsewhere.
	Addressing string

	// Wrap, if set, is laid around the HTTP transport: tests count and break requests.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Log gets the SDK's remarks on single requests (debug) and what a server turned out
	// not to support (info). Nil means silence.
	Log *slog.Logger
}

// Service is an account on one endpoint. It implements backend.Service.
type Service struct {
	o      Options
	log    *slog.Logger
	config aws.Config
	sums   *checksums // of whole objects
	parts  *checksums // of parts: a server may know the one and not the other
	can    *abilities
	copies copySizes // constant
	meter  backend.Meter
	// custom is set for endpoints that are not Amazon's own.
	custom bool
	server atomic.Int32 // which it calls itself, see keys.go
	keeps  atomic.Int32 // whether it stores just what it is sent, see known.go

	mu      sync.Mutex         // leaf; guards regions
	regions map[string]*client // by region
}

// client is the SDK's client for one region.
type client struct {
	*awss3.Client
	patient aws.HTTPClient // for requests the server may think about for minutes
}

// Store is one bucket. It implements backend.Store, Copier, PartUploader, PartCopier,
// BatchDeleter and Restorer.
type Store struct {
	svc    *Service
	bucket string
	client *client
	begun  begun
}

var (
	_ backend.Service = (*Service)(nil)
	_ interface {
		backend.Store
		backend.Copier
		backend.PartUploader
		backend.PartCopier
		backend.BatchDeleter
		backend.Restorer
	} = (*Store)(nil)
)

// New prepares the client. It asks for credentials (ErrCredentials if there are none) but does
// not speak to the endpoint yet.
func New(ctx context.Context, o Options) (*Service, error) {
	fail := func(err error) (*Service, error) {
		return nil, &backend.Error{Store: "s3", Op: "configure", Err: err}
	}
	if !slices.Contains([]string{"", auto, crc64nvme, contentMD5, off}, o.Checksum) {
		return fail(fmt.Errorf("%w: checksum %q is none of auto, crc64nvme, md5, off", backend.ErrInvalid, o.Checksum))
	}
	if !slices.Contains([]string{"", auto, "path", "virtual"}, o.Addressing) {
		return fail(fmt.Errorf("%w: addressing %q is none of auto, path, virtual", backend.ErrInvalid, o.Addressing))
	}
	s := &Service{o: o, log: o.Log, regions: map[string]*client{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.sums, s.parts = newChecksums(o.Checksum, s.log), newChecksums(o.Checksum, s.log)
	if err := s.configure(ctx); err != nil {
		return fail(err)
	}
	s.can, s.copies = newAbilities(s.custom, s.log), copySizes{maxCopy, copyPart}
	return s, nil
}

// in returns the client for a region.
func (s *Service) in(region string) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.regions[region]
	if c == nil {
		c = s.newClient(region)
		s.regions[region] = c
	}
	return c
}

// home is the client for requests that concern no bucket.
func (s *Service) home() *client { return s.in(s.config.Region) }

// bucketURL names a bucket, or the service, in errors.
func bucketURL(bucket string) string { return "s3://" + bucket }
