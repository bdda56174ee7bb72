package s3

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	nvme "github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

func TestPutIsSentAgainAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := over(t, elsewhere,
			apiError(503, "SlowDown", "later"),
			apiError(500, "InternalError", "oops"),
			says(200, "", `ETag: "v1"`, "x-amz-checksum-crc64nvme: "+sumOf("content")),
			headed("v1", 7),
		)
		obj, err := s.Put(t.Context(), "k", section("content"), backend.PutOptions{})
		if err != nil || obj.ETag != "v1" || obj.Size != 7 {
			t.Fatalf("Put = %+v, %v, want v1 of 7 bytes", obj, err)
		}
		for i := range 3 {
			if w.bodies[i] != "content" || w.seen[i].Header.Get("x-amz-checksum-crc64nvme") != sumOf("content") {
				t.Errorf("attempt %d sent %q with checksum %q", i, w.bodies[i], w.seen[i].Header.Get("x-amz-checksum-crc64nvme"))
			}
			if got := w.seen[i].Header.Get("x-amz-content-sha256"); got != "UNSIGNED-PAYLOAD" {
				t.Errorf("attempt %d signs the body: %q", i, got)
			}
		}
	})
}

// The first attempt stores the object, its answer is lost on the way.
func TestPutWhoseAnswerIsLostDoesNotClaimSuccess(t *testing.T) {
	stored := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // all of it came
		if stored++; stored > 1 {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, `<Error><Code>PreconditionFailed</Code></Error>`)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close() // the point of it
	}))
	defer server.Close()
	svc, err := New(t.Context(), Options{Endpoint: server.URL, AccessKey: "a", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	svc.can = newAbilities(false, svc.log)
	s := &Store{svc: svc, bucket: "b", client: svc.home()}
	_, err = s.Put(t.Context(), "k", section("x"), backend.PutOptions{Cond: backend.Cond{IfAbsent: true}})
	if !errors.Is(err, backend.ErrChanged) || stored != 2 {
		t.Errorf("Put = %v after %d attempts, want ErrChanged after 2", err, stored)
	}
}

func TestBodiesGetMD5OnceAServerIgnoresTheCRC(t *testing.T) {
	md5Of := func(s string) string { sum := md5.Sum([]byte(s)); return fmt.Sprintf("%x", sum) }
	s, w := over(t, elsewhere,
		says(200, "", "ETag: "+md5Of("one")), headed(md5Of("one"), 3), // no checksum in the answer
		says(200, "", "ETag: "+md5Of("two")), headed(md5Of("two"), 3),
		says(200, "", "ETag: "+md5Of("something else")),
	)
	for _, content := range []string{"one", "two"} {
		if _, err := s.Put(t.Context(), "k", section(content), backend.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	sum := md5.Sum([]byte("two"))
	if h := w.seen[2].Header; h.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) || h.Get("x-amz-checksum-crc64nvme") != "" {
		t.Errorf("second Put has Content-MD5 %q, CRC %q, want the MD5 alone", h.Get("Content-MD5"), h.Get("x-amz-checksum-crc64nvme"))
	}
	if _, err := s.Put(t.Context(), "k", section("three"), backend.PutOptions{}); !errors.Is(err, backend.ErrCorrupt) {
		t.Errorf("Put answered with the MD5 of other bytes = %v, want ErrCorrupt", err)
	}
}

func TestBodiesGetMD5OnceAServerRefusesTheCRC(t *testing.T) {
	s, w := over(t, elsewhere,
		apiError(400, "InvalidRequest", "no such checksum"),
		says(200, "", `ETag: "opaque"`), headed("opaque", 3),
	)
	if _, err := s.Put(t.Context(), "k", section("one"), backend.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if w.bodies[1] != "one" || w.seen[1].Header.Get("Content-MD5") == "" {
		t.Errorf("second attempt sent %q with MD5 %q", w.bodies[1], w.seen[1].Header.Get("Content-MD5"))
	}
}

func TestABodyThatDoesNotMatchItsChecksumIsNotSent(t *testing.T) {
	wrong := nvme.Checksum([]byte("other"))
	for _, content := range []string{"", "short", strings.Repeat("long", 1<<20)} {
		s, w := over(t, elsewhere)
		_, err := s.Put(t.Context(), "k", section(content), backend.PutOptions{CRC64NVME: &wrong})
		if !errors.Is(err, backend.ErrCorrupt) {
			t.Errorf("Put of %d bytes = %v, want ErrCorrupt", len(content), err)
		}
		if len(w.seen) > 0 {
			t.Errorf("Put of %d bytes was sent as a whole", len(content))
		}
	}
}

func TestAServerThatIgnoresConditionsIsNotTrustedWithThem(t *testing.T) {
	sum := sumOf("new")
	put := says(200, "", `ETag: "v2"`, "x-amz-checksum-crc64nvme: "+sum)
	s, w := over(t, elsewhere,
		headed("v1", 3), put, headed("v2", 3), // finds out
		headed("v2", 3),                          // refuses, unchanged
		headed("v3", 3),                          // somebody else's: no need to write to know
		says(404, ""), put, put, headed("v2", 3), // the same of IfAbsent
		says(404, ""),
	)
	do := func(c backend.Cond) error {
		_, err := s.Put(t.Context(), "k", section("new"), backend.PutOptions{Cond: c})
		return err
	}
	if err := do(backend.Cond{IfMatch: "v1"}); err != nil {
		t.Errorf("first Put with IfMatch = %v, want success", err)
	}
	if got := w.seen[1].Header.Get("If-Match"); got != `"`+impossible+`"` {
		t.Errorf("it asked with If-Match %q, want a condition that cannot hold", got)
	}
	if err := do(backend.Cond{IfMatch: "v2"}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("next Put with IfMatch = %v, want ErrUnsupported", err)
	}
	if err := do(backend.Cond{IfMatch: "v2"}); !errors.Is(err, backend.ErrChanged) {
		t.Errorf("Put over another version = %v, want ErrChanged", err)
	}
	if err := do(backend.Cond{IfAbsent: true}); err != nil {
		t.Errorf("first Put with IfAbsent = %v, want success", err)
	}
	if err := do(backend.Cond{IfAbsent: true}); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("next Put with IfAbsent = %v, want ErrUnsupported", err)
	}
	for i, r := range w.seen {
		if r.Method == http.MethodPut && i > 7 {
			t.Errorf("request %d writes in spite of all that was known", i)
		}
	}
}

func TestUploadsToAWSCarryTheChecksumOfTheWhole(t *testing.T) {
	one, two := strings.Repeat("a", 100), "tail"
	s, w := over(t, amazonURL,
		says(200, `<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>`),
		says(200, "", `ETag: "p1"`, "x-amz-checksum-crc64nvme: "+sumOf(one)),
		says(200, "", `ETag: "p2"`, "x-amz-checksum-crc64nvme: "+sumOf(two)),
		says(200, `<CompleteMultipartUploadResult><ETag>"v1-2"</ETag></CompleteMultipartUploadResult>`),
		headed("v1-2", len(one+two)),
	)
	up, err := s.NewUpload(t.Context(), "k", backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []backend.Part
	for i, content := range []string{one, two} {
		p, err := s.UploadPart(t.Context(), up, i+1, section(content), nvme.Checksum([]byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	obj, err := s.Complete(t.Context(), up, parts, backend.PutOptions{Cond: backend.Cond{IfAbsent: true}})
	if err != nil || obj.ETag != "v1-2" || obj.Size != int64(len(one+two)) {
		t.Fatalf("Complete = %+v, %v", obj, err)
	}
	if h := w.seen[0].Header; h.Get("x-amz-checksum-algorithm") != "CRC64NVME" || h.Get("x-amz-checksum-type") != "FULL_OBJECT" {
		t.Errorf("the upload begins with algorithm %q, type %q", h.Get("x-amz-checksum-algorithm"), h.Get("x-amz-checksum-type"))
	}
	if h := w.seen[3].Header; h.Get("x-amz-checksum-crc64nvme") != sumOf(one+two) || h.Get("If-None-Match") != "*" {
		t.Errorf("it is completed with checksum %q, If-None-Match %q", h.Get("x-amz-checksum-crc64nvme"), h.Get("If-None-Match"))
	}
	if !strings.Contains(w.bodies[3], sumOf(two)) {
		t.Errorf("the list of parts lacks their checksums: %s", w.bodies[3])
	}
}
