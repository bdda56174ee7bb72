// Package servers starts the real object stores that thawfs is tested against and ends them.
//
//	func TestMain(m *testing.M) { servers.Main(m) }
//
//	func TestUpload(t *testing.T) {
//		minio := servers.MinIO(t) // endpoint, keys and region of a running MinIO
//		...
//	}
//
// A server is started when a test of the binary first asks for it and shared by all of its
// tests: each test takes buckets of its own. Main ends the servers; should the test binary be
// killed, the kernel ends them with it. A test that hurts its server takes one of its own by
// Start.
//
// The programs are kept in a cache (Dir), built there by the first who needs one, or ahead of
// the tests with a look at the progress:
//
//	go run ./integration/servers/cmd/servers install
//
// Swift and Keystone are Debian's packages, which are installed when they are missing and whose
// daemons stay down: what the tests use runs in a directory of its own (swift.go).
//
// A server that cannot be had fails the test and says what to do. Nothing is ever skipped.
package servers

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// S3 is how a client reaches a running S3 server.
type S3 struct {
	Name                 string // minio, versitygw, moto
	Endpoint             string // http://127.0.0.1:port
	AccessKey, SecretKey string
	Region               string
}

// MinIO returns the MinIO that the tests of this binary share.
func MinIO(t testing.TB) S3 { t.Helper(); return shared.get(t, "minio") }

// VersityGW returns the versitygw (posix backend) that the tests of this binary share.
func VersityGW(t testing.TB) S3 { t.Helper(); return shared.get(t, "versitygw") }

// Moto returns the moto that the tests of this binary share. It is the one that freezes
// objects and thaws them. It holds everything in memory and copies an object for each ranged
// read: keep objects below 8 MiB.
func Moto(t testing.TB) S3 { t.Helper(); return shared.get(t, "moto") }

// Main runs the tests of a binary and ends the servers they used. It does not return.
func Main(m *testing.M) {
	shared.open()
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Stop ends the shared servers. Main does it; a TestMain with checks of its own behind the
// tests (goroutine leaks) calls it before them.
func Stop() error { return shared.close() }

// shared is the one thing of a test binary that outlives its tests: starting a server for each
// would take minutes.
var shared = fleet{running: map[string]*Server{}}

// fleet holds the servers that are shared by the tests of one binary.
type fleet struct {
	mu      sync.Mutex // guards all below; held while a server starts, so that it starts once
	opened  bool       // Main has begun, so somebody will call close
	running map[string]*Server
}

func (f *fleet) get(t testing.TB, name string) S3 { t.Helper(); return f.server(t, name).S3 }

func (f *fleet) server(t testing.TB, name string) *Server {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.opened {
		t.Fatalf("servers: nobody would end %s: the package needs func TestMain(m *testing.M) { servers.Main(m) }", name)
	}
	s := f.running[name]
	if s == nil {
		var err error
		if s, err = start(name); err != nil {
			t.Fatalf("servers: %v", err)
		}
		f.running[name] = s
	}
	if err := s.Err(); err != nil {
		t.Fatalf("servers: %v", err)
	}
	return s
}

func (f *fleet) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = true
}

func (f *fleet) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for name, s := range f.running {
		if err := s.Stop(); err != nil {
			failed = err
		}
		delete(f.running, name)
	}
	return failed
}
