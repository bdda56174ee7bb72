// Package glacier reaches vaults of the S3 Glacier service (the API of 2012): a
// backend.Service whose buckets are vaults and whose objects are archives.
//
// The service is unlike an object store. An archive has no name, only an id and a description:
// describe.go finds names in the descriptions of some twenty programs, name.go makes keys of
// them. It has no listing, only an inventory, a day old, that takes hours to get: what a vault
// shows is a catalogue on the local disk (catalogue.go, load.go, inventory.go), kept up to date
// with what is uploaded and deleted here (change.go). Nothing can be read but the output of a
// job that was begun hours before and is kept for a day (jobs.go, restore.go, get.go, fetch.go).
// And an archive never changes: another upload of its name gives another one (put.go,
// multipart.go).
//
// All bytes are checked: those sent by the service against the tree hash of treehash.go, those
// received by us before anybody sees them.
//
// The facts are from Amazon's "S3 Glacier developer guide", cited by the titles of its pages.
package glacier

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"

	"github.com/thawfs/thawfs/backend"
)

// Options say which account in which region. Dir is required.
type Options struct {
	// Dir holds the catalogues: a file for each vault. One process at a time has one open.
	Dir string

	Endpoint string // URL; empty means AWS (or what AWS_ENDPOINT_URL or the profile say)
	Region   string // empty: of the environment or profile, else us-east-1
	Profile  string // of the shared configuration files; empty: AWS_PROFILE or default

	// AccessKey and SecretKey bypass the search for credentials.
	AccessKey, SecretKey string

	Now  func() time.Time // nil: time.Now
	Look time.Duration    // how long the list of jobs is believed; 0: 10 s

	// InventoryEvery asks for a new inventory when the last is that old; 0: only when the
	// catalogue has none, or somebody asks.
	InventoryEvery time.Duration

	// Single is the largest archive, in bytes, that is uploaded in one request; 0: 100 MiB.
	// Larger ones go in parts of PartSize at least; 0: 16 MiB.
	Single, PartSize int64

	// NoSync leaves it to the kernel when catalogues reach the disk: for tests, which are
	// faster so and lose no power.
	NoSync bool

	// Wrap, if set, is laid around the HTTP transport: tests count and break requests.
	Wrap func(http.RoundTripper) http.RoundTripper
	Log  *slog.Logger // nil: silence
}

const (
	defaultSingle = 100 * mib
	defaultPart   = 16 * mib
	defaultLook   = 10 * time.Second
)

// Service is an account in one region. It implements backend.Service. Unlike others it has to
// be closed: its catalogues are open files, and it asks for inventories by itself.
type Service struct {
	o   Options
	log *slog.Logger
	api *awsglacier.Client

	mu     sync.Mutex // guards what follows
	closed bool
	stores map[string]*Store // that are open
}

// Store is one vault. It implements backend.Store, WriteOnce, Restorer, Fetcher and Describer.
type Store struct {
	svc   *Service
	vault string
	cat   *catalogue
	jobs  jobs
	wake  chan struct{} // the keeper of the inventory looks again

	locks   keyLocks // one change of a key at a time
	refusal refusals

	life context.Context // of goroutines; ended by close
	end  context.CancelFunc
	work sync.WaitGroup
}

var (
	_ backend.Service = (*Service)(nil)
	_ interface {
		backend.WriteOnce
		backend.Restorer
		backend.Fetcher
		backend.Describer
	} = (*Store)(nil)
)

// New prepares the client. It asks for credentials (ErrCredentials if there are none) but does
// not speak to the service yet.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.Dir == "" {
		return nil, &backend.Error{Store: "glacier", Op: "configure", Err: errors.New("Options.Dir is required")}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Look = cmp.Or(o.Look, defaultLook)
	o.Single = cmp.Or(o.Single, defaultSingle)
	o.PartSize = cmp.Or(o.PartSize, defaultPart)
	s := &Service{o: o, log: o.Log, stores: map[string]*Store{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	api, err := newClient(ctx, o, s.log)
	if err != nil {
		return nil, &backend.Error{Store: "glacier", Op: "configure", Err: err}
	}
	s.api = api
	return s, nil
}

// Close ends what the service does by itself and closes the catalogues.
func (s *Service) Close() error {
	s.mu.Lock()
	open := s.stores
	s.stores, s.closed = map[string]*Store{}, true
	s.mu.Unlock()
	var errs []error
	for _, store := range open {
		errs = append(errs, store.close())
	}
	return errors.Join(errs...)
}

// close ends what the store does by itself and closes its catalogue.
func (s *Store) close() error {
	s.end()
	s.work.Wait()
	return s.cat.Close()
}

// cataloguePath is the file of a vault's catalogue: names of vaults are safe names of files.
func (s *Service) cataloguePath(vault string) string { return filepath.Join(s.o.Dir, vault+".vault") }

// keyLocks let one change of a key happen at a time, without a lock for each key.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the key is free again
}

// lock waits until key is free and takes it. The caller calls unlock.
func (l *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		busy, ok := l.held[key]
		if !ok {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			free := make(chan struct{})
			l.held[key] = free
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.held, key)
				close(free)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Dir is where the catalogues are.
func (s *Service) Dir() string { return s.o.Dir }
