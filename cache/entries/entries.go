// Package entries remembers what a store said about names, for a while.
package entries

import (
	"log/slog"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Options of a Cache.
type Options struct {
	TTL         time.Duration // how long attributes and listings are believed
	NegativeTTL time.Duration // how long absences are believed
	Capacity    int           // single entries: attributes, absences and listed names together
	Path        string        // bbolt file that remembers attributes by version across restarts; "" = memory only
	Log         *slog.Logger
}

// A Stamp is a point in the order of our own changes.
type Stamp uint64

// A Cache is safe for concurrent use.
type Cache struct{}

// New returns an empty Cache.
func New(o Options) (*Cache, error) { return &Cache{}, nil }

// Close flushes the memory of attributes.
func (c *Cache) Close() error { return nil }

// Stamp is taken before the store is asked.
func (c *Cache) Stamp() Stamp { return 0 }

// Get returns what is known of ref.
func (c *Cache) Get(ref backend.Ref) (obj backend.Object, found bool, known bool) { return }

// Learn takes a complete answer.
func (c *Cache) Learn(ref backend.Ref, obj backend.Object, s Stamp) {}

// LearnAbsent takes the answer that ref does not exist.
func (c *Cache) LearnAbsent(ref backend.Ref, s Stamp) {}

// Set tells that our own change was confirmed.
func (c *Cache) Set(ref backend.Ref, obj backend.Object) {}

// Remove tells that our own delete was confirmed.
func (c *Cache) Remove(ref backend.Ref) {}

// Complete fills the metadata of a listed object from memory.
func (c *Cache) Complete(ref backend.Ref, listed backend.Object) (backend.Object, bool) {
	return listed, false
}

// Dir returns the whole listing of one level; dir.Key is "" or ends in "/".
func (c *Cache) Dir(dir backend.Ref) ([]backend.Entry, bool) { return nil, false }

// LearnDir takes the whole listing of one level.
func (c *Cache) LearnDir(dir backend.Ref, entries []backend.Entry, s Stamp) {}

// Drop forgets what is known of ref and the listings that hold it.
func (c *Cache) Drop(ref backend.Ref) {}

// DropDir forgets dir and everything below.
func (c *Cache) DropDir(dir backend.Ref) {}
