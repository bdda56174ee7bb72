package fs

import (
	"bytes"
	"maps"
	"testing"
)

func TestXattrsOfS3fs(t *testing.T) {
	for _, tt := range []struct {
		text string
		want map[string][]byte
	}{
		{"", nil},
		{"%7B%7D", nil},
		{"{}", nil},
		{"null", nil},
		{"[1]", nil},
		{"%7B%22user.a%22%3A%22YQ%3D%3D%22%7D", map[string][]byte{"user.a": []byte("a")}},
		{`{"user.a":"YQ==","user.b":"+/+/"}`, map[string][]byte{"user.a": []byte("a"), "user.b": {0xfb, 0xff, 0xbf}}},
		{`{"user.a":"","user.bad":"?","":"YQ=="}`, map[string][]byte{"user.a": {}}},
		{`{"user.a":5}`, nil},
		{`%7B%22user.%E2%98%83%22%3A%22YQ%3D%3D%22%7D`, map[string][]byte{"user.☃": []byte("a")}},
	} {
		if got := parseXattrs(tt.text); !maps.EqualFunc(got, tt.want, bytes.Equal) {
			t.Errorf("parseXattrs(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// s3fs takes the decoded text apart at commas, colons, quotes and the outer braces.
func TestNamesOfXattrsDoNotBreakS3fs(t *testing.T) {
	text, ok := percentDecode(formatXattrs(map[string][]byte{`user.a,b:c"d{e}`: nil}))
	if want := `{"user.a\u002cb\u003ac\u0022d\u007be\u007d":""}`; !ok || text != want {
		t.Errorf("formatXattrs = %s, want %s", text, want)
	}
}

func TestForeignMetadataAsXattrs(t *testing.T) {
	got := foreignXattrs(map[string]string{
		"mode": "33188", "mtime": "5", "thawfs-rdev": "1", "xattr": "%7B%7D", "goog-reserved-posix-uid": "1", // ours
		"color": "dark%20red", "na%25me": "x", "x": "100%", // geesefs
		"xattr-a-b": "00ff", "xattr-c": "zz", // svfs
		"md5chksum": "q==",
	})
	want := map[string][]byte{
		"user.color": []byte("dark red"), "user.na%me": []byte("x"), "user.x": []byte("100%"),
		"user.a-b": {0, 0xff}, "user.xattr-c": []byte("zz"), "user.md5chksum": []byte("q=="),
	}
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("foreignXattrs = %q, want %q", got, want)
	}
}

func FuzzXattrs(f *testing.F) {
	f.Add("%7B%22user.a%22%3A%22YQ%3D%3D%22%7D")
	f.Add(`{"%thaw-bytes-%FF":"AA=="}`)
	f.Fuzz(func(t *testing.T, text string) {
		xattrs := parseXattrs(text)
		if xattrs == nil {
			return
		}
		if again := parseXattrs(formatXattrs(xattrs)); !maps.EqualFunc(again, xattrs, bytes.Equal) {
			t.Errorf("%q is %q, and again %q", text, xattrs, again)
		}
	})
}
