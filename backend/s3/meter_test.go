package s3

import (
	"net/http"
	"testing"
)

func TestOperationsHaveNames(t *testing.T) {
	for _, tt := range []struct{ method, url, copies, want string }{
		{"GET", "/?x-id=ListBuckets", "", "list"},
		{"GET", "/b?list-type=2&prefix=a", "", "list"},
		{"GET", "/b/k?x-id=GetObject", "", "get"},
		{"HEAD", "/b/k", "", "head"},
		{"PUT", "/b/k?x-id=PutObject", "", "put"},
		{"PUT", "/b/k?x-id=CopyObject", "/b/o", "copy"},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "", "put part"},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "/b/o", "copy part"},
		{"POST", "/b/k?uploads", "", "begin upload"},
		{"POST", "/b/k?uploadId=u", "", "complete upload"},
		{"POST", "/b?delete", "", "delete batch"},
		{"POST", "/b/k?restore", "", "restore"},
		{"DELETE", "/b/k", "", "delete"},
		{"OPTIONS", "/b/k", "", "other"},
	} {
		r, err := http.NewRequest(tt.method, "http://s3.example.com"+tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.copies != "" {
			r.Header.Set("X-Amz-Copy-Source", tt.copies)
		}
		if got := operation(r); got != tt.want {
			t.Errorf("operation(%s %s) = %q, want %q", tt.method, tt.url, got, tt.want)
		}
	}
}
