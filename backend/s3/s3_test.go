package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	nvme "github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// open returns a store over a new bucket of a server.
func open(t *testing.T, on func(testing.TB) servers.S3, change ...func(*Options)) *Store {
	t.Helper()
	at := on(t)
	o := Options{Endpoint: at.Endpoint, Region: at.Region, AccessKey: at.AccessKey, SecretKey: at.SecretKey}
	for _, c := range change {
		c(&o)
	}
	svc, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	name := bucketName(t)
	if err := svc.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s, err := svc.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Store)
}

func bucketName(t *testing.T) string {
	return fmt.Sprintf("t%016x", nvme.Checksum([]byte(t.Name()+t.TempDir())))
}

func section(b string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(b), 0, int64(len(b)))
}

func TestSmoke(t *testing.T) {
	for name, on := range map[string]func(testing.TB) servers.S3{"minio": servers.MinIO, "versitygw": servers.VersityGW, "moto": servers.Moto} {
		t.Run(name, func(t *testing.T) {
			s := open(t, on)
			ctx := t.Context()
			attrs := backend.Attrs{
				Meta: map[string]string{"mtime": "1.5", "utf": "schön \n x", "empty": "", "enc": "=?UTF-8?B?eA==?=", "sp": "a  b", "lead": " x", "xattr": "%7B%22a%22%3A%22YQ%3D%3D%22%7D", "under_score": "u"},
				Header: map[string]string{
					"content-type": "text/plain; charset=utf-8", "content-encoding": "gzip", "content-language": "de",
					"content-disposition": "attachment", "cache-control": "no-cache", "expires": "Thu, 01 Dec 1994 16:00:00 GMT",
				},
			}
			obj, err := s.Put(ctx, "a b+c/ü%&?#.txt", section("hello"), backend.PutOptions{Attrs: attrs})
			t.Logf("put: %+v %v", obj, err)
			got, err := s.Head(ctx, "a b+c/ü%&?#.txt")
			t.Logf("head: %+v %v", got, err)
			for k, v := range attrs.Meta {
				if got.Meta[k] != v {
					t.Errorf("meta %s = %q, want %q", k, got.Meta[k], v)
				}
			}
			for k, v := range attrs.Header {
				if got.Header[k] != v {
					t.Errorf("header %s = %q, want %q", k, got.Header[k], v)
				}
			}
			for e, err := range s.List(ctx, "", "", backend.ListOptions{}) {
				t.Logf("list: %+v %v", e, err)
			}
			for e, err := range s.List(ctx, "", "", backend.ListOptions{Delimited: true}) {
				t.Logf("list: %+v %v", e, err)
			}
			t.Logf("sums: %+v", s.svc.sums.now())
			cp, err := s.Copy(ctx, obj, "copy", backend.CopyOptions{})
			t.Logf("copy: %+v %v", cp, err)
			cp, err = s.Copy(ctx, obj, "copy", backend.CopyOptions{Cond: backend.Cond{IfAbsent: true}})
			t.Logf("copy if absent on existing: %+v %v", cp, err)
			cp, err = s.Copy(ctx, obj, "copy2", backend.CopyOptions{Cond: backend.Cond{IfAbsent: true}})
			t.Logf("copy if absent on absent: %+v %v", cp, err)
			cp, err = s.Copy(ctx, obj, "copy2", backend.CopyOptions{Cond: backend.Cond{IfMatch: "0123456789abcdef0123456789abcdef"}})
			t.Logf("copy if match wrong: %+v %v", cp, err)
			cp, err = s.Copy(ctx, obj, "nowhere", backend.CopyOptions{Cond: backend.Cond{IfMatch: "0123456789abcdef0123456789abcdef"}})
			t.Logf("copy if match absent: %+v %v", cp, err)
			cp, err = s.Copy(ctx, obj, obj.Key, backend.CopyOptions{Attrs: &backend.Attrs{Meta: map[string]string{"x": "y"}}})
			t.Logf("self copy: %+v %v", cp, err)
			stale := obj
			stale.ETag = "0123456789abcdef0123456789abcdef"
			cp, err = s.Copy(ctx, stale, "copy3", backend.CopyOptions{})
			t.Logf("copy of stale: %+v %v", cp, err)

			big := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
			up, err := s.NewUpload(ctx, "big", backend.PutOptions{Attrs: attrs})
			t.Logf("upload: %+v %v", up, err)
			p1, err := s.UploadPart(ctx, up, 1, section(string(big)), nvme.Checksum(big))
			t.Logf("part 1: %+v %v", p1, err)
			p2, err := s.CopyPart(ctx, up, 2, obj, 1, 3)
			t.Logf("part 2: %+v %v", p2, err)
			for u, err := range s.Uploads(ctx, "bi") {
				t.Logf("uploads: %+v %v", u, err)
			}
			for u, err := range s.Uploads(ctx, "") {
				t.Logf("uploads all: %+v %v", u, err)
			}
			whole := nvme.Checksum(append(big, "ell"...))
			if _, err := s.Complete(ctx, up, []backend.Part{p1, p2}, backend.PutOptions{CRC64NVME: &whole, Cond: backend.Cond{IfMatch: "0123456789abcdef0123456789abcdef"}}); err == nil {
				t.Error("complete with wrong ifmatch worked")
			} else {
				t.Log("complete wrong ifmatch:", err)
			}
			c, err := s.Complete(ctx, up, []backend.Part{p1, p2}, backend.PutOptions{CRC64NVME: &whole})
			t.Logf("complete: %+v %v", c, err)
			_, err = s.UploadPart(ctx, up, 1, section(string(big)), nvme.Checksum(big))
			t.Logf("part of done: %v", err)
			_, err = s.Put(ctx, "bad", section("x"), backend.PutOptions{CRC64NVME: &whole})
			if !errors.Is(err, backend.ErrCorrupt) {
				t.Errorf("bad crc: %v", err)
			}
			t.Log(err)
			_, err = s.Head(ctx, "bad")
			t.Log(err)
			rc, err := s.Get(ctx, "big", c.ETag, 5<<20-2, 100)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(rc)
			t.Logf("%q %v %v", b, err, rc.Close())
			rc, err = s.Get(ctx, "big", c.ETag, 5<<20+3, 100)
			t.Log(rc, err)
			t.Log(s.DeleteBatch(ctx, []string{"big", "a b+c/ü%&?#.txt", "nothing"}))
			for e, err := range s.List(ctx, "", "", backend.ListOptions{}) {
				t.Logf("list: %+v %v", e, err)
			}
			_, err = s.Head(ctx, strings.Repeat("k", 1000))
			t.Log(err)
		})
	}
}
