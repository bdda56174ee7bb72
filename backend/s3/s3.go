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
// and state.go its headers, one file an operation for the rest.
package s3

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

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
	// Log gets single requests' retries (debug) and what a server turned out not to
	// support (info). Nil means silence.
	Log *slog.Logger
}

// Service is an account on one endpoint. It implements backend.Service.
type Service struct {
	o   Options
	log *slog.Logger
	aws bool // Amazon's own endpoint, whose abilities are known

	mu      sync.Mutex               // leaf; guards clients
	clients map[string]*awss3.Client // by region
}

// Store is one bucket. It implements backend.Store, Copier, PartUploader, PartCopier,
// BatchDeleter and Restorer.
type Store struct {
	svc    *Service
	bucket string
	client *awss3.Client
}

var _ interface {
	backend.Service
} = (*Service)(nil)

// New prepares the client; it asks for credentials (ErrCredentials) but not for the endpoint.
func New(ctx context.Context, o Options) (*Service, error) { return nil, nil }
