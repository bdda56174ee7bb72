package s3

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

const storedAt = "Sun, 22 Nov 2026 10:00:00 GMT"

// What a PUT has stored is known from the request and its answer. Whether that holds of a
// server that is not AWS is looked at once.
func TestAServerIsAskedWhatItStoredUntilItIsKnownToKeepIt(t *testing.T) {
	put := says(200, "", `ETag: "v1"`, "Date: "+storedAt, "x-amz-checksum-crc64nvme: "+sumOf("x"))
	head := func(lines ...string) step {
		return says(200, "", append(lines, `ETag: "v1"`, "Content-Length: 1", "Last-Modified: "+storedAt, "x-amz-meta-a: b")...)
	}
	for _, tt := range []struct {
		name, at string
		steps    []step
		want     string // methods of three Puts
	}{
		{"AWS is believed", amazonURL, []step{put, put, put}, "PUT PUT PUT"},
		{"another that keeps it", elsewhere, []step{put, head("Content-Type: " + defaultType), put, put}, "PUT HEAD PUT PUT"},
		{"another that does not", elsewhere, []step{put, head("Content-Type: text/plain"), put, head(), put, head()}, "PUT HEAD PUT HEAD PUT HEAD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, w := over(t, tt.at, tt.steps...)
			for range 3 {
				obj, err := s.Put(t.Context(), "k", section("x"), backend.PutOptions{Attrs: backend.Attrs{Meta: map[string]string{"a": "b"}}})
				if err != nil {
					t.Fatal(err)
				}
				if obj.Meta["a"] != "b" || obj.Class != standard || obj.ModTime.UTC().Format(http.TimeFormat) != storedAt {
					t.Errorf("Put = %+v, want what was sent and when it was answered", obj)
				}
			}
			if got := methods(w); got != tt.want {
				t.Errorf("three Puts were %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnArchivedClassIsArchivedFromTheStart(t *testing.T) {
	s, w := over(t, amazonURL, says(200, "", `ETag: "v1"`, "Date: "+storedAt))
	obj, err := s.Put(t.Context(), "k", section("x"), backend.PutOptions{Attrs: backend.Attrs{Class: "DEEP_ARCHIVE"}})
	if err != nil || obj.State != backend.Archived || obj.Class != "DEEP_ARCHIVE" || methods(w) != "PUT" {
		t.Errorf("Put = %+v, %v by %s, want an archived object by one PUT", obj, err, methods(w))
	}
}

func methods(w *script) string {
	all := ""
	for i, r := range w.seen {
		if i > 0 {
			all += " "
		}
		all += fmt.Sprint(r.Method)
	}
	return all
}
