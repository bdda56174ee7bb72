package glacier

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/thawfs/thawfs/backend"
)

// An inventoried archive is one of an inventory in JSON (developer guide, "Vault Inventory").
type inventoried struct {
	ArchiveId          string //nolint:revive // the wire's words
	ArchiveDescription string
	CreationDate       time.Time
	Size               int64
	SHA256TreeHash     string
}

// errOlder says that the catalogue is from a newer inventory.
var errOlder = fmt.Errorf("%w: the catalogue comes from a newer inventory", backend.ErrInvalid)

const (
	loadChunk = 2000   // archives looked up in one transaction
	putChunk  = 20_000 // names written in one
)

// load makes the catalogue of an inventory in JSON, together with what was uploaded and
// deleted here and the inventory does not know yet. Names are changed as a whole in the end;
// after an error they are as before. An inventory older than the one that is shown is
// errOlder.
func (c *catalogue) load(inventory io.Reader, now time.Time, log *slog.Logger) (provenance, error) {
	c.change.Lock()
	defer c.change.Unlock()
	was, err := c.facts()
	if err != nil {
		return provenance{}, err
	}
	l := &loading{c: c, gen: now.UnixNano(), log: log, sort: newSorter(filepath.Dir(c.path))}
	defer func() { _ = l.sort.Close() }() // temporary files, only read
	if err := l.read(inventory); err != nil {
		return provenance{}, err
	}
	if l.facts.Inventory.Before(was.Inventory) {
		return provenance{}, fmt.Errorf("%w, of %s", errOlder, was.Inventory.UTC().Format(time.RFC3339))
	}
	l.facts.Loaded, l.facts.Asked, l.facts.Wanted, l.facts.Job = now, was.Asked, was.Wanted, was.Job
	if err := errors.Join(l.addOwn(), l.forgetGone()); err != nil {
		return provenance{}, err
	}
	return l.facts, l.write()
}

// A loading is one inventory being taken over.
type loading struct {
	c     *catalogue
	gen   int64 // of this load
	log   *slog.Logger
	sort  *sorter
	chunk []inventoried
	facts provenance
	seen  bool // ArchiveList was there
}

// read takes an inventory apart as it comes: it may be larger than the memory.
func (l *loading) read(r io.Reader) error {
	d := json.NewDecoder(r)
	err := eachField(d, func(field string) error {
		switch field {
		case "VaultARN":
			return d.Decode(&l.facts.Vault)
		case "InventoryDate":
			return d.Decode(&l.facts.Inventory)
		case "ArchiveList":
			l.seen = true
			return l.list(d)
		}
		var skip json.RawMessage
		return d.Decode(&skip)
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: this is no inventory in JSON: %w", backend.ErrInvalid, err)
	case !l.seen || l.facts.Inventory.IsZero():
		return fmt.Errorf("%w: this is no inventory in JSON: it lacks ArchiveList or InventoryDate", backend.ErrInvalid)
	}
	return l.flush()
}

// eachField walks through an object; do decodes the value of each field.
func eachField(d *json.Decoder, do func(field string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("it does not begin with { but %v, %w", t, err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		field, _ := t.(string)
		if err := do(field); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func (l *loading) list(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("ArchiveList is no list, %w", err)
	}
	for d.More() {
		var a inventoried
		if err := d.Decode(&a); err != nil {
			return err
		}
		if a.ArchiveId == "" {
			return errors.New("an archive has no ArchiveId")
		}
		l.chunk = append(l.chunk, a)
		if len(l.chunk) == loadChunk {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	_, err := d.Token()
	return err
}

// flush hands the archives read so far to the sorter, but those that were deleted here.
func (l *loading) flush() error {
	changed := map[string]any{} // rows of own and gone that have been seen
	err := l.c.view(func(tx *bolt.Tx) error {
		for _, a := range l.chunk {
			l.facts.Archives++
			l.facts.Bytes += a.Size
			if v := tx.Bucket([]byte(goneBucket)).Get([]byte(a.ArchiveId)); v != nil {
				var t tombstone
				if err := json.Unmarshal(v, &t); err != nil {
					return err
				}
				t.Seen = l.gen
				changed[a.ArchiveId] = t
				continue
			}
			if v := tx.Bucket([]byte(ownBucket)).Get([]byte(a.ArchiveId)); v != nil {
				var o own
				if err := json.Unmarshal(v, &o); err != nil {
					return err
				}
				o.Seen = l.gen
				changed[a.ArchiveId] = o
				if err := l.addOwned(o); err != nil {
					return err
				}
				continue
			}
			if err := l.add(a); err != nil {
				return err
			}
		}
		return nil
	})
	l.chunk = l.chunk[:0]
	if err != nil || len(changed) == 0 {
		return err
	}
	return l.c.update(func(tx *bolt.Tx) error {
		for id, row := range changed {
			name := goneBucket
			if _, ours := row.(own); ours {
				name = ownBucket
			}
			text, err := json.Marshal(row)
			if err == nil {
				err = tx.Bucket([]byte(name)).Put([]byte(id), text)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// add hands an archive of the inventory to the sorter.
func (l *loading) add(a inventoried) error {
	n := decode(a.ArchiveDescription)
	key := keyOf(n, a.ArchiveId)
	if strings.HasPrefix(key, unnamedDir+"/") {
		l.facts.Unnamed++
	}
	r := record{
		id: a.ArchiveId, size: a.Size, created: a.CreationDate.UTC(), mtime: n.mtime, encoding: n.encoding,
		hollow: a.Size == 1 && (n.empty || n.dir),
	}
	r.hash, r.hashed = parseSum(a.SHA256TreeHash)
	if r.hollow {
		r.size = 0
	}
	if n.dir && r.size > 0 { // data under the name of a directory
		key = unnamedDir + "/" + a.ArchiveId
	}
	return l.sort.add(pair{sortKey(key, r), r.marshal()})
}

// sortKey orders by name, and within one the newest first.
func sortKey(key string, r record) []byte {
	b := append([]byte(key), 0)
	b = binary.BigEndian.AppendUint64(b, ^uint64(r.created.UnixMilli()))
	return append(b, r.id...)
}

func (l *loading) addOwned(o own) error {
	r, err := unmarshal(o.Rec)
	if err != nil {
		return err
	}
	return l.sort.add(pair{sortKey(o.Key, r), o.Rec})
}

// addOwn adds what was uploaded here and is not in the inventory, unless it should be by now.
func (l *loading) addOwn() error {
	var lost [][]byte
	err := l.c.view(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(ownBucket)).ForEach(func(id, v []byte) error {
			var o own
			if err := json.Unmarshal(v, &o); err != nil {
				return err
			}
			switch {
			case o.Seen == l.gen:
				return nil
			case id[0] != 0 && o.At.Add(late).Before(l.facts.Inventory):
				l.log.Warn("an inventory lacks an archive that was uploaded here: somebody else deleted it",
					slog.String("key", o.Key), slog.String("id", string(id)))
				lost = append(lost, bytes.Clone(id))
				return nil
			}
			return l.addOwned(o)
		})
	})
	if err != nil || len(lost) == 0 {
		return err
	}
	return l.c.update(func(tx *bolt.Tx) error {
		for _, id := range lost {
			if err := tx.Bucket([]byte(ownBucket)).Delete(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetGone drops tombstones that no inventory needs any more.
func (l *loading) forgetGone() error {
	return l.c.update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(goneBucket))
		var over [][]byte
		err := b.ForEach(func(id, v []byte) error {
			var t tombstone
			err := json.Unmarshal(v, &t)
			if err == nil && t.Sent && t.Seen != l.gen && t.At.Add(late).Before(l.facts.Inventory) {
				over = append(over, bytes.Clone(id))
			}
			return err
		})
		for _, id := range over {
			err = errors.Join(err, b.Delete(id))
		}
		return err
	})
}

// write makes the new names and puts them in the place of the old ones.
func (l *loading) write() error {
	bucket := fmt.Appendf(nil, "%s-%d", namesBucket, l.gen)
	w := &nameWriter{c: l.c, bucket: bucket}
	var last []byte
	err := l.sort.sorted(func(p pair) error {
		key, _, _ := bytes.Cut(p.key, []byte{0})
		if !bytes.Equal(key, last) {
			last = key
			return w.put(key, p.value)
		}
		r, err := unmarshal(p.value)
		if err != nil {
			return err
		}
		if r.local() { // a directory that has a marker in the vault by now
			return nil
		}
		return w.put([]byte(versionKey(string(key), r.created, r.id)), p.value)
	})
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return errors.Join(err, l.c.update(dropOldNames))
	}
	return l.c.update(func(tx *bolt.Tx) error {
		if err := tx.Bucket([]byte(factsBucket)).Put([]byte(namesBucket), bucket); err != nil {
			return err
		}
		return errors.Join(putFacts(tx, l.facts), dropOldNames(tx))
	})
}

// A nameWriter writes many names in few transactions.
type nameWriter struct {
	c      *catalogue
	bucket []byte
	batch  []pair
}

func (w *nameWriter) put(key, value []byte) error {
	w.batch = append(w.batch, pair{key, value})
	if len(w.batch) < putChunk {
		return nil
	}
	return w.flush()
}

func (w *nameWriter) flush() error {
	err := w.c.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(w.bucket)
		if err != nil {
			return err
		}
		b.FillPercent = 0.95 // nearly all arrive in order
		for _, p := range w.batch {
			if err := b.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
	w.batch = w.batch[:0]
	return err
}
