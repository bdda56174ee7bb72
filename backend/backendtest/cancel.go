package backendtest

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func cancelChecks() []check {
	return []check{
		{name: "a cancelled context is the error of every method", run: cancelledBefore},
		{name: "Put cancelled on the way leaves the old object or the whole new one", run: cancelledPut},
		{name: "Put of a body that breaks leaves the old object", run: brokenBody},
		{name: "Get cancelled on the way does not end as if it were whole", run: cancelledGet},
	}
}

func cancelledBefore(b *bucket) {
	obj := b.put("k", "kept")
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.store.Head(ctx, "k")
	b.fails(err, "k", "Head with a cancelled context", context.Canceled)
	_, err = b.store.Put(ctx, "k", body([]byte("new")), backend.PutOptions{})
	b.fails(err, "k", "Put with a cancelled context", context.Canceled)
	b.fails(b.store.Delete(ctx, "k"), "k", "Delete with a cancelled context", context.Canceled)
	r, err := b.store.Get(ctx, "k", "", 0, -1)
	if err == nil {
		_, err = io.ReadAll(r)
		_ = r.Close() // read-only: nothing to lose
	}
	b.fails(err, "k", "Get with a cancelled context", context.Canceled)
	b.unchanged(obj, "kept")
}

// A tripwire is a body that calls trip when its second half is read.
type tripwire struct {
	io.ReaderAt
	half int64
	trip func() error
}

func (w *tripwire) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > w.half {
		if err := w.trip(); err != nil {
			return 0, err
		}
	}
	return w.ReaderAt.ReadAt(p, off)
}

func cancelledPut(b *bucket) {
	for _, size := range []int64{10, 3 << 20} {
		obj, content := b.put("k", "the old one"), pattern(3, size)
		ctx, cancel := context.WithCancel(b.ctx)
		w := &tripwire{ReaderAt: body(content), half: size / 2, trip: func() error { cancel(); return nil }}
		_, err := b.store.Put(ctx, "k", io.NewSectionReader(w, 0, size), backend.PutOptions{})
		cancel()
		got, getErr := b.get("k", "", 0, -1)
		switch {
		case getErr != nil:
			b.Fatalf("Get after a cancelled Put = %v, want success", getErr)
		case err == nil && got != string(content):
			b.Errorf("a Put of %d bytes succeeded though it was cancelled, and holds %s", size, brief(got))
		case err != nil && got == "the old one":
			b.unchanged(obj, "the old one")
		case err != nil && got != string(content):
			b.Errorf("after a cancelled Put of %d bytes the key holds %s", size, brief(got))
		}
		if err != nil {
			b.fails(err, "k", "Put cancelled on the way", context.Canceled)
		}
	}
}

func brokenBody(b *bucket) {
	for _, size := range []int64{10, 100_000} {
		obj := b.put("k", "the old one")
		broken := errors.New("the disk broke")
		w := &tripwire{ReaderAt: strings.NewReader(strings.Repeat("x", int(size))), half: size / 2, trip: func() error { return broken }}
		if _, err := b.store.Put(b.ctx, "k", io.NewSectionReader(w, 0, size), backend.PutOptions{}); err == nil {
			b.Errorf("Put of a body that cannot be read succeeded")
		}
		b.unchanged(obj, "the old one")

		short := io.NewSectionReader(strings.NewReader("short"), 0, size)
		if _, err := b.store.Put(b.ctx, "k", short, backend.PutOptions{}); err == nil {
			b.Errorf("Put of a body of 5 bytes as one of %d succeeded", size)
		}
		b.unchanged(obj, "the old one")
	}
}

func cancelledGet(b *bucket) {
	size := int64(8 << 20)
	b.put("k", string(pattern(4, size)))
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	r, err := b.store.Get(ctx, "k", "", 0, -1)
	if err != nil {
		b.Fatalf("Get = %v, want success", err)
	}
	defer r.Close() // read-only: nothing to lose
	n, err := io.CopyN(io.Discard, r, 10)
	if err != nil {
		b.Fatalf("read = %v, want success", err)
	}
	cancel()
	more, err := io.Copy(io.Discard, r)
	if n += more; err == nil && n != size {
		b.Errorf("the body of a cancelled Get ended after %d of %d bytes without an error", n, size)
	}
}
