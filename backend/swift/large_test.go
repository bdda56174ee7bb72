package swift

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
)

// piece is a megabyte and a bit that tells which it is.
func piece(c string) string { return strings.Repeat(c, mib+7) }

func TestRenameMovesNoSegmentAndDeleteRemovesThem(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	content := piece("a") + piece("b") + "tail"
	obj := putLarge(t, s, "one", piece("a"), piece("b"), "tail")
	before := segmentNames(t, s)
	if len(before) != 3 || obj.Size != int64(len(content)) {
		t.Fatalf("%d bytes in segments %q", obj.Size, before)
	}
	two, err := s.Copy(t.Context(), obj, "two", backend.CopyOptions{})
	if err != nil || two.ETag != obj.ETag {
		t.Fatalf("Copy = %+v, %v", two, err)
	}
	if now := segmentNames(t, s); !slices.Equal(now, before) {
		t.Errorf("Copy made segments: %q, then %q", before, now)
	}
	if err := s.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "two"); got != content {
		t.Errorf("after the rename: %d bytes", len(got))
	}
	// Again, and what is replaced by a plain object goes with its segments.
	three, err := s.Copy(t.Context(), two, "three", backend.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "two", "plain now")
	if got := get(t, s, "three"); got != content {
		t.Errorf("after the other name was replaced: %d bytes", len(got))
	}
	if _, err := s.Copy(t.Context(), three, "three", backend.CopyOptions{Attrs: &backend.Attrs{Meta: map[string]string{"mode": "33188"}}}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "three"); got != content {
		t.Errorf("after its attributes were changed: %d bytes", len(got))
	}
	if err := s.Delete(t.Context(), "three"); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s)
}

func TestEditUploadsOnlyItsSegment(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	old := putLarge(t, s, "k", piece("a"), piece("b"), piece("c"))
	before := segmentNames(t, s)
	up, err := s.NewUpload(t.Context(), "k", backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(piece("a")))
	first, err := s.CopyPart(t.Context(), up, 1, old, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	sum, crc, err := sums(t.Context(), text([]byte("edited")))
	if err != nil {
		t.Fatal(err)
	}
	_ = sum
	second, err := s.UploadPart(t.Context(), up, 2, text([]byte("edited")), crc)
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.CopyPart(t.Context(), up, 3, old, size+10, 2*size-10) // across a border
	if err != nil {
		t.Fatal(err)
	}
	obj, err := s.Complete(t.Context(), up, []backend.Part{first, second, last}, backend.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := piece("a") + "edited" + piece("b")[10:] + piece("c")
	if got := get(t, s, "k"); got != want || obj.Size != int64(len(want)) {
		t.Errorf("after the edit %d bytes, want %d", len(got), len(want))
	}
	now := segmentNames(t, s)
	if len(now) != 4 { // the three old ones, whose middle one counts in part, and the new one
		t.Errorf("segments %q, then %q", before, now)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s)
}

func TestManySegmentsGoIntoNestedManifests(t *testing.T) {
	svc := service(t, servers.Swift(t))
	s := testBucket(t, svc)
	svc.limits.SLO.MaxSegments = 3
	var parts []string
	for i := range 11 {
		parts = append(parts, "part "+strconv.Itoa(i)+" ")
	}
	obj := putLarge(t, s, "k", parts...)
	want := strings.Join(parts, "")
	if got := get(t, s, "k"); got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if head, err := s.Head(t.Context(), "k"); err != nil || head.ETag != obj.ETag || head.Size != int64(len(want)) {
		t.Errorf("Head = %+v, %v", head, err)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s)
}

// TestLargeObjectsOfOthers reads what other clients make: dynamic large objects, nested
// manifests, ranges and bytes inside a manifest.
func TestLargeObjectsOfOthers(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	if err := s.needSegments(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, c := range []string{"aaaaa", "bbbbb", "ccccc"} {
		rawPut(t, s, s.segments(), "dyn/1700000000/0000000"+strconv.Itoa(i+1), c, nil)
		rawPut(t, s, s.segments(), "sta/"+strconv.Itoa(i), c, nil)
	}
	rawPut(t, s, s.name, "dyn", "", map[string]string{"X-Object-Manifest": s.segments() + "/dyn/1700000000/"})
	slo := func(container, name, manifest string) {
		_, err := s.svc.call(t.Context(), request{
			method: http.MethodPut, container: container, key: name, body: text([]byte(manifest)), query: url.Values{"multipart-manifest": {"put"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slo(s.segments(), "sta/inner", `[{"path":"`+s.segments()+`/sta/0"},{"path":"`+s.segments()+`/sta/1"}]`)
	slo(s.name, "sta", `[{"path":"`+s.segments()+`/sta/inner"},{"data":"WFla"},{"path":"`+s.segments()+`/sta/2","range":"1-3"}]`)

	if got, want := keysOf(t, s, backend.ListOptions{}), "dyn:15 sta:16"; got != want {
		t.Errorf("List = %s, want %s", got, want)
	}
	for key, want := range map[string]string{"dyn": "aaaaabbbbbccccc", "sta": "aaaaabbbbbXYZccc"} {
		obj, err := s.Head(t.Context(), key)
		if err != nil || obj.Size != int64(len(want)) {
			t.Errorf("Head(%s) = %+v, %v", key, obj, err)
		}
		for off := 0; off < len(want); off += 3 {
			r, err := s.Get(t.Context(), key, obj.ETag, int64(off), 7)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || string(got) != want[off:min(len(want), off+7)] {
				t.Errorf("Get(%s, %d) = %q, %v", key, off, got, err)
			}
		}
		moved, err := s.Copy(t.Context(), obj, "moved-"+key, backend.CopyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, "moved-"+key); got != want {
			t.Errorf("after a rename %s is %q, want %q", key, got, want)
		}
		if manifest, ok, err := s.Inspect(t.Context(), moved.Key, "manifest"); err != nil || !ok || !json.Valid([]byte(manifest)) {
			t.Errorf("manifest of %s: %q, %v, %v", key, manifest, ok, err)
		}
		if err := s.Delete(t.Context(), moved.Key); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft(t, s)
}

// TestCrashBehindTheManifest aborts an upload whose manifest stands: the record was left by a
// crash.
func TestCrashBehindTheManifest(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	putLarge(t, s, "k", "one", "two")
	id := strings.Split(segmentNames(t, s)[0], "/")[1]
	up := backend.Upload{Key: "k", ID: id}
	if err := s.putRecord(t.Context(), up, backend.Attrs{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Abort(t.Context(), up); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "k"); got != "onetwo" {
		t.Errorf("after the Abort: %q", got)
	}
}

// TestMarkersOfOtherClients shows objects of type application/directory as directories.
func TestMarkersOfOtherClients(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	for _, name := range []string{"dir", "dir-a", "dir.txt", "dir0", "empty"} {
		header := map[string]string{"Content-Type": "text/plain"}
		if name == "dir" || name == "empty" {
			header["Content-Type"] = dirType
		}
		rawPut(t, s, s.name, name, "", header)
	}
	rawPut(t, s, s.name, "dir/file", "x", nil)
	if got, want := keysOf(t, s, backend.ListOptions{}), "dir-a:0 dir.txt:0 dir/:0 dir/file:1 dir0:0 empty/:0"; got != want {
		t.Errorf("List = %s, want %s", got, want)
	}
	if got, want := keysOf(t, s, backend.ListOptions{Delimited: true, PageSize: 1}), "dir-a:0 dir.txt:0 dir/:0 dir0:0 empty/:0"; got != want {
		t.Errorf("List of a level = %s, want %s", got, want)
	}
	for prefix, want := range map[string]string{"dir/": "dir/ dir/file", "empty/": "empty/", "dir-a/": ""} {
		var keys []string
		for e, err := range s.List(t.Context(), prefix, "", backend.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("List(%s) = %s, want %s", prefix, got, want)
		}
	}
	var behind []string
	for e, err := range s.List(t.Context(), "", "dir-a", backend.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		behind = append(behind, e.Key)
	}
	if want := []string{"dir.txt", "dir/", "dir/file", "dir0", "empty/"}; !slices.Equal(behind, want) {
		t.Errorf("List behind dir-a = %q, want %q", behind, want)
	}
	if _, err := s.Head(t.Context(), "empty"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Head of a marker without its slash = %v", err)
	}
	if obj, err := s.Head(t.Context(), "empty/"); err != nil || obj.Header["content-type"] != dirType {
		t.Errorf("Head of a marker = %+v, %v", obj, err)
	}
	if err := s.Delete(t.Context(), "empty"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), "empty/"); err != nil {
		t.Errorf("deleting the file of a directory's name took the marker: %v", err)
	}
	if err := s.Delete(t.Context(), "empty/"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), "empty/"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Head of a deleted marker = %v", err)
	}
}

func TestExpiringObjectsAndSymlinks(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	put(t, s, "target", "the target")
	rawPut(t, s, s.name, "link", "", map[string]string{"X-Symlink-Target": s.name + "/target", "Content-Type": "application/symlink"})
	at := time.Now().Add(time.Hour).Unix()
	rawPut(t, s, s.name, "late", "bytes", map[string]string{"X-Delete-At": strconv.FormatInt(at, 10)})
	rawPut(t, s, s.name, "soon", "bytes", map[string]string{"X-Delete-After": "1"})

	late, err := s.Head(t.Context(), "late")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"late", "renamed"} {
		if _, err := s.Copy(t.Context(), late, to, backend.CopyOptions{Attrs: &backend.Attrs{Meta: map[string]string{"a": "b"}}}); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := s.Inspect(t.Context(), to, "expires"); err != nil || !ok || v != time.Unix(at, 0).UTC().Format(time.RFC3339) {
			t.Errorf("%s expires %q, %v, %v", to, v, ok, err)
		}
	}
	link, err := s.Head(t.Context(), "link")
	if err != nil || link.Size != 10 || get(t, s, "link") != "the target" {
		t.Errorf("Head(link) = %+v, %v", link, err)
	}
	if err := s.Delete(t.Context(), "link"); err != nil {
		t.Fatal(err)
	}
	if get(t, s, "target") != "the target" {
		t.Error("deleting a link took its target")
	}
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		_, err := s.Head(t.Context(), "soon")
		if errors.Is(err, backend.ErrNotExist) {
			break
		}
		if err != nil || time.Since(begin) > time.Minute {
			t.Fatalf("Head of what expires: %v", err)
		}
	}
	if err := s.Delete(t.Context(), "soon"); err != nil { // it is listed still
		t.Fatal(err)
	}
	if got, want := keysOf(t, s, backend.ListOptions{}), "late:5 renamed:5 target:10"; got != want {
		t.Errorf("List = %s, want %s", got, want)
	}
}

func TestAddressForOthers(t *testing.T) {
	s := testBucket(t, service(t, servers.Swift(t)))
	put(t, s, "a b/ü?", "for all to read")
	if _, ok, err := s.Inspect(t.Context(), "a b/ü?", "url"); ok || err != nil {
		t.Errorf("an address without a key: %v, %v", ok, err)
	}
	_, err := s.svc.call(t.Context(), request{method: http.MethodPost, container: s.name, header: map[string]string{"X-Container-Meta-Temp-Url-Key": "k3y"}})
	if err != nil {
		t.Fatal(err)
	}
	at, ok, err := s.Inspect(t.Context(), "a b/ü?", "url")
	if !ok || err != nil {
		t.Fatalf("Inspect = %v, %v", ok, err)
	}
	resp, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if data, err := io.ReadAll(resp.Body); err != nil || string(data) != "for all to read" {
		t.Errorf("%s: %s %q, %v", at, resp.Status, data, err)
	}
}
