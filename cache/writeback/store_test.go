package writeback

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// A shelf is a store in memory with every power, that counts its requests and fails as told.
// It lives outside of the process-like things that tests kill.
type shelf struct {
	mu      sync.Mutex
	objects map[string]held
	uploads map[string]*shelfUpload
	version int
	counts  map[string]int
	limits  backend.PartLimits
	// fail is asked before (done false) and after each request; an error in place of
	// the answer is a lost one.
	fail  func(op, key string, done bool) error
	delay time.Duration
	plain bool // refuses conditions
	// stubborn has a Put carried out though the client has left.
	stubborn bool
}

type held struct {
	backend.Object
	data []byte
}

type shelfUpload struct {
	backend.Upload
	attrs backend.Attrs
	parts map[int]held
}

func newShelf() *shelf {
	return &shelf{
		objects: map[string]held{}, uploads: map[string]*shelfUpload{}, counts: map[string]int{},
		limits: backend.PartLimits{MinSize: 16, MaxSize: 1 << 30, MaxParts: 1000, MaxObject: 1 << 40, MaxPut: 1 << 30},
	}
}

func (s *shelf) request(ctx context.Context, op, key string) error {
	s.mu.Lock()
	s.counts[op]++
	fail, delay := s.fail, s.delay
	s.mu.Unlock()
	if delay > 0 {
		if err := sleep(ctx, delay); err != nil {
			return s.err(op, key, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return s.err(op, key, err)
	}
	return s.told(fail, op, key, false)
}

func (s *shelf) told(fail func(string, string, bool) error, op, key string, done bool) error {
	if fail == nil {
		return nil
	}
	if err := fail(op, key, done); err != nil {
		return s.err(op, key, err)
	}
	return nil
}

func (s *shelf) answer(op, key string) error {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	return s.told(fail, op, key, true)
}

func (s *shelf) err(op, key string, err error) error {
	return &backend.Error{Store: "shelf", Op: op, Key: key, Err: err}
}

func (s *shelf) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[op]
}

func (s *shelf) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.counts {
		n += c
	}
	return n
}

func (s *shelf) setFail(f func(op, key string, done bool) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// setDelay makes each request take d.
func (s *shelf) setDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

func (s *shelf) content(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.objects[key]
	return string(h.data), ok
}

// all is a copy of the objects.
func (s *shelf) all() map[string]held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

// plant puts an object there as somebody else would.
func (s *shelf) plant(key, data string, meta map[string]string) backend.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.storeLocked(key, []byte(data), backend.Attrs{Meta: meta})
}

// drop deletes an object as somebody else would.
func (s *shelf) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

func (s *shelf) storeLocked(key string, data []byte, a backend.Attrs) backend.Object {
	s.version++
	o := backend.Object{Key: key, Size: int64(len(data)), ModTime: time.Now(), ETag: fmt.Sprintf("v%d", s.version), Attrs: cloneAttrs(a)}
	s.objects[key] = held{o, data}
	return o
}

func (s *shelf) condLocked(key string, c backend.Cond) error {
	if c == (backend.Cond{}) {
		return nil
	}
	if s.plain {
		return backend.ErrUnsupported
	}
	h, ok := s.objects[key]
	if c.IfAbsent && ok || c.IfMatch != "" && (!ok || h.ETag != c.IfMatch) {
		return backend.ErrChanged
	}
	return nil
}

func (s *shelf) Head(ctx context.Context, key string) (backend.Object, error) {
	if err := s.request(ctx, "head", key); err != nil {
		return backend.Object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.objects[key]
	if !ok {
		return backend.Object{}, s.err("head", key, backend.ErrNotExist)
	}
	return h.Object, nil
}

func (s *shelf) List(ctx context.Context, prefix, after string, _ backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		if err := s.request(ctx, "list", prefix); err != nil {
			yield(backend.Entry{}, err)
			return
		}
		s.mu.Lock()
		keys := slices.Sorted(maps.Keys(s.objects))
		s.mu.Unlock()
		for _, key := range keys {
			s.mu.Lock()
			h, ok := s.objects[key]
			s.mu.Unlock()
			if !ok || !strings.HasPrefix(key, prefix) || key <= after {
				continue
			}
			o := h.Object
			o.Meta, o.Header = nil, nil
			if !yield(backend.Entry{Object: o}, nil) {
				return
			}
		}
	}
}

func (s *shelf) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	if err := s.request(ctx, "get", key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.objects[key]
	switch {
	case !ok:
		return nil, s.err("get", key, backend.ErrNotExist)
	case etag != "" && etag != h.ETag:
		return nil, s.err("get", key, backend.ErrChanged)
	case !h.State.Readable():
		return nil, s.err("get", key, backend.ErrArchived)
	}
	data := h.data[min(off, int64(len(h.data))):]
	if n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (s *shelf) Put(ctx context.Context, key string, body *io.SectionReader, o backend.PutOptions) (backend.Object, error) {
	if err := s.request(ctx, "put", key); err != nil {
		if s.stubborn && ctx.Err() != nil {
			time.AfterFunc(20*time.Second, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.storeLocked(key, []byte("data"), o.Attrs)
			})
		}
		return backend.Object{}, err
	}
	data, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return backend.Object{}, s.err("put", key, err)
	}
	if o.CRC64NVME != nil && crc64nvme.Checksum(data) != *o.CRC64NVME || int64(len(data)) != body.Size() {
		return backend.Object{}, s.err("put", key, backend.ErrCorrupt)
	}
	s.mu.Lock()
	if err := s.condLocked(key, o.Cond); err != nil {
		s.mu.Unlock()
		return backend.Object{}, s.err("put", key, err)
	}
	obj := s.storeLocked(key, data, o.Attrs)
	s.mu.Unlock()
	return obj, s.answer("put", key)
}

func (s *shelf) Delete(ctx context.Context, key string) error {
	if err := s.request(ctx, "delete", key); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.objects, key)
	s.mu.Unlock()
	return s.answer("delete", key)
}

func (s *shelf) DeleteBatch(ctx context.Context, keys []string) map[string]error {
	errs := map[string]error{}
	err := s.request(ctx, "batch", keys[0])
	s.mu.Lock()
	for _, key := range keys {
		if err != nil {
			errs[key] = err
		} else {
			delete(s.objects, key)
		}
	}
	s.mu.Unlock()
	return errs
}

func (s *shelf) Copy(ctx context.Context, from backend.Object, to string, o backend.CopyOptions) (backend.Object, error) {
	if err := s.request(ctx, "copy", to); err != nil {
		return backend.Object{}, err
	}
	s.mu.Lock()
	h, ok := s.objects[from.Key]
	err := s.condLocked(to, o.Cond)
	switch {
	case !ok:
		err = backend.ErrNotExist
	case from.ETag != "" && h.ETag != from.ETag:
		err = backend.ErrChanged
	case !h.State.Readable():
		err = backend.ErrArchived
	}
	if err != nil {
		s.mu.Unlock()
		return backend.Object{}, s.err("copy", to, err)
	}
	a := h.Attrs
	if o.Attrs != nil {
		a = *o.Attrs
	}
	obj := s.storeLocked(to, h.data, a)
	s.mu.Unlock()
	return obj, s.answer("copy", to)
}

func (s *shelf) PartLimits() backend.PartLimits { return s.limits }

func (s *shelf) NewUpload(ctx context.Context, key string, o backend.PutOptions) (backend.Upload, error) {
	if err := s.request(ctx, "newupload", key); err != nil {
		return backend.Upload{}, err
	}
	s.mu.Lock()
	s.version++
	up := backend.Upload{Key: key, ID: fmt.Sprintf("u%d", s.version)}
	s.uploads[up.ID] = &shelfUpload{up, cloneAttrs(o.Attrs), map[int]held{}}
	s.mu.Unlock()
	return up, s.answer("newupload", key)
}

func (s *shelf) UploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc uint64) (backend.Part, error) {
	if err := s.request(ctx, "part", up.Key); err != nil {
		return backend.Part{}, err
	}
	data, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return backend.Part{}, s.err("part", up.Key, err)
	}
	if crc64nvme.Checksum(data) != crc {
		return backend.Part{}, s.err("part", up.Key, backend.ErrCorrupt)
	}
	p, err := s.addPart(up, number, data)
	p.CRC = crc
	if err != nil {
		return backend.Part{}, err
	}
	return p, s.answer("part", up.Key)
}

func (s *shelf) addPart(up backend.Upload, number int, data []byte) (backend.Part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[up.ID]
	if u == nil || u.Key != up.Key {
		return backend.Part{}, s.err("part", up.Key, backend.ErrNotExist)
	}
	s.version++
	etag := fmt.Sprintf("p%d", s.version)
	u.parts[number] = held{backend.Object{ETag: etag}, data}
	return backend.Part{Number: number, Size: int64(len(data)), ETag: etag}, nil
}

func (s *shelf) CopyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	if err := s.request(ctx, "copypart", up.Key); err != nil {
		return backend.Part{}, err
	}
	s.mu.Lock()
	h, ok := s.objects[from.Key]
	s.mu.Unlock()
	if !ok || h.ETag != from.ETag {
		return backend.Part{}, s.err("copypart", up.Key, backend.ErrChanged)
	}
	return s.addPart(up, number, h.data[off:off+n])
}

func (s *shelf) Complete(ctx context.Context, up backend.Upload, parts []backend.Part, o backend.PutOptions) (backend.Object, error) {
	if err := s.request(ctx, "complete", up.Key); err != nil {
		return backend.Object{}, err
	}
	s.mu.Lock()
	obj, err := s.completeLocked(up, parts, o)
	s.mu.Unlock()
	if err != nil {
		return backend.Object{}, s.err("complete", up.Key, err)
	}
	return obj, s.answer("complete", up.Key)
}

func (s *shelf) completeLocked(up backend.Upload, parts []backend.Part, o backend.PutOptions) (backend.Object, error) {
	u := s.uploads[up.ID]
	if u == nil {
		return backend.Object{}, backend.ErrNotExist
	}
	var data []byte
	for i, p := range parts {
		h, ok := u.parts[p.Number]
		if !ok || h.ETag != p.ETag || p.Number != i+1 || (i < len(parts)-1 && int64(len(h.data)) < s.limits.MinSize) {
			return backend.Object{}, backend.ErrInvalid
		}
		data = append(data, h.data...)
	}
	if o.CRC64NVME != nil && *o.CRC64NVME != crc64nvme.Checksum(data) {
		return backend.Object{}, backend.ErrCorrupt
	}
	if err := s.condLocked(up.Key, o.Cond); err != nil {
		return backend.Object{}, err
	}
	delete(s.uploads, up.ID)
	return s.storeLocked(up.Key, data, u.attrs), nil
}

func (s *shelf) Abort(ctx context.Context, up backend.Upload) error {
	if err := s.request(ctx, "abort", up.Key); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.uploads, up.ID)
	s.mu.Unlock()
	return s.answer("abort", up.Key)
}

func (s *shelf) Uploads(ctx context.Context, prefix string) iter.Seq2[backend.Upload, error] {
	return func(yield func(backend.Upload, error) bool) {
		if err := s.request(ctx, "uploads", prefix); err != nil {
			yield(backend.Upload{}, err)
			return
		}
		s.mu.Lock()
		var all []backend.Upload
		for _, u := range s.uploads {
			if strings.HasPrefix(u.Key, prefix) {
				all = append(all, u.Upload)
			}
		}
		s.mu.Unlock()
		for _, u := range all {
			if !yield(u, nil) {
				return
			}
		}
	}
}

func (s *shelf) orphans() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// bare hides every power of a shelf but conditions.
type bare struct{ backend.Store }

var _ interface {
	backend.Store
	backend.Copier
	backend.PartUploader
	backend.PartCopier
	backend.BatchDeleter
} = (*shelf)(nil)

// testTuning has small parts.
func testTuning() tuning {
	t := defaultTuning()
	t.volatile = true
	t.crcMax, t.buffered, t.wholeMax, t.partSize, t.inline = 256, 64, 128, 64, 16
	return t
}

type queueTest struct {
	*Queue
	t     *testing.T
	shelf *shelf
	dir   string

	cb      sync.Mutex
	stored  map[backend.Ref]backend.Object // guarded by cb
	handed  map[backend.Ref]string         // content of handed-over files; guarded by cb
	removed map[backend.Ref]int            // guarded by cb
}

func ref(key string) backend.Ref { return backend.Ref{Bucket: "b", Key: key} }

func attrsOf(mtime string) backend.Attrs {
	return backend.Attrs{Meta: map[string]string{"mtime": mtime}}
}

// oneByOne makes a failure function safe that keeps state. It must not block.
func oneByOne(f func(op, key string, done bool) error) func(op, key string, done bool) error {
	var mu sync.Mutex
	return func(op, key string, done bool) error {
		mu.Lock()
		defer mu.Unlock()
		return f(op, key, done)
	}
}
