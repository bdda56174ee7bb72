package backendtest

import (
	"iter"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func otherBugs() []bug {
	del := func(name, check string, do func(s Full, ctx bg, key string) error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badDelete{s, do} })}
	}
	batch := func(name, check string, do func(s Full, ctx bg, keys []string) map[string]error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badBatch{s, do} })}
	}
	restore := func(name, check string, do func(s Full, ctx bg, key string, o backend.RestoreOptions) error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badRestore{s, do} })}
	}
	return []bug{
		{"tells another key", "Put replaces", in(func(s Full) backend.Store {
			return badHead{s, func(s Full, ctx bg, key string) (obj, error) {
				o, err := s.Head(ctx, key)
				o.Key = "/" + o.Key
				return o, err
			}}
		})},
		{"takes a prefix for an object", "Get and Head of an absent key", in(func(s Full) backend.Store {
			return badHead{s, func(s Full, ctx bg, key string) (obj, error) {
				o, err := s.Head(ctx, key)
				for e := range s.List(ctx, key+"/", "", backend.ListOptions{}) {
					return e.Object, nil
				}
				return o, err
			}}
		})},
		del("fails for absent keys", "Delete of an absent key", func(s Full, ctx bg, key string) error {
			if _, err := s.Head(ctx, key); err != nil {
				return err
			}
			return s.Delete(ctx, key)
		}),
		del("does not delete", "Delete removes", func(Full, bg, string) error { return nil }),
		del("deletes what is below", "Delete removes", func(s Full, ctx bg, key string) error {
			for e := range s.List(ctx, key, "", backend.ListOptions{}) {
				_ = s.Delete(ctx, e.Key)
			}
			return nil
		}),
		batch("deletes the first thousand", "DeleteBatch deletes any number", func(s Full, ctx bg, keys []string) map[string]error {
			return s.DeleteBatch(ctx, keys[:min(1000, len(keys))])
		}),
		batch("names absent keys", "DeleteBatch deletes any number", func(s Full, ctx bg, keys []string) map[string]error {
			failed := map[string]error{}
			for _, key := range keys {
				if _, err := s.Head(ctx, key); err != nil {
					failed[key] = err
				}
			}
			return failed
		}),
		batch("hides errors", "DeleteBatch returns an error", func(s Full, ctx bg, keys []string) map[string]error {
			_ = s.DeleteBatch(ctx, keys)
			return nil
		}),
		batch("strips spaces", "DeleteBatch deletes keys of any shape", func(s Full, ctx bg, keys []string) map[string]error {
			for i := range keys {
				keys[i] = strings.TrimSpace(keys[i]) + "x"
			}
			return s.DeleteBatch(ctx, keys)
		}),
		restore("does not restore", "archived objects are ErrArchived", func(Full, bg, string, backend.RestoreOptions) error { return nil }),
		restore("accepts absent keys", "Restore of an absent key", func(Full, bg, string, backend.RestoreOptions) error { return nil }),
		restore("fails the second time", "archived objects are ErrArchived", func(s Full, ctx bg, key string, o backend.RestoreOptions) error {
			if head, _ := s.Head(ctx, key); head.State != backend.Archived {
				return fault(OpRestore, key, backend.ErrExist)
			}
			return s.Restore(ctx, key, o)
		}),
		{"lists buckets backwards", "Buckets yields", func(s backend.Service) backend.Service { return backwards{s} }},
		{"makes buckets twice", "CreateBucket fails with ErrExist", func(s backend.Service) backend.Service { return lax{s} }},
		{"allows all names", "CreateBucket fails with ErrInvalid", func(s backend.Service) backend.Service { return lax{s} }},
		{"deletes full buckets", "DeleteBucket of a bucket with objects", func(s backend.Service) backend.Service { return lax{s} }},
		{"opens absent buckets", "DeleteBucket and Open of an absent", func(s backend.Service) backend.Service { return lax{s} }},
	}
}

type backwards struct{ backend.Service }

func (s backwards) Buckets(ctx bg) iter.Seq2[backend.Bucket, error] {
	return func(yield func(backend.Bucket, error) bool) {
		var all []backend.Bucket
		for b := range s.Service.Buckets(ctx) {
			all = append(all, b)
		}
		for _, b := range slices.Backward(all) {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// lax is a service that finds everything all right.
type lax struct{ backend.Service }

func (s lax) CreateBucket(ctx bg, name string) error {
	_ = s.Service.CreateBucket(ctx, name)
	return nil
}

func (s lax) DeleteBucket(ctx bg, name string) error {
	_ = s.Service.DeleteBucket(ctx, name)
	return nil
}
