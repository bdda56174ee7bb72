package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
)

func TestContract(t *testing.T) {
	o := local.Options{RestoreTime: 50 * time.Millisecond, Parts: backend.PartLimits{MinSize: 64 << 10}}
	for _, o.NoSync = range []bool{true, false} {
		if testing.Short() && !o.NoSync {
			continue // the same, but for thousands of fsyncs; TestPowerLossLosesNothing counts on them
		}
		t.Run(fmt.Sprintf("NoSync=%v", o.NoSync), func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backend.Service {
				s, err := local.New(t.TempDir(), o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func sum(s string) uint64 { return crc64nvme.Checksum([]byte(s)) }

func TestNewRefusesWhatIsNoStore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "holiday.jpg")
	if err := os.WriteFile(file, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	var e *backend.Error
	if _, err := local.New(dir, local.Options{}); !errors.Is(err, backend.ErrInvalid) || !errors.As(err, &e) {
		t.Errorf("New in a directory with files = %v, want ErrInvalid", err)
	}
	if _, err := local.New(file, local.Options{}); !errors.As(err, &e) {
		t.Errorf("New on a file = %v, want a *backend.Error", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("a refused directory holds %v, %v", names, err)
	}
}

func TestNewRefusesALaterFormat(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, local.Options{})
	if err := os.WriteFile(filepath.Join(dir, "store.json"), []byte(`{"thawfs_local_store": 2}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := local.New(dir, local.Options{}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("New on a store of a later format = %v, want ErrUnsupported", err)
	}
}

func TestBucketNamesAreThoseOfS3(t *testing.T) {
	s, err := local.New(t.TempDir(), local.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"abc": nil, "a-b.c": nil, "0ab": nil, "1.2.3.4.5": nil, strings.Repeat("x", 63): nil,
		"ab": backend.ErrInvalid, strings.Repeat("x", 64): backend.ErrInvalid,
		"Abc": backend.ErrInvalid, "a_b": backend.ErrInvalid, "-ab": backend.ErrInvalid,
		"ab-": backend.ErrInvalid, "a..b": backend.ErrInvalid, ".ab": backend.ErrInvalid,
		"192.168.0.1": backend.ErrInvalid, "xn--abc": backend.ErrInvalid,
		"abc-s3alias": backend.ErrInvalid, "äbc": backend.ErrInvalid,
	} {
		if err := s.CreateBucket(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("CreateBucket(%q) = %v, want %v", name, err, want)
		}
	}
}

func TestETagsAreThoseOfS3(t *testing.T) {
	_, st := open(t, t.TempDir(), local.Options{Parts: backend.PartLimits{MinSize: 1}})
	if obj := put(t, st, "k", "hello"); obj.ETag != "5d41402abc4b2a76b9719d911017c592" {
		t.Errorf("ETag of a put = %s, want the MD5", obj.ETag)
	}
	if err := assemble(st.(powers), "k", "hello"); err != nil {
		t.Fatal(err)
	}
	// The parts are h, e and llo; computed with hashlib of Python.
	obj, err := st.Head(t.Context(), "k")
	if err != nil || obj.ETag != "4504dead51f5b0631290132475fba0cf-3" {
		t.Errorf("ETag of three parts = %s, %v, want the MD5 of their MD5s", obj.ETag, err)
	}
}

// TestDamageIsNoticed changes the files of a store as a bad disk would.
func TestDamageIsNoticed(t *testing.T) {
	big := strings.Repeat("content ", 10_000)
	for _, tt := range []struct {
		name, content, tree string
		damage              func(b []byte) []byte
	}{
		{"a flipped bit of a blob", big, "blobs", func(b []byte) []byte { b[5000] ^= 4; return b }},
		{"a short blob", big, "blobs", func(b []byte) []byte { return b[:len(b)-1] }},
		{"a long blob", big, "blobs", func(b []byte) []byte { return append(b, 'x') }},
		{"a lost blob", big, "blobs", func([]byte) []byte { return nil }},
		{"a flipped bit of an inline body", "small", "keys", func(b []byte) []byte { b[len(b)-2] ^= 4; return b }},
		{"a short inline body", "small", "keys", func(b []byte) []byte { return b[:len(b)-1] }},
		{"a torn record", "small", "keys", func(b []byte) []byte { return b[:30] }},
		{"an empty record", "small", "keys", func(b []byte) []byte { return b[:0] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			_, st := open(t, dir, local.Options{NoSync: true})
			put(t, st, "dir/k", tt.content)
			put(t, st, "other", "good")
			walk(t, filepath.Join(dir, "buckets", "bucket", tt.tree), func(path string) {
				b, err := os.ReadFile(path)
				if strings.HasSuffix(path, "other%obj") || err != nil {
					return
				}
				if b = tt.damage(b); b == nil {
					err = os.Remove(path)
				} else {
					err = os.WriteFile(path, b, 0o666)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
			if _, err := get(st, "dir/k"); !errors.Is(err, backend.ErrCorrupt) {
				t.Errorf("Get = %v, want ErrCorrupt", err)
			}
			n := 0
			for _, err := range st.List(t.Context(), "", "", backend.ListOptions{}) {
				if err != nil {
					t.Errorf("List = %v, want success", err)
				}
				n++
			}
			if n != 2 {
				t.Errorf("List yields %d entries, want 2", n)
			}
			put(t, st, "dir/k", "mended")
			if got, err := get(st, "dir/k"); got != "mended" {
				t.Errorf("after a new Put: %q, %v", got, err)
			}
			if err := st.Delete(t.Context(), "dir/k"); err != nil {
				t.Errorf("Delete = %v, want success", err)
			}
		})
	}
}

func TestAnAssembledObjectStaysWholeForItsReaders(t *testing.T) {
	dir := t.TempDir()
	_, st := open(t, dir, local.Options{NoSync: true, Parts: backend.PartLimits{MinSize: 1}})
	content := strings.Repeat("one two three ", 10_000)
	if err := assemble(st.(powers), "k", content); err != nil {
		t.Fatal(err)
	}
	readers := make([]io.ReadCloser, 2)
	for i := range readers {
		r, err := st.Get(t.Context(), "k", "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		readers[i] = r
	}
	put(t, st, "k", "replaced")
	for _, r := range readers {
		var got strings.Builder
		if _, err := io.Copy(&got, r); err != nil || got.String() != content {
			t.Errorf("read %d bytes, %v, want the %d of the replaced version", got.Len(), err, len(content))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	noGarbage(t, dir, st)
}

func TestEmptyDirectoriesGo(t *testing.T) {
	dir := t.TempDir()
	_, st := open(t, dir, local.Options{NoSync: true})
	long := strings.Repeat("long", 100)
	keys := []string{"a/b/c/d", "a//x", long + "/" + long}
	for _, key := range keys {
		put(t, st, key, "x")
	}
	for _, key := range keys {
		if err := st.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "buckets", "bucket", "keys")); err != nil || len(left) != 0 {
		t.Errorf("an empty bucket has %v, %v", left, err)
	}
}

func TestForgottenUploadsAreCollected(t *testing.T) {
	dir := t.TempDir()
	_, st := open(t, dir, local.Options{NoSync: true})
	p := st.(backend.PartUploader)
	var ups []backend.Upload
	for _, key := range []string{"forgotten", "fresh"} {
		up, err := p.NewUpload(t.Context(), key, backend.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ups = append(ups, up)
	}
	old := time.Now().AddDate(0, -2, 0)
	if err := os.Chtimes(filepath.Join(dir, "buckets", "bucket", "uploads", ups[0].ID), old, old); err != nil {
		t.Fatal(err)
	}
	_, st = open(t, dir, local.Options{NoSync: true})
	for up, err := range st.(backend.PartUploader).Uploads(t.Context(), "") {
		if err != nil || up != ups[1] {
			t.Errorf("Uploads yields %+v, %v, want only %+v", up, err, ups[1])
		}
	}
}

// TestServicesShareADirectory stands for two mounts of one store.
func TestServicesShareADirectory(t *testing.T) {
	dir := t.TempDir()
	_, one := open(t, dir, local.Options{NoSync: true})
	_, two := open(t, dir, local.Options{NoSync: true})
	obj := put(t, one, "k", "by one")
	cond := backend.PutOptions{Cond: backend.Cond{IfMatch: obj.ETag}}
	if _, err := two.Put(context.Background(), "k", reader("by two"), cond); err != nil {
		t.Errorf("Put through the other service = %v, want success", err)
	}
	if _, err := one.Put(context.Background(), "k", reader("by one again"), cond); !errors.Is(err, backend.ErrChanged) {
		t.Errorf("Put of an old version = %v, want ErrChanged", err)
	}
}
