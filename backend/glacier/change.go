package glacier

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/thawfs/thawfs/backend"
)

// own is an archive that was uploaded here. It outlives inventories: they do not know its
// attributes, and not yet itself.
type own struct {
	Key  string    `json:"key"`
	Rec  []byte    `json:"rec"`
	At   time.Time `json:"at"`             // of the upload
	Seen int64     `json:"seen,omitempty"` // the last load that had it
}

// tombstone is an archive that was deleted here, which inventories still show for a while.
type tombstone struct {
	At   time.Time `json:"at"`
	Sent bool      `json:"sent,omitempty"` // the service has confirmed it
	Seen int64     `json:"seen,omitempty"` // the last load that had the archive
}

// late is how much younger than an upload an inventory must be to prove by its silence that
// the archive is gone (glacier-cli learnt that a day is not enough).
const late = 72 * time.Hour

// put shows r as key. What was there is buried: its delete is due. The caller has checked
// conditions under c.change, which is held.
func (c *catalogue) putLocked(key string, r record, now time.Time) (replaced record, err error) {
	err = c.update(func(tx *bolt.Tx) error {
		old, err := findIn(tx, key)
		switch {
		case err == nil && !old.local():
			replaced = old
			if err := bury(tx, old.id, now); err != nil {
				return err
			}
		case err != nil && !errors.Is(err, backend.ErrNotExist):
			return err
		}
		text, err := json.Marshal(own{Key: key, Rec: r.marshal(), At: now})
		if err == nil {
			err = tx.Bucket([]byte(ownBucket)).Put(ownID(key, r.id), text)
		}
		if err != nil {
			return err
		}
		return namesIn(tx).Put([]byte(key), r.marshal())
	})
	return replaced, err
}

// ownID is the row of bucket own for an archive, or for a directory that is only here.
func ownID(key, id string) []byte {
	if id == "" {
		return []byte("\x00" + key)
	}
	return []byte(id)
}

// bury notes that an archive is to be deleted, and forgets that it was ours.
func bury(tx *bolt.Tx, id string, now time.Time) error {
	text, err := json.Marshal(tombstone{At: now})
	if err == nil {
		err = tx.Bucket([]byte(goneBucket)).Put([]byte(id), text)
	}
	if err == nil {
		err = tx.Bucket([]byte(ownBucket)).Delete([]byte(id))
	}
	if err == nil {
		err = tx.Bucket([]byte(fetchBucket)).Delete([]byte(id))
	}
	return err
}

// remove takes key, which shows id, out of the catalogue; the newest of the archives that it
// hid takes its place. The delete of the archive is due from then on.
func (c *catalogue) removeLocked(key, id string, now time.Time) error {
	return c.update(func(tx *bolt.Tx) error {
		names := namesIn(tx)
		if err := names.Delete([]byte(key)); err != nil {
			return err
		}
		var err error
		if id != "" {
			err = bury(tx, id, now)
		} else {
			err = tx.Bucket([]byte(ownBucket)).Delete(ownID(key, id))
		}
		if err != nil {
			return err
		}
		if isVersion(key) {
			return nil
		}
		hidden := versions(tx, key)
		if len(hidden) == 0 {
			return nil
		}
		newest := []byte(hidden[len(hidden)-1])
		if err := names.Put([]byte(key), bytes.Clone(names.Get(newest))); err != nil {
			return err
		}
		return names.Delete(newest)
	})
}

// confirm notes that the service has deleted an archive.
func (c *catalogue) confirm(id string) error {
	return c.update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(goneBucket))
		v := b.Get([]byte(id))
		if v == nil {
			return nil
		}
		var t tombstone
		if err := json.Unmarshal(v, &t); err != nil {
			return err
		}
		t.Sent = true
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		return b.Put([]byte(id), text)
	})
}

// unsent are the archives whose delete the service has not confirmed.
func (c *catalogue) unsent() (ids []string, err error) {
	err = c.view(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(goneBucket)).ForEach(func(k, v []byte) error {
			var t tombstone
			err := json.Unmarshal(v, &t)
			if err == nil && !t.Sent {
				ids = append(ids, string(k))
			}
			return err
		})
	})
	return ids, err
}
