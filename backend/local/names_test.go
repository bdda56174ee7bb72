package local

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// keyOf is the reverse of recordPath, by way of parseName.
func keyOf(t *testing.T, path string) string {
	t.Helper()
	key := ""
	for name := range strings.SplitSeq(path, "/") {
		if len(name) > 255 || name == "" || name == "." || name == ".." {
			t.Fatalf("%q has the component %q", path, name)
		}
		comp, k, ok := parseName(name)
		if !ok {
			t.Fatalf("%q has the component %q, which cannot be parsed", path, name)
		}
		key += comp
		if k == isDir {
			key += "/"
		}
	}
	return key
}

func TestEveryKeyHasAPathOfItsOwn(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"/", "/", "a", "%", "%2F", "%obj", "%+", "%-", ".", "..", "\n", "\x7f", "é", "😀", " ", strings.Repeat("x", 100), strings.Repeat("%", 79), strings.Repeat("é", 119), strings.Repeat("y", 239)}
	seen := map[string]string{}
	for range 20_000 {
		key := ""
		for range 1 + rng.IntN(7) {
			key += pieces[rng.IntN(len(pieces))]
		}
		path := recordPath("", key)
		if got := keyOf(t, strings.TrimPrefix(path, "/")); got != key {
			t.Fatalf("seed %d: %q lies at %q, which is that of %q", seed, key, path, got)
		}
		if other, taken := seen[path]; taken && other != key {
			t.Fatalf("seed %d: %q and %q both lie at %q", seed, key, other, path)
		}
		seen[path] = key
		if dir := dirPath("/root", key[:strings.LastIndexByte(key, '/')+1]); !strings.HasPrefix(recordPath("/root", key), dir+"/") {
			t.Fatalf("seed %d: %q does not lie below %q", seed, key, dir)
		}
	}
}

func TestOrdinaryKeysKeepTheirNames(t *testing.T) {
	if got, want := recordPath("/keys", "photos/2024/cat é.jpg"), "/keys/photos/2024/cat é.jpg%obj"; got != want {
		t.Errorf("recordPath = %q, want %q", got, want)
	}
	if got := filepath.Clean(recordPath("/keys", "../../etc/passwd")); !strings.HasPrefix(got, "/keys/") {
		t.Errorf("a key leads out to %q", got)
	}
}
