package recall

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/thawfs/thawfs/backend"
)

// The buckets of the file; the number is that of the records' format. Jobs stand under
// BUCKET NUL KEY, budgets under their day.
const (
	jobsBucket = "jobs.1"
	daysBucket = "days.1"
)

var errDamaged = errors.New("the journal is damaged")

// A journal keeps jobs and budgets on disk. What is put becomes durable with the next
// commit, in one transaction: of whoever calls it, for all.
type journal struct {
	path string
	db   *bolt.DB

	wmu sync.Mutex // held while a transaction is written

	mu      sync.Mutex        // leaf
	pending map[string][]byte // guarded by mu; by bucket and key, nil is to be deleted
	puts    uint64            // guarded by mu; counts them
	written uint64            // guarded by wmu; puts that are durable
}

// openJournal opens the file at path or begins one. Without sync a commit survives the death
// of the process only. A file that cannot be read is put aside: what it remembered is not
// worth refusing to start for.
func openJournal(path string, sync bool, log *slog.Logger) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := openFile(path, sync)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("recall journal %s: another process has it open", path)
	}
	if damaged(err) {
		log.Warn("the journal of recalls is damaged and was put aside: who asked and what today has cost is forgotten",
			slog.String("path", path+".damaged"), slog.Any("err", err))
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, err
		}
		db, err = openFile(path, sync)
	}
	if err != nil {
		return nil, fmt.Errorf("recall journal %s: %w", path, err)
	}
	return &journal{path: path, db: db, pending: map[string][]byte{}}, nil
}

func damaged(err error) bool {
	for _, e := range []error{errDamaged, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch, bolterrors.ErrInvalidMapping} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openFile opens a file and reads all of it once, so that damage shows here.
func openFile(path string, sync bool) (db *bolt.DB, err error) {
	err = guarded(func() error {
		var err error
		o := &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoSync: !sync}
		if db, err = bolt.Open(path, 0o600, o); err != nil {
			return err
		}
		return db.Update(func(tx *bolt.Tx) error {
			for _, name := range []string{jobsBucket, daysBucket} {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				if err := b.ForEach(func(_, v []byte) error { return valid(v) }); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil && db != nil {
		_ = guarded(db.Close) // the first error tells more
	}
	return db, err
}

func valid(v []byte) error {
	if !json.Valid(v) {
		return errDamaged
	}
	return nil
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

// load hands out everything in the file.
func (j *journal) load(eachJob func(backend.Ref, record), eachDay func(string, spent)) error {
	return guarded(func() error {
		return j.db.View(func(tx *bolt.Tx) error {
			err := tx.Bucket([]byte(jobsBucket)).ForEach(func(k, v []byte) error {
				bucket, key, _ := strings.Cut(string(k), "\x00")
				var r record
				err := json.Unmarshal(v, &r)
				if err == nil {
					eachJob(backend.Ref{Bucket: bucket, Key: key}, r)
				}
				return err
			})
			if err != nil {
				return err
			}
			return tx.Bucket([]byte(daysBucket)).ForEach(func(k, v []byte) error {
				var s spent
				err := json.Unmarshal(v, &s)
				if err == nil {
					eachDay(string(k), s)
				}
				return err
			})
		})
	})
}

// putJob notes r as the record of ref. It does no I/O.
func (j *journal) putJob(ref backend.Ref, r record) { j.put(jobsBucket, ref.Bucket+"\x00"+ref.Key, r) }

func (j *journal) removeJob(ref backend.Ref) { j.put(jobsBucket, ref.Bucket+"\x00"+ref.Key, nil) }

func (j *journal) putDay(name string, s spent) { j.put(daysBucket, name, s) }

func (j *journal) removeDay(name string) { j.put(daysBucket, name, nil) }

func (j *journal) put(bucket, key string, v any) {
	var text []byte
	if v != nil {
		var err error
		if text, err = json.Marshal(v); err != nil {
			panic(fmt.Sprintf("recall: journal record %+v does not marshal: %v", v, err)) // plain data only
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending[bucket+"\x00"+key] = text
	j.puts++
}

// commit returns when everything that was put before it is durable. After an error it is
// still pending.
func (j *journal) commit() error {
	j.mu.Lock()
	upTo := j.puts
	j.mu.Unlock()
	j.wmu.Lock()
	defer j.wmu.Unlock()
	if j.written >= upTo {
		return nil // somebody else's transaction had it
	}
	j.mu.Lock()
	batch, upTo := j.pending, j.puts
	j.pending = map[string][]byte{}
	j.mu.Unlock()
	if err := guarded(func() error { return j.write(batch) }); err != nil {
		j.mu.Lock()
		for k, v := range batch {
			if _, newer := j.pending[k]; !newer {
				j.pending[k] = v
			}
		}
		j.mu.Unlock()
		return fmt.Errorf("write the recall journal: %w", err)
	}
	j.written = upTo
	return nil
}

func (j *journal) write(batch map[string][]byte) error {
	return j.db.Update(func(tx *bolt.Tx) error {
		for k, v := range batch {
			bucket, key, _ := strings.Cut(k, "\x00")
			b := tx.Bucket([]byte(bucket))
			err := b.Delete([]byte(key))
			if v != nil {
				err = b.Put([]byte(key), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Close makes everything durable.
func (j *journal) Close() error {
	return errors.Join(j.commit(), guarded(j.db.Close))
}
