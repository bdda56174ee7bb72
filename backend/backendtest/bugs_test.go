package backendtest

import (
	"context"
	"io"
	"iter"
	"slices"

	"github.com/thawfs/thawfs/backend"
)

// A bug is a way of being wrong, and the check that must notice.
type bug struct {
	name, check string
	service     func(backend.Service) backend.Service
}

// in makes a bug of the service from one of its stores.
func in(wrap func(Full) backend.Store) func(backend.Service) backend.Service {
	return func(s backend.Service) backend.Service { return brokenService{s, wrap} }
}

type (
	bg   = context.Context
	obj  = backend.Object
	opts = backend.PutOptions
	seq  = iter.Seq2[backend.Entry, error]
)

// Each of these is a store with one method replaced; the functions call the good one.
type (
	badHead struct {
		Full
		do func(s Full, ctx bg, key string) (obj, error)
	}
	badGet struct {
		Full
		do func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error)
	}
	badPut struct {
		Full
		do func(s Full, ctx bg, key string, r *io.SectionReader, o opts) (obj, error)
	}
	badDelete struct {
		Full
		do func(s Full, ctx bg, key string) error
	}
	badList struct {
		Full
		do func(s Full, ctx bg, prefix, after string, o backend.ListOptions) seq
	}
	badCopy struct {
		Full
		do func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error)
	}
	badNewUpload struct {
		Full
		do func(s Full, ctx bg, key string, o opts) (backend.Upload, error)
	}
	badUploadPart struct {
		Full
		do func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error)
	}
	badComplete struct {
		Full
		do func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error)
	}
	badAbort struct {
		Full
		do func(s Full, ctx bg, up backend.Upload) error
	}
	badCopyPart struct {
		Full
		do func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error)
	}
	badBatch struct {
		Full
		do func(s Full, ctx bg, keys []string) map[string]error
	}
	badRestore struct {
		Full
		do func(s Full, ctx bg, key string, o backend.RestoreOptions) error
	}
)

func (s badHead) Head(ctx bg, key string) (obj, error) { return s.do(s.Full, ctx, key) }
func (s badGet) Get(ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
	return s.do(s.Full, ctx, key, etag, off, n)
}

func (s badPut) Put(ctx bg, key string, r *io.SectionReader, o opts) (obj, error) {
	return s.do(s.Full, ctx, key, r, o)
}
func (s badDelete) Delete(ctx bg, key string) error { return s.do(s.Full, ctx, key) }
func (s badList) List(ctx bg, prefix, after string, o backend.ListOptions) seq {
	return s.do(s.Full, ctx, prefix, after, o)
}

func (s badCopy) Copy(ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
	return s.do(s.Full, ctx, from, to, o)
}

func (s badNewUpload) NewUpload(ctx bg, key string, o opts) (backend.Upload, error) {
	return s.do(s.Full, ctx, key, o)
}

func (s badUploadPart) UploadPart(ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
	return s.do(s.Full, ctx, up, n, r, crc)
}

func (s badComplete) Complete(ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
	return s.do(s.Full, ctx, up, ps, o)
}
func (s badAbort) Abort(ctx bg, up backend.Upload) error { return s.do(s.Full, ctx, up) }
func (s badCopyPart) CopyPart(ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error) {
	return s.do(s.Full, ctx, up, n, from, off, size)
}

func (s badBatch) DeleteBatch(ctx bg, keys []string) map[string]error {
	return s.do(s.Full, ctx, keys)
}

func (s badRestore) Restore(ctx bg, key string, o backend.RestoreOptions) error {
	return s.do(s.Full, ctx, key, o)
}

// bugs are real ones of real stores and clients, where one was known.
func bugs() []bug {
	return slices.Concat(getBugs(), putBugs(), listBugs(), keyBugs(), copyBugs(), partBugs(), otherBugs())
}
