package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestKindsOfRequests(t *testing.T) {
	for head, want := range map[string]string{
		"GET /b?list-type=2&prefix=a HTTP/1.1\r\n\r\n":                     "LIST",
		"GET /b/k HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n":                    "GET",
		"GET /b/k?x-id=GetObject HTTP/1.1\r\n\r\n":                         "GET",
		"HEAD /b/k HTTP/1.1\r\n\r\n":                                       "HEAD",
		"HEAD /b HTTP/1.1\r\n\r\n":                                         "HEADBUCKET",
		"PUT /b/d/ HTTP/1.1\r\n\r\n":                                       "PUT",
		"PUT /b/k HTTP/1.1\r\nX-Amz-Copy-Source: b/o\r\n\r\n":              "COPY",
		"PUT /b/k?partNumber=1&uploadId=u HTTP/1.1\r\n\r\n":                "PART",
		"PUT /b/k?partNumber=1&uploadId=u HTTP/1.1\r\nx-amz-copy-source:o": "PARTCOPY",
		"POST /b/k?uploads HTTP/1.1\r\n\r\n":                               "CREATE",
		"POST /b/k?uploadId=u HTTP/1.1\r\n\r\n":                            "COMPLETE",
		"DELETE /b/k?uploadId=u HTTP/1.1\r\n\r\n":                          "ABORT",
		"DELETE /b/k HTTP/1.1\r\n\r\n":                                     "DELETE",
		"POST /b?delete HTTP/1.1\r\n\r\n":                                  "DELETES",
	} {
		if got := kindOf([]byte(head)); got != want {
			t.Errorf("kindOf(%q) = %s, want %s", head, got, want)
		}
	}
}

// The shim may not change a byte, whatever it does to their times.
func TestShimCarriesAndCounts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the client compares
		_, _ = w.Write(body)
	}))
	defer server.Close()
	for _, tt := range []struct {
		delay time.Duration
		rate  float64
	}{{0, 0}, {20 * time.Millisecond, 50e6}} {
		t.Run(fmt.Sprint(tt.delay), func(t *testing.T) {
			s, err := newShim(strings.TrimPrefix(server.URL, "http://"), tt.delay, tt.rate)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			begin := time.Now()
			for _, size := range []int{0, 1, 1 << 12, len(body)} {
				req, err := http.NewRequest(http.MethodPut, s.endpoint()+"/b/k", bytes.NewReader(body[:size]))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close() // read to its end
				if err != nil || !bytes.Equal(got, body[:size]) {
					t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
				}
			}
			if took := time.Since(begin); took < 4*tt.delay {
				t.Errorf("four requests took %s, want at least %s each", took, tt.delay)
			}
			if n := s.snapshot()["PUT"]; n != 4 {
				t.Errorf("counted %d PUTs, want 4", n)
			}
		})
	}
}

func TestContentFindsWrongBytes(t *testing.T) {
	c := content{newNoise(), 7, 3*pageSize + 100}
	whole := make([]byte, c.size)
	if _, err := c.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 10, 1000, pageSize, len(whole)} { // however it is cut
		for off := 0; off < len(whole); off += n {
			if err := c.check(whole[off:min(off+n, len(whole))], int64(off)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.drain(bytes.NewReader(whole), make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	for _, i := range []int{0, 8, 100, pageSize + 3, len(whole) - 1} {
		whole[i] ^= 1
		if c.drain(bytes.NewReader(whole), make([]byte, 1000)) == nil {
			t.Errorf("a wrong byte at %d is not found", i)
		}
		whole[i] ^= 1
	}
	if c.drain(bytes.NewReader(whole[:len(whole)-1]), make([]byte, 1000)) == nil {
		t.Error("a short content is not found")
	}
	other := content{c.noise, 8, c.size}
	if other.check(whole[pageSize:], pageSize) == nil {
		t.Error("the bytes of one content pass for those of another")
	}
}
