// Package swift reaches OpenStack Swift by its own protocol: a backend.Service whose buckets
// are containers. Its stores copy, assemble large objects from segments, delete in batches and
// restore from archives that seal objects (OVH).
//
// New logs in by TempAuth (v1) or Keystone (v2, v3) with what OS_* variables, clouds.yaml or
// the caller say. ncw/swift makes and reads the requests of the login; requests to the store
// are made here, because that library repeats next to none of them, keeps writing into a
// reader's buffer after a time-out and logs in anew on each request with short-lived tokens.
//
// Large objects are Static Large Objects. The segments of an object in container C lie in
// C_segments; nothing there is deleted before what replaces it stands, nor while another
// manifest may need it (owners.go).
//
// Where to look: auth.go and session.go log in, config.go and clouds.go find out as whom;
// request.go sends and repeats; manifest.go, parts.go, owners.go and release.go are about large
// objects; the other files hold an operation or a power each.
package swift

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

// Options say which account of which cloud, and how to reach it.
type Options struct {
	Auth Auth // what is not found there is looked for, see Find

	// Policy is the storage policy of new containers; empty leaves it to the service.
	Policy string

	// Wrap, if set, is laid around the HTTP transport: tests count and break requests.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Log gets what is repeated (debug) and what is left behind (warn). Nil means silence.
	Log *slog.Logger
}

// Service is an account of a cloud. It implements backend.Service.
type Service struct {
	meter   backend.Meter
	o       Options
	log     *slog.Logger
	client  *http.Client // requests that are answered soon
	patient *http.Client // those a server may think about for minutes
	keys    *keyring
	limits  limits // of the server; constant
	readers readers
	turns   turns

	mu        sync.Mutex      // leaf
	companion map[string]bool // segment containers that are known to exist. Guarded by mu
}

// Store is one container. It implements backend.Store, Copier, PartUploader, PartCopier,
// BatchDeleter, Restorer and Inspector.
type Store struct {
	svc    *Service
	name   string // of the container
	policy string // its storage policy; empty if the service does not tell
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
		backend.Inspector
	} = (*Store)(nil)
)

// New logs in, so that wrong credentials are told before anything is mounted.
func New(ctx context.Context, o Options) (*Service, error) {
	s := &Service{o: o, log: o.Log, companion: map[string]bool{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	t, err := transport(o.Auth)
	if err != nil {
		return nil, &backend.Error{Store: "swift", Op: "configure", Err: err}
	}
	wrap := func(rt http.RoundTripper) http.RoundTripper {
		rt = s.meter.Transport(rt, operation)
		if o.Wrap != nil {
			rt = o.Wrap(rt)
		}
		return rt
	}
	s.client, s.patient = newClient(wrap(t.impatient())), newClient(wrap(t.patient()))
	s.keys = newKeyring(o.Auth, wrap(t.impatient()), s.log)
	sess, err := s.keys.session(ctx)
	if err != nil {
		return nil, s.fail(ctx, "log in", "", err)
	}
	if s.limits, err = s.askLimits(ctx, sess.url); err != nil {
		s.log.Debug("the server tells no limits", "err", err)
	}
	return s, nil
}
