package s3

import (
	"net/http"

	"github.com/thawfs/thawfs/backend"
)

// Meter implements backend.Metered.
func (s *Service) Meter() *backend.Meter { return &s.meter }

// operation names a request as the API reference of S3 does, in short.
func operation(r *http.Request) string {
	q := r.URL.Query()
	has := func(name string) bool { return q.Has(name) }
	copies := r.Header.Get("X-Amz-Copy-Source") != ""
	switch r.Method {
	case http.MethodHead:
		return "head"
	case http.MethodGet:
		if has("list-type") || has("uploads") || has("uploadId") || q.Get("x-id") == "ListBuckets" || q.Get("x-id") == "ListObjectsV2" {
			return "list"
		}
		return "get"
	case http.MethodPut:
		switch {
		case copies && has("partNumber"):
			return "copy part"
		case copies:
			return "copy"
		case has("partNumber"):
			return "put part"
		}
		return "put"
	case http.MethodPost:
		switch {
		case has("delete"):
			return "delete batch"
		case has("restore"):
			return "restore"
		case has("uploads"):
			return "begin upload"
		case has("uploadId"):
			return "complete upload"
		}
	case http.MethodDelete:
		return "delete"
	}
	return "other"
}
