package writeback

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/thawfs/thawfs/backend"
)

// A bucketStore is the Store of a bucket and what was learnt about it.
type bucketStore struct {
	raw           backend.Store
	plainPut      atomic.Bool // Put does not take conditions
	plainComplete atomic.Bool // neither does Complete
	plainCopy     atomic.Bool // nor Copy
}

// store returns the Store of bucket, opened at its first use.
func (q *Queue) store(ctx context.Context, bucket string) (*bucketStore, error) {
	q.mu.Lock()
	s := q.stores[bucket]
	q.mu.Unlock()
	if s != nil {
		return s, nil
	}
	raw, err := q.o.Open(ctx, bucket)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.stores[bucket]; s != nil {
		return s, nil
	}
	s = &bucketStore{raw: raw}
	q.stores[bucket] = s
	return s, nil
}

// storeReader reads obj from the store, for files whose base has moved from where their
// opener reads it.
func (q *Queue) storeReader(bucket string, obj backend.Object) readBase {
	return func(ctx context.Context, p []byte, off int64) (int, error) {
		n := min(int64(len(p)), obj.Size-off)
		if n <= 0 {
			return 0, nil
		}
		store, err := q.store(ctx, bucket)
		if err != nil {
			return 0, err
		}
		body, err := store.raw.Get(ctx, obj.Key, obj.ETag, off, n)
		if err != nil {
			return 0, err
		}
		got, err := io.ReadFull(body, p[:n])
		return got, errors.Join(err, body.Close())
	}
}

// fetch copies obj into a local file that has no name and is gone when it is closed.
func (q *Queue) fetch(ctx context.Context, store backend.Store, obj backend.Object) (*os.File, error) {
	file, err := os.CreateTemp(q.o.Dir, "fetch-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close() // unused
		return nil, err
	}
	body, err := store.Get(ctx, obj.Key, obj.ETag, 0, -1)
	if err != nil {
		_ = file.Close() // unused
		return nil, err
	}
	n, err := io.Copy(file, body)
	err = errors.Join(err, body.Close())
	if err == nil && n != obj.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		_ = file.Close() // incomplete
		return nil, err
	}
	return file, nil
}
