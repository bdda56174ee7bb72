package backendtest

import (
	"context"
	"io"
	"iter"

	"github.com/thawfs/thawfs/backend"
)

// Head implements backend.Store.
func (f *Faulty) Head(ctx context.Context, key string) (backend.Object, error) {
	return call(ctx, f, OpHead, key, func() (backend.Object, error) { return f.store.Head(ctx, key) })
}

// List implements backend.Store.
func (f *Faulty) List(ctx context.Context, prefix, after string, opts backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return stream(ctx, f, OpList, prefix, f.store.List(ctx, prefix, after, opts))
}

// Put implements backend.Store.
func (f *Faulty) Put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	return call(ctx, f, OpPut, key, func() (backend.Object, error) { return f.store.Put(ctx, key, body, opts) })
}

// Delete implements backend.Store.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return run(ctx, f, OpDelete, key, func() error { return f.store.Delete(ctx, key) })
}

// Copy implements backend.Copier. Faults match the key of the copy.
func (f *Faulty) Copy(ctx context.Context, from backend.Object, to string, opts backend.CopyOptions) (backend.Object, error) {
	return call(ctx, f, OpCopy, to, func() (backend.Object, error) { return f.store.Copy(ctx, from, to, opts) })
}

// PartLimits implements backend.PartUploader.
func (f *Faulty) PartLimits() backend.PartLimits { return f.store.PartLimits() }

// NewUpload implements backend.PartUploader.
func (f *Faulty) NewUpload(ctx context.Context, key string, opts backend.PutOptions) (backend.Upload, error) {
	return call(ctx, f, OpNewUpload, key, func() (backend.Upload, error) { return f.store.NewUpload(ctx, key, opts) })
}

// UploadPart implements backend.PartUploader.
func (f *Faulty) UploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc uint64) (backend.Part, error) {
	return call(ctx, f, OpUploadPart, up.Key, func() (backend.Part, error) { return f.store.UploadPart(ctx, up, number, body, crc) })
}

// CopyPart implements backend.PartCopier.
func (f *Faulty) CopyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	return call(ctx, f, OpCopyPart, up.Key, func() (backend.Part, error) { return f.store.CopyPart(ctx, up, number, from, off, n) })
}

// Complete implements backend.PartUploader.
func (f *Faulty) Complete(ctx context.Context, up backend.Upload, parts []backend.Part, opts backend.PutOptions) (backend.Object, error) {
	return call(ctx, f, OpComplete, up.Key, func() (backend.Object, error) { return f.store.Complete(ctx, up, parts, opts) })
}

// Abort implements backend.PartUploader.
func (f *Faulty) Abort(ctx context.Context, up backend.Upload) error {
	return run(ctx, f, OpAbort, up.Key, func() error { return f.store.Abort(ctx, up) })
}

// Uploads implements backend.PartUploader.
func (f *Faulty) Uploads(ctx context.Context, prefix string) iter.Seq2[backend.Upload, error] {
	return stream(ctx, f, OpUploads, prefix, f.store.Uploads(ctx, prefix))
}

// DeleteBatch implements backend.BatchDeleter. A fault is that of every key.
func (f *Faulty) DeleteBatch(ctx context.Context, keys []string) map[string]error {
	ft := f.begin(OpDeleteBatch, "")
	defer f.end(OpDeleteBatch)
	err := ft.wait(ctx)
	if err == nil {
		err = ft.err()
	}
	failed := map[string]error{}
	if err == nil || ft.Late {
		for key, err := range f.store.DeleteBatch(ctx, keys) {
			failed[key] = err
		}
	}
	if err != nil {
		for _, key := range keys {
			failed[key] = fault(OpDeleteBatch, key, err)
		}
	}
	return failed
}

// Restore implements backend.Restorer.
func (f *Faulty) Restore(ctx context.Context, key string, opts backend.RestoreOptions) error {
	return run(ctx, f, OpRestore, key, func() error { return f.store.Restore(ctx, key, opts) })
}
