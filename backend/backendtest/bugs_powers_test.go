package backendtest

import (
	"errors"
	"fmt"
	"io"

	"github.com/thawfs/thawfs/backend"
)

func copyBugs() []bug {
	copy := func(name, check string, do func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badCopy{s, do} })}
	}
	return []bug{
		copy("ignores the version of the source", "Copy of another version", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			from.ETag = ""
			return s.Copy(ctx, from, to, o)
		}),
		copy("ignores new attributes", "Copy keeps the attributes", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			o.Attrs = nil
			return s.Copy(ctx, from, to, o)
		}),
		copy("drops attributes", "Copy keeps the attributes", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			if o.Attrs == nil {
				o.Attrs = &backend.Attrs{}
			}
			return s.Copy(ctx, from, to, o)
		}),
		copy("merges attributes", "Copy keeps the attributes", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			if o.Attrs != nil && o.Attrs.Header == nil {
				o.Attrs = &backend.Attrs{Meta: o.Attrs.Meta, Header: from.Header}
			}
			return s.Copy(ctx, from, to, o)
		}),
		copy("ignores conditions", "Copy honours IfAbsent", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			o.Cond = backend.Cond{}
			return s.Copy(ctx, from, to, o)
		}),
		copy("moves", "Copy makes an object", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			stored, err := s.Copy(ctx, from, to, o)
			_ = s.Delete(ctx, from.Key)
			return stored, err
		}),
		copy("cannot copy onto itself", "Copy onto itself", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			if from.Key == to {
				return from, nil
			}
			return s.Copy(ctx, from, to, o)
		}),
		copy("thaws", "archived objects are ErrArchived", func(s Full, ctx bg, from obj, to string, o backend.CopyOptions) (obj, error) {
			return s.Put(ctx, to, body(nil), opts{})
		}),
	}
}

func partBugs() []bug {
	newUpload := func(name, check string, do func(s Full, ctx bg, key string, o opts) (backend.Upload, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badNewUpload{s, do} })}
	}
	send := func(name, check string, do func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badUploadPart{s, do} })}
	}
	complete := func(name, check string, do func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badComplete{s, do} })}
	}
	copyPart := func(name, check string, do func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error)) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badCopyPart{s, do} })}
	}
	abort := func(name, check string, do func(s Full, ctx bg, up backend.Upload) error) bug {
		return bug{name, check, in(func(s Full) backend.Store { return badAbort{s, do} })}
	}
	return []bug{
		newUpload("forgets attributes", "the object has the attributes", func(s Full, ctx bg, key string, o opts) (backend.Upload, error) {
			return s.NewUpload(ctx, key, opts{})
		}),
		newUpload("deletes the old object", "until Complete", func(s Full, ctx bg, key string, o opts) (backend.Upload, error) {
			_ = s.Delete(ctx, key)
			return s.NewUpload(ctx, key, o)
		}),
		send("ignores the checksum", "UploadPart verifies", func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, _ uint64) (backend.Part, error) {
			b, _ := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			return s.UploadPart(ctx, up, n, r, *crc(string(b)))
		}),
		send("keeps the first of two", "a part may be sent again", func() func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
			sent := map[string]backend.Part{}
			return func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
				id := fmt.Sprint(up.ID, n)
				if p, ok := sent[id]; ok {
					return p, nil
				}
				p, err := s.UploadPart(ctx, up, n, r, crc)
				sent[id] = p
				return p, err
			}
		}()),
		send("shows parts at once", "until Complete", func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
			_, _ = s.Put(ctx, up.Key, r, opts{})
			return s.UploadPart(ctx, up, n, r, crc)
		}),
		send("makes up unknown uploads", "Abort discards", func(s Full, ctx bg, up backend.Upload, n int, r *io.SectionReader, crc uint64) (backend.Part, error) {
			p, err := s.UploadPart(ctx, up, n, r, crc)
			if errors.Is(err, backend.ErrNotExist) {
				err = nil
			}
			return p, err
		}),
		complete("takes parts in the order they came", "parts may arrive in any order", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			return s.Complete(ctx, up, ps[:1], opts{})
		}),
		complete("ignores conditions", "Complete honours IfMatch", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			o.Cond = backend.Cond{}
			return s.Complete(ctx, up, ps, o)
		}),
		complete("ignores the checksum", "Complete verifies", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			o.CRC64NVME = nil
			return s.Complete(ctx, up, ps, o)
		}),
		complete("skips parts it does not have", "Complete of parts that were not sent", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			return s.Complete(ctx, up, ps[:min(1, len(ps))], o)
		}),
		complete("succeeds twice", "a finished upload", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			stored, err := s.Complete(ctx, up, ps, o)
			if errors.Is(err, backend.ErrNotExist) {
				return s.Head(ctx, up.Key)
			}
			return stored, err
		}),
		complete("looks at other fields", "the object has the attributes", func(s Full, ctx bg, up backend.Upload, ps []backend.Part, o opts) (obj, error) {
			stored, err := s.Complete(ctx, up, ps, o)
			if err != nil || o.Meta == nil {
				return stored, err
			}
			return s.Copy(ctx, stored, up.Key, backend.CopyOptions{Attrs: &o.Attrs})
		}),
		abort("does not abort", "Abort discards", func(s Full, ctx bg, up backend.Upload) error { return nil }),
		abort("fails for unknown uploads", "an unknown upload", func(s Full, ctx bg, up backend.Upload) error {
			for u := range s.Uploads(ctx, up.Key) {
				if u == up {
					return s.Abort(ctx, up)
				}
			}
			return fault(OpAbort, up.Key, backend.ErrNotExist)
		}),
		copyPart("ignores the version of the source", "CopyPart of another version", func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error) {
			from.ETag = ""
			return s.CopyPart(ctx, up, n, from, off, size)
		}),
		copyPart("ignores the offset", "CopyPart takes a range", func(s Full, ctx bg, up backend.Upload, n int, from obj, off, size int64) (backend.Part, error) {
			return s.CopyPart(ctx, up, n, from, 0, size)
		}),
	}
}
