package glacier

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
)

const (
	fetchLeaves = 16 // of a range: a node of the tree, whose hash the service tells
	fetchWide   = 4  // ranges at once
)

// Fetch implements backend.Fetcher: it brings all of an archive whose job has succeeded into a
// file, in parallel ranges, and checks each of them and the whole. What it has is noted in
// the catalogue, with its hashes: another Fetch into the same file, also of another process,
// compares the file with them and goes on with what is missing. got, if not nil, is told how
// many bytes have come, of those that were there too.
func (s *Store) Fetch(ctx context.Context, obj backend.Object, to *os.File, got func(n int64)) error {
	r, err := s.record(ctx, obj.Key)
	if err == nil && obj.ETag != r.object(obj.Key).ETag {
		err = backend.ErrChanged
	}
	if err == nil && r.size > 0 {
		if got == nil {
			got = func(int64) {}
		}
		err = s.fetch(ctx, r, to, got)
	}
	return s.fail(ctx, "fetch", obj.Key, err)
}

func (s *Store) fetch(ctx context.Context, r record, to *os.File, got func(int64)) error {
	j, err := s.output(ctx, r)
	if err != nil {
		return err
	}
	f := &fetching{s: s, r: r, job: j, to: to, got: got, nodes: make([]sum, (leafCount(r.size)+fetchLeaves-1)/fetchLeaves)}
	known, err := s.fetched(r.id)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchWide)
	for i := range f.nodes {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f.bring(ctx, i, known) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil && len(f.nodes) == 0 {
		return err
	}
	if err := f.check(); err != nil {
		_ = s.forgetFetched(r.id) // begin from nothing: which range is wrong is not known
		return err
	}
	if err := to.Truncate(r.size); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return s.forgetFetched(r.id)
}

// A fetching is one archive on its way into a file.
type fetching struct {
	s   *Store
	r   record
	job Job
	to  *os.File

	mu    sync.Mutex // for got
	got   func(int64)
	nodes []sum // of the ranges, each written by one goroutine
}

// bring makes sure that the file has range i.
func (f *fetching) bring(ctx context.Context, i int, known map[uint32]sum) error {
	from := int64(i) * fetchLeaves
	to := min(from+fetchLeaves, leafCount(f.r.size))
	n := min(to*mib, f.r.size) - from*mib
	defer f.tell(n)
	if want, ok := known[uint32(i)]; ok {
		buf := make([]byte, n)
		if _, err := f.to.ReadAt(buf, from*mib); err == nil && treeHash(buf) == want {
			f.nodes[i] = want
			return nil
		}
	}
	buf, err := f.s.node(ctx, f.job, f.r, from, to)
	if err != nil {
		return err
	}
	if _, err := f.to.WriteAt(buf, from*mib); err != nil {
		return err
	}
	f.nodes[i] = treeHash(buf)
	return f.s.cat.update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(fetchBucket)).Put(fetchKey(f.r.id, uint32(i)), f.nodes[i][:])
	})
}

func (f *fetching) tell(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got(n)
}

// check holds the whole against the hash that the inventory or the upload gave the archive,
// and the one that the job tells.
func (f *fetching) check() error {
	got := rootOf(f.nodes) // ranges are nodes of one level, so they can stand for leaves
	told, ok := parseSum(value(f.job.hash))
	for _, want := range []struct {
		sum   sum
		known bool
	}{{f.r.hash, f.r.hashed}, {told, ok}} {
		if want.known && want.sum != got {
			return fmt.Errorf("%w: %w", backend.ErrCorrupt, mismatch("the whole archive", got, want.sum))
		}
	}
	return nil
}

func fetchKey(id string, i uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(id), 0), i)
}

// fetched are the ranges that an earlier Fetch has brought.
func (s *Store) fetched(id string) (map[uint32]sum, error) {
	known := map[uint32]sum{}
	prefix := append([]byte(id), 0)
	err := s.cat.view(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(fetchBucket)).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if len(k) == len(prefix)+4 && len(v) == len(sum{}) {
				known[binary.BigEndian.Uint32(k[len(prefix):])] = sum(v)
			}
		}
		return nil
	})
	return known, err
}

func (s *Store) forgetFetched(id string) error {
	prefix := append([]byte(id), 0)
	return s.cat.update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(fetchBucket))
		c := b.Cursor()
		for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Seek(prefix) {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// Holds reports whether a file has exactly the bytes of the archive that key shows, by the hash
// in the catalogue: whether it need not be fetched.
func (s *Store) Holds(ctx context.Context, key string, file *os.File) (bool, error) {
	r, err := s.record(ctx, key)
	if err != nil {
		return false, s.fail(ctx, "compare", key, err)
	}
	info, err := file.Stat()
	if err != nil || info.Size() != r.size || r.size > 0 && !r.hashed {
		return false, err
	}
	leaves, err := leavesOf(stopReader{ctx, io.NewSectionReader(file, 0, r.size)}, func([]byte) {})
	return err == nil && (r.size == 0 || rootOf(leaves) == r.hash), err
}
