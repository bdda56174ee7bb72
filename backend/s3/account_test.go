package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	nvme "github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
)

// counting counts the requests that go through.
type counting struct {
	rt http.RoundTripper
	n  *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.rt.RoundTrip(r)
}

// newStore returns a Store over a new bucket.
func newStore(t *testing.T, svc *Service) *Store {
	t.Helper()
	name := "thawfs-test-" + strings.ToLower(rand.Text())
	if err := svc.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	store, err := svc.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	s := store.(*Store)
	return s
}

// What a user waits for, and AWS charges for, is requests. Conditions cost more of them until
// it is known that the server honours them.
func TestRequestsOfAnOperation(t *testing.T) {
	var n atomic.Int64
	svc := service(t, servers.MinIO(t), func(o *Options) {
		o.Wrap = func(rt http.RoundTripper) http.RoundTripper { return counting{rt, &n} }
	})
	s := newStore(t, svc)
	ctx := t.Context()
	put := func(key string, c backend.Cond) backend.Object {
		obj, err := s.Put(ctx, key, section("content"), backend.PutOptions{Cond: c})
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	obj := put("k", backend.Cond{IfAbsent: true})
	obj = put("k", backend.Cond{IfMatch: obj.ETag})
	if _, err := s.Copy(ctx, obj, "warm", backend.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want int64
		do   func() error
	}{
		{"head", 1, func() error { _, err := s.Head(ctx, "k"); return err }},
		{"get", 1, func() error {
			r, err := s.Get(ctx, "k", obj.ETag, 1, 2)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		}},
		{"list", 1, func() error {
			for _, err := range s.List(ctx, "", "", backend.ListOptions{Delimited: true}) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"put", 1, func() error { put("new", backend.Cond{}); return nil }},
		{"put if absent", 1, func() error { put("newer", backend.Cond{IfAbsent: true}); return nil }},
		{"put if match", 1, func() error { put("k", backend.Cond{IfMatch: obj.ETag}); return nil }},
		{"copy", 1, func() error { _, err := s.Copy(ctx, obj, "copy", backend.CopyOptions{}); return err }},
		{"upload of two parts", 4, func() error { return uploadTwo(ctx, s, "parts") }},
		{"delete", 1, func() error { return s.Delete(ctx, "copy") }},
		{"delete batch", 1, func() error { return s.DeleteBatch(ctx, []string{"k", "new", "newer", "warm", "parts"})["k"] }},
		{"delete bucket", 2, func() error { return svc.DeleteBucket(ctx, s.bucket) }},
	} {
		n.Store(0)
		if err := tt.do(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := n.Load(); got != tt.want {
			t.Errorf("%s took %d requests, want %d", tt.name, got, tt.want)
		}
	}
}

// uploadTwo stores an object in two parts.
func uploadTwo(ctx context.Context, s *Store, key string) error {
	up, err := s.NewUpload(ctx, key, backend.PutOptions{Attrs: backend.Attrs{Meta: map[string]string{"a": "b"}}})
	if err != nil {
		return err
	}
	content := strings.Repeat("x", 5*mib)
	var parts []backend.Part
	for i := range 2 {
		p, err := s.UploadPart(ctx, up, i+1, section(content), nvme.Checksum([]byte(content)))
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	obj, err := s.Complete(ctx, up, parts, backend.PutOptions{})
	if err == nil && obj.Meta["a"] != "b" {
		err = fmt.Errorf("Complete tells Meta %q", obj.Meta)
	}
	return err
}

func TestWrongCredentialsAreSaidToBeThat(t *testing.T) {
	for name, on := range map[string]func(testing.TB) servers.S3{"minio": servers.MinIO, "versitygw": servers.VersityGW} {
		t.Run(name, func(t *testing.T) {
			right := service(t, on(t))
			s := newStore(t, right)
			defer func() {
				if err := right.DeleteBucket(t.Context(), s.bucket); err != nil {
					t.Error(err)
				}
			}()
			for what, change := range map[string]func(*Options){
				"key":    func(o *Options) { o.AccessKey = "nobody" },
				"secret": func(o *Options) { o.SecretKey = "wrong-secret" },
			} {
				svc := service(t, on(t), change)
				if _, err := svc.Open(t.Context(), s.bucket); !errors.Is(err, backend.ErrCredentials) {
					t.Errorf("Open with a wrong %s = %v, want ErrCredentials", what, err)
				}
				for _, err := range svc.Buckets(t.Context()) {
					if !errors.Is(err, backend.ErrCredentials) {
						t.Errorf("Buckets with a wrong %s = %v, want ErrCredentials", what, err)
					}
				}
			}
			anonymous := service(t, on(t), func(o *Options) { o.Anonymous = true })
			if _, err := anonymous.Open(t.Context(), s.bucket); !errors.Is(err, backend.ErrPermission) || errors.Is(err, backend.ErrCredentials) {
				t.Errorf("Open without credentials = %v, want ErrPermission", err)
			}
		})
	}
}

func TestCredentialsThatCannotBeHadAreMissedAtOnce(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	if _, err := New(t.Context(), Options{}); !errors.Is(err, backend.ErrCredentials) {
		t.Errorf("New without credentials = %v, want ErrCredentials", err)
	}
	if _, err := New(t.Context(), Options{Anonymous: true}); err != nil {
		t.Errorf("New for public buckets = %v, want success", err)
	}
}

func TestOptionsThatMakeNoSenseAreInvalid(t *testing.T) {
	for _, o := range []Options{{Checksum: "sha1"}, {Addressing: "dns"}, {Endpoint: "localhost:9000"}, {Endpoint: "ftp://x"}, {Profile: "nobody-has-this-one"}} {
		o.AccessKey, o.SecretKey = "a", "s"
		if _, err := New(t.Context(), o); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("New(%+v) = %v, want ErrInvalid", o, err)
		}
	}
}
