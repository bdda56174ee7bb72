package glacier

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/thawfs/thawfs/backend"
)

// Head implements backend.Store: the catalogue knows the object, the list of jobs its state.
func (s *Store) Head(ctx context.Context, key string) (backend.Object, error) {
	r, err := s.record(ctx, key)
	if err == nil && r.size > 0 {
		err = s.lookAtJobs(ctx, s.svc.o.Look)
	}
	if err != nil {
		return backend.Object{}, s.fail(ctx, "head", key, err)
	}
	return s.show(key, r), nil
}

// record finds a key in the catalogue.
func (s *Store) record(ctx context.Context, key string) (record, error) {
	if !backend.ValidKey(key) {
		return record{}, fmt.Errorf("%w: key %q", backend.ErrInvalid, key)
	}
	if err := ctx.Err(); err != nil {
		return record{}, err
	}
	return s.cat.find(key)
}

// pageSize is how many names are read from the catalogue at once.
const pageSize = 1000

// List implements backend.Store. Where the service does not tell of its jobs, states are as it
// told last: names are here, and shall be shown.
func (s *Store) List(ctx context.Context, prefix, after string, opts backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		after, more := after, true
		for first := true; more; first = false {
			page, err := []entry(nil), ctx.Err()
			if err == nil {
				page, more, err = s.cat.page(prefix, after, opts.Delimited, pageSize)
			}
			if err == nil && first {
				err = s.alive(ctx, len(page) == 0)
			}
			if err != nil {
				yield(backend.Entry{}, s.fail(ctx, "list", prefix, err))
				return
			}
			for _, e := range page {
				after = e.key
				out := backend.Entry{Object: backend.Object{Key: e.key}, Prefix: true}
				if !e.prefix {
					out = backend.Entry{Object: s.show(e.key, e.rec)}
				}
				if !yield(out, nil) {
					return
				}
			}
		}
	}
}

// alive looks at the jobs for a listing. A vault that was deleted does not list as an empty one.
func (s *Store) alive(ctx context.Context, nothing bool) error {
	err := s.lookAtJobs(ctx, s.svc.o.Look)
	if err == nil && nothing {
		_, err = s.svc.describe(ctx, s.vault)
	}
	if errors.Is(translate(ctx, err), backend.ErrNotExist) || ctx.Err() != nil {
		return err
	}
	return nil
}

// CheckKey implements backend.WriteOnce: it refuses keys that a description cannot hold, or
// that would be another key when an inventory brings them back.
func (s *Store) CheckKey(key string) error {
	if !backend.ValidKey(key) {
		return fmt.Errorf("%w: key %q", backend.ErrInvalid, key)
	}
	if len(key) > maxPath {
		return fmt.Errorf("%w: a description holds paths of up to %d bytes, this has %d", backend.ErrTooLong, maxPath, len(key))
	}
	if got := keyOf(name{path: key, dir: key[len(key)-1] == '/'}, idForChecks); got != key {
		return fmt.Errorf("%w: in a vault the name %q would become %q", backend.ErrInvalid, key, got)
	}
	return nil
}

const idForChecks = "00000000"
