// Package integration proves thawfs from outside: the rules of its own source, real mounts,
// real servers.
package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/thawfs/thawfs"

// rooms says who may import whom: the first row whose dir is the package or holds it counts.
// "std" is the whole standard library, a path ending in "/" everything below it, "*" anything.
// Tests are free: they join what the product keeps apart.
var rooms = []struct {
	dir string
	may []string
}{
	{"backend/backendtest", []string{"std", "backend", "github.com/minio/crc64nvme", "pgregory.net/rapid"}},
	{"backend/local", []string{"std", "backend", "github.com/minio/crc64nvme", "golang.org/x/sys/unix"}},
	{"backend/s3", []string{
		"std", "backend", "github.com/minio/crc64nvme",
		"github.com/aws/aws-sdk-go-v2/", "github.com/aws/smithy-go", "github.com/aws/smithy-go/",
	}},
	{"backend/swift", []string{"std", "backend", "github.com/minio/crc64nvme", "github.com/ncw/swift/v2", "go.yaml.in/yaml/v3"}},
	// The catalogue of a vault is a local file: the service has no listing.
	{"backend/glacier/glaciertest", []string{"std"}},
	{"backend/glacier", []string{
		"std", "backend", "github.com/minio/crc64nvme", "go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "golang.org/x/sync/errgroup",
		"github.com/aws/aws-sdk-go-v2/", "github.com/aws/smithy-go", "github.com/aws/smithy-go/",
	}},
	{"backend", []string{"std"}},
	{"cache/record", []string{"std", "backend"}},
	// Caches do not know each other: fs joins them.
	{"cache", []string{
		"std", "backend", "cache/record", "github.com/hashicorp/golang-lru/v2/simplelru", "go.etcd.io/bbolt",
		"go.etcd.io/bbolt/errors", "golang.org/x/sync/", "golang.org/x/sys/unix", "github.com/minio/crc64nvme",
	}},
	{"fs/fstest/fsx", []string{"std", "golang.org/x/sys/unix"}},
	{"fs/fstest", []string{"std", "backend", "backend/local", "pgregory.net/rapid", "github.com/google/go-cmp/cmp"}},
	{"fs/recall", []string{"std", "backend", "go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "golang.org/x/sync/"}},
	{"fs", []string{
		"std", "backend", "cache/", "fs/recall", "github.com/hanwen/go-fuse/v2/", "golang.org/x/sync/",
		"golang.org/x/sys/unix",
	}},
	{"cmd", []string{"*"}},
	{"integration", []string{"*"}},
	{"tools", []string{"*"}},
}

// shut are the doors that stay shut even for those who may import anything: an SDK belongs to
// its driver, go-fuse to fs.
var shut = []struct{ path, owner string }{
	{"github.com/hanwen/go-fuse/", "fs"},
	{"github.com/aws/", "backend/s3"},
	{"github.com/ncw/", "backend/swift"},
	{"github.com/aws/", "backend/glacier"},
	{"github.com/aws/", "integration"}, // looks at servers without thawfs in between
}

func TestImportsGoOneWay(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, spec := range f.ast.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if !mayImport(f.dir, path) {
				t.Errorf("%s imports %s: HOUSE does not let %s do that (rooms in integration/house_test.go)", f.path, path, f.dir)
			}
		}
	}
}

func TestRulesOfTheHouse(t *testing.T) {
	for _, tt := range []struct {
		dir, path string
		want      bool
	}{
		{"backend", "net/http", true},
		{"backend", module + "/cache/blocks", false},
		{"backend", "github.com/aws/aws-sdk-go-v2/aws", false},
		{"backend/s3", "github.com/aws/aws-sdk-go-v2/service/s3", true},
		{"backend/s3", module + "/backend", true},
		{"backend/s3", module + "/backend/local", false},
		{"backend/local", "github.com/aws/smithy-go", false},
		{"backend/swift", "github.com/ncw/swift/v2", true},
		{"cmd/thawfs", "github.com/ncw/swift/v2", false},
		{"backend/glacier", "github.com/aws/aws-sdk-go-v2/service/glacier", true},
		{"backend/glacier", module + "/backend/s3", false},
		{"backend/glacier/glaciertest", module + "/backend/glacier", false},
		{"cache/blocks", module + "/backend", true},
		{"cache/blocks", module + "/cache/entries", false},
		{"cache/blocks", module + "/backend/local", false},
		{"cache/writeback", "go.etcd.io/bbolt", true},
		{"cache/writeback", "github.com/hanwen/go-fuse/v2/fuse", false},
		{"fs", module + "/cache/writeback", true},
		{"fs", module + "/backend/s3", false},
		{"fs", "github.com/hanwen/go-fuse/v2/fs", true},
		{"fs", "github.com/aws/smithy-go", false},
		{"cmd/thawfs", module + "/backend/s3", true},
		{"cmd/thawfs", "github.com/spf13/cobra", true},
		{"cmd/thawfs", "github.com/hanwen/go-fuse/v2/fuse", false},
		{"cmd/thawfs", "github.com/aws/aws-sdk-go-v2/config", false},
		{"integration", "github.com/aws/aws-sdk-go-v2/service/s3", true},
		{"elsewhere", "fmt", false},
	} {
		if got := mayImport(tt.dir, tt.path); got != tt.want {
			t.Errorf("mayImport(%q, %q) = %v, want %v", tt.dir, tt.path, got, tt.want)
		}
	}
}

// mayImport applies rooms and shut to one edge.
func mayImport(dir, path string) bool {
	for _, s := range shut {
		if strings.HasPrefix(path, s.path) && !slices.ContainsFunc(shut, func(o struct{ path, owner string }) bool {
			return o.path == s.path && within(dir, o.owner)
		}) {
			return false
		}
	}
	own, ours := strings.CutPrefix(path, module+"/")
	for _, r := range rooms {
		if !within(dir, r.dir) {
			continue
		}
		return slices.ContainsFunc(r.may, func(m string) bool {
			switch {
			case m == "*":
				return true
			case m == "std":
				return !strings.Contains(strings.SplitN(path, "/", 2)[0], ".")
			case strings.HasSuffix(m, "/"):
				return strings.HasPrefix(path, m) || ours && strings.HasPrefix(own, m)
			default:
				return path == m || ours && own == m
			}
		})
	}
	return false
}

// within reports whether dir is room or lies in it.
func within(dir, room string) bool { return dir == room || strings.HasPrefix(dir, room+"/") }

// source is one parsed Go file.
type source struct {
	path string // relative to the repository
	dir  string
	test bool
	ast  *ast.File
	fset *token.FileSet
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var all []source
	err = filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path) // both are absolute
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || nested(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{rel, filepath.ToSlash(filepath.Dir(rel)), strings.HasSuffix(path, "_test.go"), f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("found %d Go files below %s: looked in the wrong place", len(all), root)
	}
	return all
}

// nested reports whether dir is a module of its own.
func nested(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
