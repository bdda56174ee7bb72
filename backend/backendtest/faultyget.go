package backendtest

import (
	"context"
	"io"
	"sync/atomic"
)

// Get implements backend.Store.
func (f *Faulty) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	ft := f.begin(OpGet, key)
	r, err := f.get(ctx, ft, key, etag, off, n)
	if err != nil {
		f.end(OpGet)
		return nil, err
	}
	b := &faultyBody{f: f, body: r, left: -1}
	if err := ft.err(); err != nil {
		b.left, b.err = max(ft.Cut, 0), fault(OpGet, key, err)
	}
	return b, nil
}

// get asks the store, unless ft fails the call before there is a body.
func (f *Faulty) get(ctx context.Context, ft *Fault, key, etag string, off, n int64) (io.ReadCloser, error) {
	if err := ft.wait(ctx); err != nil {
		return nil, fault(OpGet, key, err)
	}
	if err := ft.err(); err != nil && ft.Cut == 0 {
		return nil, fault(OpGet, key, err)
	}
	return f.store.Get(ctx, key, etag, off, n)
}

// A faultyBody counts bytes and breaks when left, unless negative, has come down to zero.
type faultyBody struct {
	f      *Faulty
	body   io.ReadCloser
	left   int64
	err    error
	closed atomic.Bool
}

func (b *faultyBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.f.bytes.Add(int64(n))
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}

func (b *faultyBody) Close() error {
	if !b.closed.Swap(true) {
		b.f.end(OpGet)
	}
	return b.body.Close()
}
