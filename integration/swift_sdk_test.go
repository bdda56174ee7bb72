package integration

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend/swift"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/servers"
	"github.com/thawfs/thawfs/integration/swiftarchive"
)

// sdk runs the steps of a guide to Swift's Python SDK. c is a connection.
func sdk(t *testing.T, at servers.SwiftAccount, steps string) string {
	t.Helper()
	script := `
import hashlib, json, sys, swiftclient
c = swiftclient.Connection(authurl=sys.argv[1], user=sys.argv[2], key=sys.argv[3], auth_version="1")
` + steps
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", script, at.AuthURL, at.User, at.Key)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("swiftclient: %v\n%s", err, tail(string(out)))
	}
	return strings.TrimSpace(string(out))
}

// mountAll shows all containers of an account.
func mountAll(t *testing.T, at servers.SwiftAccount, policy string) *mounted {
	t.Helper()
	s, err := swift.New(t.Context(), swift.Options{Auth: swift.Auth{URL: at.AuthURL, User: at.User, Password: at.Key}, Policy: policy})
	must(t, err)
	return mount(t, s, func(o *fs.Options) { o.Bucket, o.TTL, o.NegativeTTL = "", time.Millisecond, time.Millisecond })
}

// wholeXattr is an xattr of any length.
func wholeXattr(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(path, name, buf)
	if err != nil {
		t.Fatalf("getxattr %s of %s: %v", name, path, err)
	}
	return string(buf[:n])
}

// TestSwiftSDKSeenThroughTheMount does each step of an SDK guide by python-swiftclient and looks
// at it through a mount.
func TestSwiftSDKSeenThroughTheMount(t *testing.T) {
	at := servers.Swift(t)
	m := mountAll(t, at, "")
	t.Parallel()
	sdk(t, at, `
c.put_container("sdk")
c.put_object("sdk", "hello.txt", "hello from the SDK", headers={"X-Object-Meta-Mtime": "1500000000.25"})
c.put_object("sdk", "empty-dir", "", content_type="application/directory")
c.put_object("sdk", "dir", "", content_type="application/directory")
c.put_object("sdk", "dir/inside", "in a directory")
c.put_object("sdk", "pseudo/deep/object", "no marker above")
c.put_container("sdk_segments")
segments = []
for i in range(3):
    data = bytes([65 + i]) * (10 << 20)
    etag = c.put_object("sdk_segments", "big/%d" % i, data)
    segments.append({"path": "sdk_segments/big/%d" % i, "etag": etag, "size_bytes": len(data)})
c.put_object("sdk", "big", json.dumps(segments), query_string="multipart-manifest=put")
`)
	names := func(dir string) string {
		entries, err := os.ReadDir(m.path(dir))
		must(t, err)
		var all []string
		for _, e := range entries {
			name := e.Name()
			if e.IsDir() {
				name += "/"
			}
			all = append(all, name)
		}
		return strings.Join(all, " ")
	}
	if got, want := names("sdk"), "big dir/ empty-dir/ hello.txt pseudo/"; got != want {
		t.Errorf("sdk has %s, want %s", got, want)
	}
	if got := " " + names("") + " "; !strings.Contains(got, " sdk/ ") || strings.Contains(got, "sdk_segments") {
		t.Errorf("the root has%s", got)
	}
	if got := names("sdk_segments/big"); got != "0 1 2" {
		t.Errorf("the segments by name: %s", got)
	}
	for path, want := range map[string]string{"hello.txt": "hello from the SDK", "dir/inside": "in a directory", "pseudo/deep/object": "no marker above"} {
		if got, err := os.ReadFile(m.path("sdk", path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if fi, err := os.Stat(m.path("sdk", "hello.txt")); err != nil || !fi.ModTime().Equal(time.Unix(1500000000, 250_000_000)) {
		t.Errorf("mtime of the SDK: %v, %v", fi, err)
	}
	f, err := os.Open(m.path("sdk", "big"))
	must(t, err)
	edge := make([]byte, 6)
	_, err = f.ReadAt(edge, 10<<20-3)
	if err := errors.Join(err, f.Close()); err != nil || string(edge) != "AAABBB" {
		t.Errorf("across a border: %q, %v", edge, err)
	}
	var manifest []struct{ Name string }
	if err := json.Unmarshal([]byte(wholeXattr(t, m.path("sdk", "big"), "user.thawfs.manifest")), &manifest); err != nil || len(manifest) != 3 || manifest[2].Name != "/sdk_segments/big/2" {
		t.Errorf("manifest: %v, %v", manifest, err)
	}
	must(t, os.Remove(m.path("sdk", "big")))
	if err := os.RemoveAll(m.path("sdk")); err != nil {
		t.Fatalf("%v; the store has %s", err, sdk(t, at, `print([x["name"] for x in c.get_container("sdk")[1]])`))
	}
	m.remount()
	if got := sdk(t, at, `print([x["name"] for x in c.get_account()[1] if x["name"].startswith("sdk")])`); got != "[]" {
		t.Errorf("after rm -r there are the containers %s", got)
	}
}

// TestMountSeenBySwiftSDK is the other way: made through a mount, read by python-swiftclient.
func TestMountSeenBySwiftSDK(t *testing.T) {
	at := servers.Swift(t)
	m := mountAll(t, at, "PCA")
	t.Parallel()
	must(t, os.Mkdir(m.path("made"), 0o755))
	must(t, os.Mkdir(m.path("made", "dir"), 0o755))
	must(t, os.WriteFile(m.path("made", "dir", "note"), []byte("written here"), 0o644))
	when := time.Unix(1_400_000_000, 5e8)
	must(t, os.Chtimes(m.path("made", "dir", "note"), when, when))
	big := noise(3, 40<<20)
	must(t, os.WriteFile(m.path("made", "big"), big, 0o644))
	must(t, os.Rename(m.path("made", "big"), m.path("made", "renamed")))
	m.remount()
	out := sdk(t, at, `
h, listing = c.get_container("made")
names = {x["name"]: x for x in listing}
print(sorted(names), names["dir/"]["content_type"], h["x-storage-policy"])
h, body = c.get_object("made", "dir/note")
print(body.decode(), h["x-object-meta-mtime"])
h, body = c.get_object("made", "renamed")
print(h["x-static-large-object"], len(body), hashlib.sha256(body).hexdigest())
h, manifest = c.get_object("made", "renamed", query_string="multipart-manifest=get")
print(sum(x["bytes"] for x in json.loads(manifest)))
print(c.get_object("made", "renamed", headers={"Range": "bytes=10-13"})[1] == `+pyBytes(big[10:14])+`)
c.delete_object("made", "renamed", query_string="multipart-manifest=delete")
c.delete_object("made", "dir/note")
`)
	want := "['dir/', 'dir/note', 'renamed'] application/directory PCA\nwritten here 1400000000.500000000\n" +
		"True 41943040 " + sha(big) + "\n41943040\nTrue"
	if out != want {
		t.Errorf("the SDK sees\n%s\nwant\n%s", out, want)
	}
	if _, err := os.Stat(m.path("made", "renamed")); !os.IsNotExist(err) {
		t.Errorf("what the SDK has deleted: %v", err)
	}
}

// TestSealedFilesOverTheMount opens what OVH's archive has sealed.
func TestSealedFilesOverTheMount(t *testing.T) {
	at := servers.Swift(t)
	archive := swiftarchive.Start(t, at.Endpoint, 2*time.Second)
	at.AuthURL = archive.URL + "/auth/v1.0"
	m := mountAll(t, at, "PCA")
	t.Parallel()
	must(t, os.Mkdir(m.path("frozen"), 0o755))
	must(t, os.WriteFile(m.path("frozen", "file"), []byte("cold"), 0o644))
	m.remount()
	path := m.path("frozen", "file")
	if got := xattr(path, "user.thawfs.state"); got != "archived" {
		t.Errorf("state %q", got)
	}
	run(t, "/", "find", m.dir, "-ls")
	if n := archive.Opened("frozen/file"); n != 0 {
		t.Fatalf("looking at it has read it %d times", n)
	}
	if _, err := os.ReadFile(path); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("open of a sealed file: %v", err)
	}
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		got, err := os.ReadFile(path)
		if err == nil && string(got) == "cold" {
			break
		}
		if !errors.Is(err, unix.EAGAIN) || time.Since(begin) > 2*time.Minute {
			t.Fatalf("after %v: %q, %v", time.Since(begin), got, err)
		}
	}
	if n := archive.Opened("frozen/file"); n != 1 {
		t.Errorf("it was asked for %d times", n)
	}
	must(t, os.RemoveAll(m.path("frozen")))
}

// pyBytes is b as Python writes it.
func pyBytes(b []byte) string { return strings.ReplaceAll(fmt.Sprintf("bytes(%v)", b), " ", ",") }

func sha(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
