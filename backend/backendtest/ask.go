package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// This file asks the store and fails the check if the answer is wrong in itself.

// body makes a request body of b.
func body(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// pattern returns n bytes that do not repeat, the same ones for the same seed.
func pattern(seed uint64, n int64) []byte {
	b := make([]byte, n)
	c := [32]byte{byte(seed), byte(seed >> 8)}
	_, _ = rand.NewChaCha8(c).Read(b) // never fails
	return b
}

// put stores content as key without conditions and without attributes.
func (b *bucket) put(key, content string) backend.Object {
	b.Helper()
	return b.putOpts(key, content, backend.PutOptions{})
}

// putOpts stores content as key and holds the answer against Head and Get.
func (b *bucket) putOpts(key, content string, opts backend.PutOptions) backend.Object {
	b.Helper()
	obj, err := b.store.Put(b.ctx, key, body([]byte(content)), opts)
	if err != nil {
		b.Fatalf("Put(%q, %d bytes) = %v, want success", key, len(content), err)
	}
	b.isStored(obj, key, content, opts.Attrs)
	return obj
}

// isStored fails unless key holds content with at least the given attributes, and obj, the
// answer to the change that should have made it so, says the same as Head.
func (b *bucket) isStored(obj backend.Object, key, content string, a backend.Attrs) {
	b.Helper()
	head := b.head(key)
	b.isSame("the change", obj, head)
	if obj.Key != key || obj.Size != int64(len(content)) || obj.ETag == "" {
		b.Fatalf("stored %q, %d bytes: the store says %q, %d bytes, ETag %q", key, len(content), obj.Key, obj.Size, obj.ETag)
	}
	if !maps.Equal(head.Meta, a.Meta) {
		b.Fatalf("stored %q with Meta %q: Head says %q", key, a.Meta, head.Meta)
	}
	for name, value := range a.Header {
		if head.Header[name] != value {
			b.Fatalf("stored %q with Header %q: %q, Head says %q", key, name, value, head.Header[name])
		}
	}
	b.holds(key, obj.ETag, content)
}

// isSame fails unless what said the same of an object as Head.
func (b *bucket) isSame(what string, obj, head backend.Object) {
	b.Helper()
	if obj.Key != head.Key || obj.Size != head.Size || obj.ETag != head.ETag || obj.Class != head.Class || !b.sameState(obj, head) ||
		!maps.Equal(obj.Meta, head.Meta) || !maps.Equal(obj.Header, head.Header) {
		b.Fatalf("%s told\n%+v\nHead tells\n%+v", what, obj, head)
	}
	if obj.Meta == nil || obj.Header == nil || head.Meta == nil || head.Header == nil {
		b.Fatalf("%s and Head told Meta and Header incompletely:\n%#v\n%#v", what, obj.Attrs, head.Attrs)
	}
	b.isSameTime(what, obj, head)
}

// isSameTime compares ModTime with a tolerance: S3 has it in seconds in some answers and in
// milliseconds in others, and none at all in the answer to a Put.
func (b *bucket) isSameTime(what string, obj, head backend.Object) {
	b.Helper()
	if d := obj.ModTime.Sub(head.ModTime).Abs(); d > 2*time.Second || obj.ModTime.IsZero() {
		b.Fatalf("%s told ModTime %v of %q, Head %v", what, obj.ModTime, obj.Key, head.ModTime)
	}
}

// head returns Head of a key that must be there.
func (b *bucket) head(key string) backend.Object {
	b.Helper()
	obj, err := b.store.Head(b.ctx, key)
	if err != nil {
		b.Fatalf("Head(%q) = %v, want success", key, err)
	}
	return obj
}

// get reads a range of a key, restoring it before if the store archives everything.
func (b *bucket) get(key, etag string, off, n int64) (string, error) {
	for {
		r, err := b.store.Get(b.ctx, key, etag, off, n)
		if !errors.Is(err, backend.ErrArchived) || !hasPower[backend.WriteOnce](b.store) {
			return all(r, err)
		}
		if err := b.thaw(key); err != nil {
			return "", err
		} // another version may have come meanwhile, which is archived again
	}
}

// getNow is get without restoring.
func (b *bucket) getNow(key, etag string, off, n int64) (string, error) {
	return all(b.store.Get(b.ctx, key, etag, off, n))
}

func all(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// holds fails unless the version etag of key has the bytes of content.
func (b *bucket) holds(key, etag, content string) {
	b.Helper()
	got, err := b.get(key, etag, 0, -1)
	if err != nil || got != content {
		b.Fatalf("Get(%q, %q) = %s, %v, want %s", key, etag, brief(got), err, brief(content))
	}
}

// unchanged fails unless key still is obj with the bytes of content: after something that
// must not have changed it.
func (b *bucket) unchanged(obj backend.Object, content string) {
	b.Helper()
	b.isSame("before the failed change, the store", obj, b.head(obj.Key))
	b.holds(obj.Key, "", content)
}

// absent fails unless there is no key.
func (b *bucket) absent(key string) {
	b.Helper()
	_, err := b.store.Head(b.ctx, key)
	b.fails(err, key, "Head of an absent key", backend.ErrNotExist)
}

// fails fails unless err is a *backend.Error about key that wraps one of the sentinels.
func (b *bucket) fails(err error, key, what string, sentinels ...error) {
	b.Helper()
	if err == nil {
		b.Fatalf("%s (key %q) succeeded, want one of %q", what, key, sentinels)
	}
	var e *backend.Error
	if !errors.As(err, &e) {
		b.Fatalf("%s: error %v is a %T, want a *backend.Error", what, err, err)
	}
	if e.Op == "" || e.Store == "" || e.Key != key {
		b.Fatalf("%s: error %#v does not name store, operation and key %q", what, e, key)
	}
	if !isOneOf(err, sentinels...) {
		b.Fatalf("%s (key %q) = %v, want one of %q", what, key, err, sentinels)
	}
}

func isOneOf(err error, sentinels ...error) bool {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// list returns the entries of a listing and fails if it is out of order.
func (b *bucket) list(prefix, after string, opts backend.ListOptions) []backend.Entry {
	b.Helper()
	var entries []backend.Entry
	last := after
	for e, err := range b.store.List(b.ctx, prefix, after, opts) {
		if err != nil {
			b.Fatalf("List(%q, %q, %+v) = %v, want success", prefix, after, opts, err)
		}
		if e.Key <= last {
			b.Fatalf("List(%q, %q, %+v) yields %q after %q", prefix, after, opts, e.Key, last)
		}
		if e.Prefix && !strings.HasSuffix(e.Key, "/") {
			b.Fatalf("List(%q, %q, %+v) yields the prefix %q, which does not end in a slash", prefix, after, opts, e.Key)
		}
		last = e.Key
		entries = append(entries, e)
	}
	return entries
}

// names are the keys of entries; those of prefixes are marked with a star.
func names(entries []backend.Entry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
		if e.Prefix {
			keys[i] += "*"
		}
	}
	return keys
}

// crc returns the CRC64NVME of content, as options take it.
func crc(content string) *uint64 {
	sum := crc64nvme.Checksum([]byte(content))
	return &sum
}

// brief shows what was read without flooding the terminal.
func brief(s string) string {
	if len(s) <= 64 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%d bytes %q... (CRC %016x)", len(s), s[:24], *crc(s))
}

// workers bounds what a check asks at once.
const workers = 16

// parallel calls do for 0 to n-1, several at once.
func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// putAll stores all keys, each with itself as the content, several at once.
func (b *bucket) putAll(keys []string) {
	b.Helper()
	errs := make([]error, len(keys))
	parallel(len(keys), func(i int) {
		_, errs[i] = b.store.Put(b.ctx, keys[i], body([]byte(keys[i])), backend.PutOptions{})
	})
	for i, err := range errs {
		if err != nil {
			b.Fatalf("Put(%q) = %v, want success", keys[i], err)
		}
	}
}
