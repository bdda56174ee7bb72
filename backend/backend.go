// Package backend says what thawfs needs of an object store, and nothing of any one of them.
//
// A Service is an account on an endpoint; its Buckets hold objects by key, each reached
// through a Store. Drivers (backend/local, backend/s3, ...) turn one protocol into these
// interfaces and its errors into the sentinels of errors.go. Abilities that only some
// stores have are interfaces of their own (powers.go), found by type assertion: a driver
// without a power carries no stub of it.
//
// backend/backendtest holds every sentence of this contract as a check; all drivers pass it.
package backend

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Service is an account on one endpoint: what the root of a mount shows.
type Service interface {
	// Buckets yields the buckets of the account in byte order of their names.
	Buckets(ctx context.Context) iter.Seq2[Bucket, error]

	// CreateBucket fails with ErrExist if the name is taken, also by another account, and
	// with ErrInvalid if the service does not allow it.
	CreateBucket(ctx context.Context, name string) error

	// DeleteBucket deletes an empty bucket; it fails with ErrNotEmpty or ErrNotExist.
	DeleteBucket(ctx context.Context, name string) error

	// Open returns the Store of an existing bucket, after asking the service; it fails
	// with ErrNotExist or ErrPermission. Stores are safe for concurrent use and need no
	// Close.
	Open(ctx context.Context, name string) (Store, error)
}

// A Bucket is one entry of Service.Buckets.
type Bucket struct {
	Name    string
	Created time.Time // zero if the service does not tell
}

// A Store holds the objects of one bucket, container or vault, by key.
//
// Keys are non-empty UTF-8 without NUL; anything else is ErrInvalid. A key the store
// cannot hold (too long, a shape it forbids) is ErrInvalid too. Every error is an *Error
// that names the operation and the key and wraps a sentinel or a context error. All
// methods may be called concurrently.
type Store interface {
	// Head returns the object with its metadata, or ErrNotExist.
	Head(ctx context.Context, key string) (Object, error)

	// List yields the entries whose keys begin with prefix and are greater than after,
	// in byte order of their keys, across as many pages as it takes. With
	// opts.Delimited, keys that contain a "/" behind prefix are rolled up into one entry
	// each that ends in that "/". Objects in a listing may lack Meta and Header. After
	// an error it yields nothing more.
	List(ctx context.Context, prefix, after string, opts ListOptions) iter.Seq2[Entry, error]

	// Get returns bytes [off, off+n) of the version of key that etag names; an empty
	// etag means the newest version, a negative n means to the end. A range that reaches
	// past the end is cut there; one that begins there is empty. The reader never
	// returns io.EOF before all of these bytes. Get fails with ErrChanged if the store
	// holds another version, with ErrArchived if key needs a Restore first. The caller
	// closes the reader.
	Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error)

	// Put stores body as key, replacing an object as a whole, and returns what the store
	// holds then, complete with Meta and Header. It reads body again after a failed
	// attempt. It honours IfMatch and IfAbsent (ErrChanged otherwise) or fails with
	// ErrUnsupported before anything is changed. When ctx is cancelled, key holds either
	// the old object or the whole new one.
	Put(ctx context.Context, key string, body *io.SectionReader, opts PutOptions) (Object, error)

	// Delete removes key; an absent key is no error.
	Delete(ctx context.Context, key string) error
}

// Attrs are the parts of an object that are neither its bytes nor chosen by the store.
// They travel with the object when it is copied.
type Attrs struct {
	// Meta is the user metadata: lower-case names without the wire's prefix.
	Meta map[string]string
	// Header holds the standard representation headers under lower-case names:
	// content-type, content-encoding, content-language, content-disposition,
	// cache-control, expires. Others are ErrInvalid in a Put.
	Header map[string]string
	// Class is the storage class, the store's own word; empty asks for the default.
	Class string
}

// Object describes one version of one object.
type Object struct {
	Key     string
	Size    int64     // bytes
	ModTime time.Time // as the store tells it
	ETag    string    // without quotes; equal ETags of one key mean equal bytes
	Attrs             // Meta and Header are nil when they were not asked for (listings)
	State   State
	Until   time.Time // when State Restored ends; zero otherwise
}

// State tells whether the bytes of an object can be read.
type State uint8

const (
	Online    State = iota // readable
	Archived               // needs Restorer.Restore before Get
	Restoring              // Restore was asked for; not readable yet
	Restored               // a readable copy exists until Object.Until
	Unknown                // a listing cannot tell; Head can. Never in an answer of Head
)

// Readable reports whether a Get may succeed in this state.
func (s State) Readable() bool { return s == Online || s == Restored || s == Unknown }

func (s State) String() string {
	return [...]string{"online", "archived", "restoring", "restored", "unknown"}[s]
}

// An Entry of a listing is an object or, when Prefix is set, a common prefix whose Key
// ends in "/" and of which nothing else is known.
type Entry struct {
	Object
	Prefix bool
}

// ListOptions modify Store.List.
type ListOptions struct {
	Delimited bool // one level: roll keys up at the next "/"
	PageSize  int  // entries a request at most; 0 leaves it to the store. A hint.
}

// PutOptions modify Store.Put, PartUploader.NewUpload and Complete.
type PutOptions struct {
	Attrs
	Cond
	// CRC64NVME is the checksum of the whole body if the caller knows it. The store, or
	// failing that the driver, verifies the body against it: a mismatch is ErrCorrupt
	// and stores nothing.
	CRC64NVME *uint64
}

// Cond makes a change conditional on the version it replaces. The zero Cond is
// unconditional; at most one field is set.
type Cond struct {
	IfMatch  string // ETag that key must have, else ErrChanged (also when it is absent)
	IfAbsent bool   // key must not exist, else ErrChanged
}

// Ref names an object across all buckets of a service.
type Ref struct {
	Bucket, Key string
}

func (r Ref) String() string { return r.Bucket + "/" + r.Key }
