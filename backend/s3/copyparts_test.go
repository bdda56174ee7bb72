package s3

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/s3archive"
	"github.com/thawfs/thawfs/integration/servers"
)

// What is larger than one request may copy is copied in parts, into another class too.
func TestLargeObjectsChangeTheirClassInParts(t *testing.T) {
	t.Parallel()
	at := servers.MinIO(t)
	double := s3archive.New(s3archive.Options{
		Endpoint: at.Endpoint, AccessKey: at.AccessKey, SecretKey: at.SecretKey, Region: at.Region,
		Takes: s3archive.Always(time.Hour),
	})
	web := httptest.NewServer(double)
	t.Cleanup(func() { web.Close(); double.Close() })
	at.Endpoint = web.URL
	svc := service(t, at)
	svc.copies = copySizes{whole: 6 * mib, part: 5 * mib} // 5 MiB is the least that MinIO takes
	const bucket = "copies-in-parts"
	if err := svc.CreateBucket(t.Context(), bucket); err != nil && !errors.Is(err, backend.ErrExist) {
		t.Fatal(err)
	}
	store, err := svc.Open(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	s := store.(*Store)
	content := make([]byte, 12*mib+17)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(content) // never fails
	attrs := backend.Attrs{Meta: map[string]string{"mode": "33188"}, Header: map[string]string{"content-type": "video/x"}}
	obj, err := s.Put(t.Context(), "film", io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content))), backend.PutOptions{Attrs: attrs})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		class string
		state backend.State
	}{{"STANDARD_IA", backend.Online}, {"GLACIER", backend.Archived}} {
		attrs := obj.Attrs
		attrs.Class = tt.class
		if obj, err = s.Copy(t.Context(), obj, "film", backend.CopyOptions{Attrs: &attrs}); err != nil {
			t.Fatal(err)
		}
		if obj.Class != tt.class || obj.State != tt.state || obj.Size != int64(len(content)) || !strings.HasSuffix(obj.ETag, "-3") {
			t.Errorf("moved to %s it is %+v, want it in 3 parts", tt.class, obj)
		}
		if obj.Meta["mode"] != "33188" || obj.Header["content-type"] != "video/x" {
			t.Errorf("moved to %s it has %v, %v", tt.class, obj.Meta, obj.Header)
		}
		if tt.state != backend.Online {
			break
		}
		body, err := s.Get(t.Context(), "film", obj.ETag, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err = errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, content) {
			t.Errorf("moved to %s: %d bytes, %v", tt.class, len(got), err)
		}
	}
	attrs = obj.Attrs
	attrs.Class = "STANDARD"
	if _, err := s.Copy(t.Context(), obj, "film", backend.CopyOptions{Attrs: &attrs}); !errors.Is(err, backend.ErrArchived) {
		t.Errorf("moved out of the archive: %v, want ErrArchived", err)
	}
	for up, err := range s.Uploads(t.Context(), "") {
		t.Errorf("an upload of %q is left, %v", up.Key, err)
	}
}
