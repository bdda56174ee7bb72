package backendtest

import (
	"bytes"
	"io"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

func getBugs() []bug {
	get := func(name, check string, do func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badGet{s, do} })}
	}
	const ranges = "Get returns exactly the range"
	return []bug{
		get("ignores the ETag", "Get fails with ErrChanged", func(s Full, ctx bg, key, _ string, off, n int64) (io.ReadCloser, error) {
			return s.Get(ctx, key, "", off, n)
		}),
		get("ignores the length", ranges, func(s Full, ctx bg, key, etag string, off, _ int64) (io.ReadCloser, error) {
			return s.Get(ctx, key, etag, off, -1)
		}),
		get("ignores the offset", ranges, func(s Full, ctx bg, key, etag string, _, n int64) (io.ReadCloser, error) {
			return s.Get(ctx, key, etag, 0, n)
		}),
		get("takes length 0 for all", ranges, func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			if n == 0 {
				n = -1
			}
			return s.Get(ctx, key, etag, off, n)
		}),
		get("fails for a range past the end", ranges, func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			if o, err := s.Head(ctx, key); err == nil && off >= o.Size {
				return nil, fault(OpGet, key, backend.ErrInvalid)
			}
			return s.Get(ctx, key, etag, off, n)
		}),
		get("ends the body short", "Get serves many readers", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			r, err := s.Get(ctx, key, etag, off, n)
			return struct {
				io.Reader
				io.Closer
			}{io.LimitReader(r, 200_000), r}, err
		}),
		get("mixes two versions", "Get beside a replacement", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			return &twoStep{s: s, ctx: ctx, key: key}, nil
		}),
		get("says ErrNotExist in bare words", "Get and Head of an absent key", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			r, err := s.Get(ctx, key, etag, off, n)
			if err != nil {
				err = backend.ErrNotExist
			}
			return r, err
		}),
		get("ends early when cancelled", "Get cancelled on the way", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			r, err := s.Get(ctx, key, etag, off, n)
			return mute{r}, err
		}),
		get("opens archived objects", "archived objects are ErrArchived", func(s Full, ctx bg, key, etag string, off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("frozen")), nil
		}),
	}
}

// A twoStep reads an object in two requests without an ETag, between which it is replaced.
type twoStep struct {
	s     Full
	ctx   bg
	key   string
	off   int64
	after bool
}

func (r *twoStep) Read(p []byte) (int, error) {
	n := int64(20_000)
	if r.after {
		n = -1
	} else {
		defer r.s.Put(r.ctx, r.key, body(bytes.Repeat([]byte("f"), 85_000)), opts{})
	}
	content, err := r.s.Get(r.ctx, r.key, "", r.off, n)
	if err != nil {
		return 0, err
	}
	defer content.Close()
	got, err := content.Read(p)
	r.off, r.after = r.off+int64(got), true
	return got, err
}

func (r *twoStep) Close() error { return nil }

// mute takes every error for the end.
type mute struct{ io.ReadCloser }

func (m mute) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
