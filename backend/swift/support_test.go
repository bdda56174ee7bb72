package swift

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answerWith makes an answer that no server has sent.
func answerWith(r *http.Request, status int, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("")), Request: r, ProtoMajor: 1, ProtoMinor: 1}
}

// testBucket makes a container that goes with the test.
func testBucket(t testing.TB, svc *Service) *Store {
	t.Helper()
	name := "t-" + strings.ToLower(rand.Text())
	if err := svc.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s, err := svc.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	store := s.(*Store)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for e, err := range store.List(ctx, "", "", backend.ListOptions{}) {
			if err != nil {
				t.Log(err)
				break
			}
			_ = store.Delete(ctx, e.Key) // what is left shows when the container is deleted
		}
		if err := svc.DeleteBucket(ctx, name); err != nil {
			t.Log(err)
		}
	})
	return store
}

func put(t testing.TB, s *Store, key, content string) backend.Object {
	t.Helper()
	obj, err := s.Put(t.Context(), key, text([]byte(content)), backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func get(t testing.TB, s *Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // only read
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// putLarge makes key of parts.
func putLarge(t testing.TB, s *Store, key string, parts ...string) backend.Object {
	t.Helper()
	up, err := s.NewUpload(t.Context(), key, backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var sent []backend.Part
	for i, content := range parts {
		p, err := s.UploadPart(t.Context(), up, i+1, text([]byte(content)), crc64nvme.Checksum([]byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p)
	}
	obj, err := s.Complete(t.Context(), up, sent, backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// segmentNames are the objects in the container of segments but for notes and records.
func segmentNames(t testing.TB, s *Store) []string {
	t.Helper()
	var names []string
	err := s.svc.walk(t.Context(), s.segments(), "", func(r row) error {
		if !strings.HasPrefix(r.Name, ".thawfs/") {
			names = append(names, r.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// empties fails unless nothing at all is left of large objects.
func nothingLeft(t testing.TB, s *Store) {
	t.Helper()
	var left []string
	err := s.svc.walk(t.Context(), s.segments(), "", func(r row) error { left = append(left, r.Name); return nil })
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func rawPut(t testing.TB, s *Store, container, name, content string, header map[string]string) {
	t.Helper()
	_, err := s.svc.call(t.Context(), request{method: http.MethodPut, container: container, key: name, header: header, body: text([]byte(content))})
	if err != nil {
		t.Fatal(err)
	}
}

func keysOf(t testing.TB, s *Store, opts backend.ListOptions) string {
	t.Helper()
	var keys []string
	for e, err := range s.List(t.Context(), "", "", opts) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, fmt.Sprintf("%s:%d", e.Key, e.Size))
	}
	if !slices.IsSorted(keys) {
		t.Errorf("List = %q, want order", keys)
	}
	return strings.Join(keys, " ")
}
