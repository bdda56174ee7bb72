package backendtest

import (
	"context"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// deaf is a store that answers every question the same and does nothing.
type deaf struct{ Full }

var always = backend.Object{
	Key: "k", Size: 1, ETag: "e",
	Attrs: backend.Attrs{Meta: map[string]string{}, Header: map[string]string{}, Class: "STANDARD"},
}

func (deaf) Head(context.Context, string) (backend.Object, error) { return always, nil }

func (deaf) List(context.Context, string, string, backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) { yield(backend.Entry{Object: always}, nil) }
}

func (deaf) Get(context.Context, string, string, int64, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("!")), nil
}

func (deaf) Put(_ context.Context, key string, r *io.SectionReader, o backend.PutOptions) (backend.Object, error) {
	obj := always
	obj.Key, obj.Size, obj.Class = key, r.Size(), o.Class
	return obj, nil
}

func (deaf) Delete(context.Context, string) error { return nil }

func (deaf) Copy(context.Context, backend.Object, string, backend.CopyOptions) (backend.Object, error) {
	return always, nil
}

func (deaf) PartLimits() backend.PartLimits { return backend.PartLimits{} }

func (deaf) NewUpload(_ context.Context, key string, _ backend.PutOptions) (backend.Upload, error) {
	return backend.Upload{Key: key, ID: "id"}, nil
}

func (deaf) UploadPart(_ context.Context, _ backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
	return backend.Part{Number: n, Size: r.Size(), ETag: "e", CRC: crc}, nil
}

func (deaf) CopyPart(_ context.Context, _ backend.Upload, n int, _ backend.Object, _, size int64) (backend.Part, error) {
	return backend.Part{Number: n, Size: size, ETag: "e"}, nil
}

func (deaf) Complete(context.Context, backend.Upload, []backend.Part, backend.PutOptions) (backend.Object, error) {
	return always, nil
}

func (deaf) Abort(context.Context, backend.Upload) error { return nil }

func (deaf) Uploads(context.Context, string) iter.Seq2[backend.Upload, error] {
	return func(yield func(backend.Upload, error) bool) { yield(backend.Upload{Key: "x", ID: "y"}, nil) }
}

func (deaf) DeleteBatch(context.Context, []string) map[string]error { return nil }

func (deaf) Restore(context.Context, string, backend.RestoreOptions) error { return nil }

// deafOnce is deaf with the powers of a store that archives everything.
type deafOnce struct{ deaf }

func (deafOnce) CheckKey(string) error { return backend.ErrInvalid }

func (deafOnce) Fetch(context.Context, backend.Object, *os.File, func(int64)) error { return nil }

func (deafOnce) Facts(context.Context) (map[string]string, error) { return nil, nil }

func (deafOnce) SetFact(context.Context, string, string) error { return nil }

// deafService has a bucket of every name.
type deafService struct {
	backend.Service
	store backend.Store
}

func (deafService) CreateBucket(context.Context, string) error { return nil }
func (deafService) DeleteBucket(context.Context, string) error { return nil }

func (s deafService) Open(context.Context, string) (backend.Store, error) { return s.store, nil }
