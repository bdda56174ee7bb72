package glacier

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/thawfs/thawfs/backend"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// twice is what a program that encodes UTF-8 as UTF-8 again makes of s.
func twice(s string) string {
	var out strings.Builder
	for i := range len(s) {
		out.WriteRune(rune(s[i]))
	}
	return out.String()
}

func TestDecode(t *testing.T) {
	day := time.Date(2012, 1, 2, 3, 4, 5, 0, time.UTC)
	url := base64.RawURLEncoding.EncodeToString
	for _, tt := range []struct {
		what, description string
		want              name
	}{
		{"FastGlacier 4", "<m><v>4</v><p>" + b64("a/ü.txt") + "</p><lm>20120102T030405Z</lm></m>", name{path: "a/ü.txt", mtime: day}},
		{"FastGlacier 4, an empty file", "<m><v>4</v><p>" + b64("e") + "</p><lm>20120102T030405Z</lm><ce>0:0:d41d8cd98f00b204e9800998ecf8427e:0</ce></m>", name{path: "e", mtime: day, empty: true}},
		{"FastGlacier 4, compressed", "<m><v>4</v><p>" + b64("z") + "</p><lm>20120102T030405Z</lm><ce>1:0:aa:900</ce></m>", name{path: "z", mtime: day, encoding: "fastglacier-ce:1:0:aa:900"}},
		{"FastGlacier 3, encrypted", "<m><v>3</v><p>" + b64("z") + "</p><lm>20120102T030405Z</lm><ce>0:1:aa</ce></m>", name{path: "z", mtime: day, encoding: "fastglacier-ce:0:1:aa"}},
		{"FastGlacier 2", "<m><v>2</v><p>" + b64("two") + "</p><lm>20120102T030405Z</lm></m>", name{path: "two", mtime: day}},
		{"FastGlacier 1", "<ArchiveMetadata><Path>" + b64(`D:\one`) + "</Path></ArchiveMetadata>", name{path: `D:\one`}},
		{"FastGlacier 1 in quotes", ` "<ArchiveMetadata><Path>` + b64("one") + `</Path></ArchiveMetadata>" `, name{path: "one"}},
		{"a folder of FastGlacier", "<m><v>4</v><p>" + b64("dir/") + "</p><lm>20120102T030405Z</lm></m>", name{path: "dir/", mtime: day, dir: true}},
		{"broken XML", "<m><v>4</v><p>", name{}},
		{"XML with broken base64", "<m><v>4</v><p>!!</p></m>", name{}},
		{"QNAP", `{"path": "share/a+b.bin", "type": "file"}`, name{path: "share/a+b.bin"}},
		{"QNAP, a folder", `{"path": "share", "type": "folder"}`, name{path: "share", dir: true}},
		{"CloudBerry", `{"Path":"C:\\+ZeVnLIqe-","UTCDateModified":"20120102T030405Z","Flags":0}`, name{path: `C:\日本語`, mtime: day}},
		{"CloudBerry, encrypted", `{"Path":"x","UTCDateModified":"20120102T030405Z","Flags":"2"}`, name{path: "x", mtime: day, encoding: "cloudberry-flags:2"}},
		{"JSON without a name", `{"x": 1}`, name{}},
		{"JSON with a list for a name", `{"path": ["a"]}`, name{}},
		{"braces that are no JSON", `{holiday} 1.jpg`, name{path: `{holiday} 1.jpg`}},
		{"mt-aws-glacier 2", "mt2 " + url([]byte(`{"filename":"d/ü>?","mtime":"20120102T030405Z"}`)), name{path: "d/ü>?", mtime: day}},
		{"mt-aws-glacier 1", "mt1 " + url([]byte(twice(`{"filename":"d/ü","mtime":"20120102T030405Z"}`))), name{path: "d/ü", mtime: day}},
		{"a Java program's mt2", "mt2 " + b64(`{"filename":"j>?","mtime":1325473445000}`), name{path: "j>?", mtime: day}},
		{"mt2 that is broken", "mt2 %%%", name{}},
		{"plain", "backup-2012.tar.gz", name{path: "backup-2012.tar.gz"}},
		{"plain with blanks", "  a file ", name{path: "a file"}},
		{"plain in quotes", `"a file"`, name{path: "a file"}},
		{"none", "", name{}},
		{"a tool's word for none", "No description.", name{}},
	} {
		if got := decode(tt.description); got != tt.want {
			t.Errorf("%s: decode(%q) = %+v, want %+v", tt.what, tt.description, got, tt.want)
		}
	}
}

func TestUTF7(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a+-b": "a+b", "+F8-": "+F8-", "Hi Mom +Jjo--!": "Hi Mom ☺-!", "+2D3eAA-": "😀", "c++": "c++",
		"+AOk.txt": "é.txt", "1+1=2": "1+1=2", "+": "+", "": "",
	} {
		if got := fromUTF7(in); got != want {
			t.Errorf("fromUTF7(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestKeysAreSafe(t *testing.T) {
	const id = "0123456789abcdef"
	for path, want := range map[string]string{
		`C:\Users\a.txt`: "C/Users/a.txt", "/abs//x/./y": "abs/x/y", "../../etc/passwd": "_../_../etc/passwd",
		"a\x00b": "a\uFFFDb", "\xff": "\uFFFD", "/": unnamedDir + "/" + id, "": unnamedDir + "/" + id,
		".versions/x": "_.versions/x", "x/.versions": "x/.versions", "c:": "c",
		strings.Repeat("é", 200): strings.Repeat("é", 123) + "~01234567",
	} {
		if got := keyOf(name{path: path}, id); got != want {
			t.Errorf("key of %q = %q, want %q", path, got, want)
		}
	}
}

// FuzzDecode holds whatever a description says to the rules for keys, and ours to their form.
func FuzzDecode(f *testing.F) {
	for _, d := range []string{
		"", "plain", `{"Path":"+ZeU-","Flags":1}`, "mt2 e30", "mt1 w6k", "<m><v>4</v><p>Lw==</p><lm>x</lm></m>", `"<m>`, "a/../b", "C:\\x\\", "<m><p>LnZlcnNpb25zL2E=</p></m>",
	} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, d string) {
		const id = "idididididid"
		key := keyOf(decode(d), id)
		if !backend.ValidKey(key) || !utf8.ValidString(key) {
			t.Fatalf("decode(%q) leads to the key %q", d, key)
		}
		dir := strings.TrimSuffix(key, "/")
		for comp := range strings.SplitSeq(dir, "/") {
			if comp == "" || comp == "." || comp == ".." || len(comp) > maxComponent {
				t.Fatalf("decode(%q) leads to the key %q", d, key)
			}
		}
		if strings.HasPrefix(key, versionsDir+"/") {
			t.Fatalf("decode(%q) leads to the key %q, which is ours", d, key)
		}
		if strings.HasPrefix(key, unnamedDir+"/") || len(key) > maxPath {
			return
		}
		about, ok := encode(key, time.Unix(1e9, 0), false)
		if !ok || len(about) > maxDescription {
			t.Fatalf("%q has no description: %q", key, about)
		}
		if back := keyOf(decode(about), id); back != key {
			t.Fatalf("%q comes back as %q", key, back)
		}
	})
}

func TestDescriptionsFit(t *testing.T) {
	for _, empty := range []bool{false, true} {
		for _, n := range []int{1, 690, maxPath, maxPath + 1} {
			path := strings.Repeat("p", n)
			about, ok := encode(path, time.Now(), empty)
			if ok != (n <= maxPath) || ok && len(about) > maxDescription {
				t.Errorf("encode of %d bytes: %v, %d characters", n, ok, len(about))
			}
			if got := decode(about); ok && (got.path != path || got.empty != empty) {
				t.Errorf("encode of %d bytes, empty %v, is decoded as %d bytes, empty %v", n, empty, len(got.path), got.empty)
			}
		}
	}
}
