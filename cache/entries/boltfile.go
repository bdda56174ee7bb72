package entries

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// memoryBucket is the bucket of all records; the number is that of their format.
const memoryBucket = "objects.1"

// errDamaged says that the file cannot be read.
var errDamaged = errors.New("file is damaged")

func openFile(path string) (db *bolt.DB, err error) {
	opts := &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType}
	err = guarded(func() error {
		if db, err = bolt.Open(path, 0o600, opts); err != nil {
			return err
		}
		return db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists([]byte(memoryBucket))
			return err
		})
	})
	if err != nil && db != nil {
		_ = db.Close() // the first error tells more
		db = nil
	}
	return db, err
}

// guarded turns what bbolt does on a damaged file, a panic or a fault in mapped memory, into
// errDamaged.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return do()
}

// write stores a batch, and nothing if all of it is there already.
func write(db *bolt.DB, batch map[string][]byte) error {
	errSame := errors.New("nothing new")
	err := db.Update(func(tx *bolt.Tx) error {
		b, changed := tx.Bucket([]byte(memoryBucket)), false
		for _, key := range slices.Sorted(maps.Keys(batch)) {
			if bytes.Equal(b.Get([]byte(key)), batch[key]) {
				continue
			}
			changed = true
			if err := b.Put([]byte(key), batch[key]); err != nil {
				return err
			}
		}
		if !changed {
			return errSame
		}
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	return err
}
