package glacier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/thawfs/thawfs/backend"
)

// A catalogue is what is known of the archives of one vault: the last inventory, and what was
// uploaded and deleted here since. The service has no other listing. It is a bbolt file, so
// that a vault of millions costs memory only for what is looked at:
//
//	names   key → record, in byte order: what the vault shows. Its bucket has a number,
//	        since load.go makes a new one from each inventory
//	own     id → key and record of what was uploaded here; NUL, key → a directory
//	gone    id → when it was deleted here
//	facts   where all this comes from, and the bucket of names
//	fetch   id → what of its bytes a download has, see fetch.go
//	sends   key → an unfinished upload, see multipart.go
type catalogue struct {
	path string
	db   *bolt.DB

	change sync.Mutex // held while names are changed, also while new ones are made of an inventory
}

const (
	namesBucket = "names"
	ownBucket   = "own"
	goneBucket  = "gone"
	factsBucket = "facts"
	fetchBucket = "fetch"
	sendsBucket = "sends"
)

// provenance is where a catalogue comes from.
type provenance struct {
	Vault     string    `json:"vault,omitempty"` // its ARN, as the inventory has it
	Inventory time.Time `json:"inventory"`       // the moment that it shows; zero without one
	Loaded    time.Time `json:"loaded"`          // when that was taken over
	Asked     time.Time `json:"asked,omitzero"`  // when the next one was asked for
	Wanted    time.Time `json:"wanted,omitzero"` // when somebody wanted another one, that has not come
	Job       string    `json:"job,omitempty"`   // that brought the inventory
	Archives  int64     `json:"archives"`        // in the inventory
	Bytes     int64     `json:"bytes"`
	Unnamed   int64     `json:"unnamed"` // of them: without a name
}

// ErrInUse says that another process has the catalogue open.
var ErrInUse = errors.New("the catalogue of the vault is in use by another process")

func openCatalogue(path string, noSync bool) (*catalogue, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := openBolt(path, noSync)
	if err != nil {
		return nil, err
	}
	return &catalogue{path: path, db: db}, nil
}

func openBolt(path string, noSync bool) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoSync: noSync, NoFreelistSync: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{ownBucket, goneBucket, factsBucket, fetchBucket, sendsBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		if _, err := tx.CreateBucketIfNotExists(currentNames(tx)); err != nil {
			return err
		}
		return dropOldNames(tx)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalogue %s: %w", path, err), db.Close())
	}
	return db, nil
}

// currentNames is the bucket that holds the names.
func currentNames(tx *bolt.Tx) []byte {
	if name := tx.Bucket([]byte(factsBucket)).Get([]byte(namesBucket)); name != nil {
		return bytes.Clone(name)
	}
	return []byte(namesBucket)
}

func namesIn(tx *bolt.Tx) *bolt.Bucket { return tx.Bucket(currentNames(tx)) }

// dropOldNames deletes what a load that was interrupted, or one that was not, has left.
func dropOldNames(tx *bolt.Tx) error {
	current := currentNames(tx)
	var old [][]byte
	err := tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
		if bytes.HasPrefix(name, []byte(namesBucket)) && !bytes.Equal(name, current) {
			old = append(old, bytes.Clone(name))
		}
		return nil
	})
	for _, name := range old {
		err = errors.Join(err, tx.DeleteBucket(name))
	}
	return err
}

// Close may be called once nobody uses the catalogue any more.
func (c *catalogue) Close() error { return c.db.Close() }

// view reads in one short transaction: a long one would keep writers from growing the file.
func (c *catalogue) view(do func(*bolt.Tx) error) error { return c.db.View(do) }

// update writes durably. The caller holds c.change if it touches names.
func (c *catalogue) update(do func(*bolt.Tx) error) error { return c.db.Update(do) }

// find returns the record of key, or ErrNotExist.
func (c *catalogue) find(key string) (r record, err error) {
	err = c.view(func(tx *bolt.Tx) (err error) {
		r, err = findIn(tx, key)
		return err
	})
	return r, err
}

func findIn(tx *bolt.Tx, key string) (record, error) {
	v := namesIn(tx).Get([]byte(key))
	if v == nil {
		return record{}, backend.ErrNotExist
	}
	return unmarshal(v)
}

func (c *catalogue) facts() (p provenance, err error) {
	err = c.view(func(tx *bolt.Tx) error {
		if v := tx.Bucket([]byte(factsBucket)).Get([]byte("inventory")); v != nil {
			return json.Unmarshal(v, &p)
		}
		return nil
	})
	return p, err
}

func (c *catalogue) setFacts(change func(*provenance)) error {
	c.change.Lock()
	defer c.change.Unlock()
	p, err := c.facts()
	if err != nil {
		return err
	}
	change(&p)
	return c.update(func(tx *bolt.Tx) error { return putFacts(tx, p) })
}

func putFacts(tx *bolt.Tx, p provenance) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(factsBucket)).Put([]byte("inventory"), text)
}

// An entry is a line of a listing: a record, or a prefix that keys share.
type entry struct {
	key    string
	prefix bool
	rec    record
}

// page returns up to limit entries whose keys begin with prefix and are greater than after;
// delimited as backend.Store.List has it. more is false at the end.
func (c *catalogue) page(prefix, after string, delimited bool, limit int) (entries []entry, more bool, err error) {
	err = c.view(func(tx *bolt.Tx) error {
		cur := namesIn(tx).Cursor()
		k, v := cur.Seek([]byte(max(prefix, after)))
		for k != nil && bytes.HasPrefix(k, []byte(prefix)) {
			if len(entries) == limit {
				more = true
				return nil
			}
			if i := bytes.IndexByte(k[len(prefix):], '/'); delimited && i >= 0 {
				dir := string(k[:len(prefix)+i+1])
				if dir > after {
					entries = append(entries, entry{key: dir, prefix: true})
				}
				k, v = cur.Seek([]byte(dir[:len(dir)-1] + "0")) // "0" comes behind "/"
				continue
			}
			if key := string(k); key > after {
				r, err := unmarshal(v)
				if err != nil {
					return fmt.Errorf("%w: %q", err, key)
				}
				entries = append(entries, entry{key: key, rec: r})
			}
			k, v = cur.Next()
		}
		return nil
	})
	return entries, more, err
}

// empty reports whether the catalogue shows nothing but directories of its own.
func (c *catalogue) empty() (empty bool, err error) {
	empty = true
	err = c.view(func(tx *bolt.Tx) error {
		return namesIn(tx).ForEach(func(k, v []byte) error {
			r, err := unmarshal(v)
			if err == nil && !r.local() {
				empty = false
				return errStop
			}
			return err
		})
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return empty, err
}

var errStop = errors.New("enough")

// versions are the keys of the archives that the one named key hides, the oldest first.
func versions(tx *bolt.Tx, key string) []string {
	prefix := []byte(versionsDir + "/" + key + "/")
	cur := namesIn(tx).Cursor()
	var keys []string
	for k, _ := cur.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); {
		rest := string(k[len(prefix):])
		if dir, _, below := strings.Cut(rest, "/"); below { // versions of what lies below key
			k, _ = cur.Seek(append(bytes.Clone(prefix), dir+"0"...))
			continue
		}
		keys = append(keys, string(k))
		k, _ = cur.Next()
	}
	return keys
}
