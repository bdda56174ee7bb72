package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// promises are the headings of SEMANTICS.md, each with its test.
var promises = map[string]func(*testing.T){
	"A key is a path": testKeyIsPath,
	"A vault shows its inventory and what was done here":    testVaultNames,
	"A file in a vault keeps its name":                      testVaultFiles,
	"The directory of a vault tells of it":                  testVaultFacts,
	"An emptied vault goes a day later":                     testVaultRmdir,
	"Every key can be reached":                              testEveryKey,
	"A directory hides an object of its name":               testHidden,
	"Names that are not UTF-8 are kept":                     testNotUTF8,
	"Names over 255 bytes and keys over 1,024 are refused":  testLongNames,
	"Buckets are directories of the root":                   testBuckets,
	"An empty directory persists":                           testEmptyDir,
	"mkdir is exclusive":                                    testMkdirExclusive,
	"rmdir and rename refuse a directory that is not empty": testNotEmpty,
	"Listings show the names at once":                       testListing,
	"close keeps":                                           testCloseKeeps,
	"fsync stores":                                          testFsync,
	"A file is whole":                                       testWhole,
	"Writes at any place":                                   testWrites,
	"Open files outlive their names":                        testOutlive,
	"Signals fail no request":                               testSignals,
	"Writers and readers of one mount see each other":       testSeeEachOther,
	"Other mounts see changes after they are uploaded":      testOtherMount,
	"A reader never sees two versions":                      testOneVersion,
	"A foreign change is not overwritten":                   testConflict,
	"Rename is one step for programs on this mount":         testRename,
	"Locks hold on this mount":                              func(t *testing.T) { runPosix(t, processCases()) },
	"Reads and writes of several processes":                 func(t *testing.T) { runPosix(t, holeCases(), ioCases()) },
	"Rights are checked as on a local disk":                 func(t *testing.T) { runPosix(t, killCases(), createCases(), stickyCases()) },
	"Hard links are refused":                                testHardLinks,
	"Mode, owner, times and symbolic links persist":         testAttrsPersist,
	"A listing asks for no file by itself":                  testIndex,
	"Files without attributes are not asked for them":       testPlain,
	"Foreign metadata survives":                             testForeignMeta,
	"User xattrs persist":                                   testXattrs,
	"Directory times":                                       testDirTimes,
	"Statfs":                                                testStatfs,
	"A stub looks like the file":                            testStub,
	"What is here needs no retrieval":                       testStubHere,
	"Opening a stub starts its retrieval":                   testStubOpen,
	"A stub needs no retrieval to go":                       testStubGoes,
	"Attributes of a stub stay here":                        testStubAttrs,
	"xattrs tell the state and ask for more":                testStubXattrs,
}

func TestSemantics(t *testing.T) {
	text, err := os.ReadFile("SEMANTICS.md")
	must(t, err)
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(string(text), -1) {
		headings[m[1]] = true
		if promises[m[1]] == nil {
			t.Errorf("SEMANTICS.md promises %q without a test", m[1])
		}
	}
	for name, fn := range promises {
		if !headings[name] {
			t.Errorf("the test %q is no promise of SEMANTICS.md", name)
		}
		t.Run(name, fn)
	}
}

func testKeyIsPath(t *testing.T) {
	m := mount(t)
	m.put("photos/2024/c a+t%20ü.jpg", "meow", backend.Attrs{})
	if got := m.read("photos/2024/c a+t%20ü.jpg"); got != "meow" {
		t.Errorf("read %q, want meow", got)
	}
	must(t, os.MkdirAll(m.path("x/y"), 0o755))
	m.write("x/y/new\nline.txt", "text")
	m.drain()
	if _, got := m.object("x/y/new\nline.txt"); got != "text" {
		t.Errorf("stored %q, want text", got)
	}
}

func testEveryKey(t *testing.T) {
	m := mount(t)
	keys := []string{"a//b", "/lead", "d/../up", "d/./here", "deep/" + strings.Repeat("n", 300), "p/%thaw-dot", "q/" + strings.Repeat("ü", 200) + "/in"}
	for _, key := range keys {
		m.put(key, "body of "+key, backend.Attrs{})
	}
	got := map[string]string{}
	must(t, filepath.Walk(m.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		got[strings.TrimPrefix(string(b), "body of ")] = path
		return err
	}))
	for _, key := range keys {
		if got[key] == "" {
			t.Errorf("key %q cannot be reached", key)
		} else if err := os.Remove(got[key]); err != nil {
			t.Errorf("remove %q: %v", key, err)
		}
	}
	m.drain()
	for _, key := range m.keys() {
		if slices.Contains(keys, key) {
			t.Errorf("key %q is still there", key)
		}
	}
}

func testHidden(t *testing.T) {
	m := mount(t)
	m.put("a", "object", backend.Attrs{})
	m.put("a-b", "between", backend.Attrs{})
	m.put("a/b", "below", backend.Attrs{})
	m.put("e/", "marker data", backend.Attrs{})
	if got := names(t, m.dir); !slices.Equal(got, []string{"%thaw-file-a", "a", "a-b", "e"}) {
		t.Errorf("listed %q", got)
	}
	for path, want := range map[string]string{"%thaw-file-a": "object", "a/b": "below", "e/%thaw-data": "marker data"} {
		if got := m.read(path); got != want {
			t.Errorf("read %s: %q, want %q", path, got, want)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

func testNotUTF8(t *testing.T) {
	m := mount(t)
	name := "caf\xe9 100%"
	m.write(name, "latin")
	m.remount()
	if got := names(t, m.dir); !slices.Equal(got, []string{name}) {
		t.Errorf("listed %q, want %q", got, name)
	}
	if got := m.read(name); got != "latin" {
		t.Errorf("read %q", got)
	}
}

func testLongNames(t *testing.T) {
	m := mount(t)
	if err := os.WriteFile(m.path(strings.Repeat("n", 256)), nil, 0o644); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a name of 256 bytes: %v", err)
	}
	dir := m.dir
	for range 4 {
		dir = filepath.Join(dir, strings.Repeat("d", 240))
		must(t, os.Mkdir(dir, 0o755))
	}
	if err := os.WriteFile(filepath.Join(dir, strings.Repeat("n", 100)), nil, 0o644); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a key of 1,064 bytes: %v", err)
	}
}

func testBuckets(t *testing.T) {
	m := mount(t, func(o *Options) { o.Bucket = "" })
	must(t, os.Mkdir(m.path("photos"), 0o755))
	if got := names(t, m.dir); !slices.Equal(got, []string{"buk", "photos"}) {
		t.Errorf("buckets %q", got)
	}
	m.write("photos/cat", "meow")
	m.write("buk/dog", "woof")
	for _, tt := range []struct {
		what string
		err  error
		want syscall.Errno
	}{
		{"mkdir of a taken name", os.Mkdir(m.path("photos"), 0o755), syscall.EEXIST},
		{"mkdir of a bad name", os.Mkdir(m.path("No_Bucket"), 0o755), syscall.EINVAL},
		{"rmdir of a full bucket", os.Remove(m.path("photos")), syscall.ENOTEMPTY},
		{"a file in the root", os.WriteFile(m.path("file"), nil, 0o644), syscall.EPERM},
		{"rename of a bucket", os.Rename(m.path("photos"), m.path("pictures")), syscall.EPERM},
		{"rename between buckets", os.Rename(m.path("photos/cat"), m.path("buk/cat")), syscall.EXDEV},
		{"an unknown bucket", stat(m.path("nowhere")), syscall.ENOENT},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	must(t, os.Remove(m.path("photos/cat")))
	must(t, os.Remove(m.path("photos")))
	if got := names(t, m.dir); !slices.Equal(got, []string{"buk"}) {
		t.Errorf("buckets after rmdir %q", got)
	}
}

func stat(path string) error { _, err := os.Lstat(path); return err }

func testEmptyDir(t *testing.T) {
	m := mount(t)
	m.put("implied/file", "x", backend.Attrs{})
	must(t, os.MkdirAll(m.path("made/below"), 0o700))
	must(t, os.Remove(m.path("implied/file")))
	m.remount()
	if got := names(t, m.dir); !slices.Equal(got, []string{"implied", "made"}) {
		t.Errorf("listed %q", got)
	}
	fi, err := os.Stat(m.path("made/below"))
	must(t, err)
	if fi.Mode() != os.ModeDir|0o700 {
		t.Errorf("mode %v", fi.Mode())
	}
	must(t, os.RemoveAll(m.path("made")))
	must(t, os.Remove(m.path("implied")))
	m.remount()
	if got := names(t, m.dir); got != nil {
		t.Errorf("left over %q", got)
	}
}

func testMkdirExclusive(t *testing.T) {
	service := newStore(t)
	one, two := mountOn(t, service), mountOn(t, service)
	_ = names(t, two.dir) // what two remembers is that there is nothing
	must(t, os.Mkdir(one.path("lock"), 0o755))
	if err := os.Mkdir(two.path("lock"), 0o755); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the other mount: %v, want EEXIST", err)
	}
	must(t, os.Remove(one.path("lock")))
	one.drain()
	must(t, os.Mkdir(two.path("lock2"), 0o755))
}

func testNotEmpty(t *testing.T) {
	m := mount(t)
	for _, dir := range []string{"full", "empty", "moving"} {
		must(t, os.Mkdir(m.path(dir), 0o755))
	}
	_ = names(t, m.path("full"))
	m.put("full/foreign", "x", backend.Attrs{}) // unknown to the mount
	if err := os.Remove(m.path("full")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir: %v", err)
	}
	m.write("moving/file", "y")
	if err := unix.Rename(m.path("moving"), m.path("full")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rename onto a full directory: %v", err)
	}
	must(t, unix.Rename(m.path("moving"), m.path("empty")))
	if got := m.read("empty/file"); got != "y" {
		t.Errorf("read %q", got)
	}
}

func testListing(t *testing.T) {
	m := mount(t)
	const n = 2500
	for i := range n {
		m.put(fmt.Sprintf("many/%04d", i), "x", backend.Attrs{})
	}
	f, err := os.Open(m.path("many"))
	must(t, err)
	first, err := f.Readdirnames(10)
	must(t, err)
	rest, err := f.Readdirnames(-1)
	must(t, err)
	must(t, f.Close())
	all := append(first, rest...)
	slices.Sort(all)
	if len(all) != n || len(slices.Compact(all)) != n {
		t.Errorf("listed %d names, want %d", len(all), n)
	}
	m.write("many/new", "")
	must(t, os.Remove(m.path("many/0007")))
	got := names(t, m.path("many"))
	if len(got) != n || slices.Contains(got, "0007") || !slices.Contains(got, "new") {
		t.Errorf("after create and unlink: %d names", len(got))
	}
}

func testCloseKeeps(t *testing.T) {
	m := mount(t, func(o *Options) { o.Delay = time.Hour })
	m.write("kept", "bytes")
	must(t, os.Rename(m.path("kept"), m.path("renamed")))
	if got := m.keys(); got != nil {
		t.Fatalf("already uploaded: %q", got)
	}
	m.stop() // leaves the journal as a death would: the writeback package tests kill -9
	m.o.Delay = 0
	m.start()
	if got := m.read("renamed"); got != "bytes" {
		t.Errorf("after the restart: %q", got)
	}
	m.drain()
	if _, got := m.object("renamed"); got != "bytes" {
		t.Errorf("stored %q", got)
	}

	s := mount(t, func(o *Options) { o.Delay, o.SyncClose = time.Hour, true })
	s.write("sync", "bytes")
	if _, got := s.object("sync"); got != "bytes" {
		t.Errorf("-o sync stored %q at close", got)
	}
}

func testFsync(t *testing.T) {
	m := mount(t, func(o *Options) { o.Delay = time.Hour })
	f, err := os.Create(m.path("file"))
	must(t, err)
	for _, content := range []string{"one", "onetwo"} {
		_, err = f.WriteString(content[f3(content):])
		must(t, err)
		must(t, f.Sync())
		if _, got := m.object("file"); got != content {
			t.Errorf("after fsync the store has %q, want %q", got, content)
		}
	}
	must(t, f.Close())
	must(t, os.WriteFile(m.path("other"), []byte("x"), 0o644))
	d, err := os.Open(m.dir)
	must(t, err)
	must(t, d.Sync())
	must(t, d.Close())
	if _, got := m.object("other"); got != "x" {
		t.Errorf("after fsync of the directory the store has %q", got)
	}
}

// f3 is where the second half of "onetwo" begins.
func f3(s string) int { return len(s) - 3 }

func testWhole(t *testing.T) {
	m := mount(t)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- watchWhole(ctx, m.store) }()
	for i := range 50 {
		m.write("file", strings.Repeat(string(rune('a'+i%26)), 10_000+i))
		time.Sleep(5 * time.Millisecond) // lets uploads and writes overlap in any way
	}
	m.drain()
	cancel()
	must(t, <-done)
	if _, got := m.object("file"); got != strings.Repeat("x", 10_049) {
		t.Errorf("the last version did not arrive: %d bytes of %c", len(got), got[0])
	}
}

// watchWhole reads the object again and again: all bytes are equal and their number fits.
func watchWhole(ctx context.Context, store backend.Store) error {
	for ctx.Err() == nil {
		r, err := store.Get(ctx, "file", "", 0, -1)
		if err != nil {
			continue // not there yet
		}
		b, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil || len(b) == 0 { // a child of this process that begins closes its copies of what is open
			continue
		}
		if i := len(b) - 10_000; i < 0 || bytes.Count(b, b[:1]) != len(b) || b[0] != byte('a'+i%26) {
			return fmt.Errorf("the store holds %d bytes, the first %.1q, not whole or not all equal", len(b), b)
		}
	}
	return nil
}

// testWrites compares random operations with a local file.
func testWrites(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, passthrough := range []bool{true, false} {
		m := mount(t)
		m.passthrough.Store(m.passthrough.Load() && passthrough)
		rnd := rand.New(rand.NewPCG(seed, 1))
		path, shadow := m.path("f"), filepath.Join(t.TempDir(), "f")
		for i := range 60 {
			op := randomWrite(rnd)
			must(t, op(path))
			must(t, op(shadow))
			if i%10 == 9 {
				m.drain()
			}
			if i == 40 {
				m.remount()
			}
			got, err := os.ReadFile(path)
			must(t, err)
			want, err := os.ReadFile(shadow)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Fatalf("after operation %d the file differs from a local one: %d and %d bytes", i, len(got), len(want))
			}
		}
	}
}

// randomWrite is an operation on a file by path.
func randomWrite(rnd *rand.Rand) func(path string) error {
	off, n := rnd.Int64N(300_000), rnd.IntN(100_000)
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	open := func(path string, flags int, fn func(*os.File) error) error {
		f, err := os.OpenFile(path, flags, 0o644)
		if err != nil {
			return err
		}
		return errors.Join(fn(f), f.Close())
	}
	switch rnd.IntN(6) {
	case 0:
		return func(path string) error { return os.WriteFile(path, data, 0o644) }
	case 1:
		return func(path string) error {
			return open(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, func(f *os.File) error { _, err := f.Write(data); return err })
		}
	case 2:
		return func(path string) error {
			return open(path, os.O_CREATE|os.O_RDWR, func(f *os.File) error { return f.Truncate(off) })
		}
	case 3:
		return func(path string) error {
			return open(path, os.O_CREATE|os.O_RDWR, func(f *os.File) error {
				if err := f.Truncate(off + int64(n) + 1); err != nil {
					return err
				}
				return writeMapped(path, off, data)
			})
		}
	}
	return func(path string) error {
		return open(path, os.O_CREATE|os.O_RDWR, func(f *os.File) error { _, err := f.WriteAt(data, off); return err })
	}
}

// writeMapped writes through a shared mapping, in another process: a page fault stops a Go
// thread without the scheduler's knowledge, and the file system runs in this process.
func writeMapped(path string, off int64, data []byte) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FS_TEST_MAP="+path, fmt.Sprint("FS_TEST_OFF=", off))
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write through a mapping: %w: %s", err, out)
	}
	return nil
}

// mapAndWrite is what the child of writeMapped does.
func mapAndWrite(path string) error {
	off, err := strconv.Atoi(os.Getenv("FS_TEST_OFF"))
	if err != nil {
		return err
	}
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, off+len(data)+1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(m[off:], data)
	return errors.Join(unix.Munmap(m), f.Close())
}

func testOutlive(t *testing.T) {
	m := mount(t)
	big := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
	for _, key := range []string{"read", "over", "new"} {
		m.put(key, key+big, backend.Attrs{})
	}
	read, err := os.Open(m.path("read"))
	must(t, err)
	over, err := os.Open(m.path("over"))
	must(t, err)
	write, err := os.OpenFile(m.path("written"), os.O_CREATE|os.O_RDWR, 0o644)
	must(t, err)
	must(t, os.Remove(m.path("read")))
	must(t, os.Rename(m.path("new"), m.path("over")))
	_, err = write.WriteString("before")
	must(t, err)
	must(t, os.Remove(m.path("written")))
	_, err = write.WriteString(" and after")
	must(t, err)
	m.drain()
	for f, want := range map[*os.File]string{read: "read" + big, over: "over" + big, write: "before and after"} {
		got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		if err != nil || string(got) != want {
			t.Errorf("%s: read %d bytes, %v, want %d", f.Name(), len(got), err, len(want))
		}
		must(t, f.Close())
	}
	if got := m.read("over"); got != "new"+big {
		t.Errorf("the new file has %d bytes", len(got))
	}
	m.drain()
	if got := m.keys(); !slices.Equal(got, []string{"over"}) {
		t.Errorf("the store has %q", got)
	}
}

func testSeeEachOther(t *testing.T) {
	for _, passthrough := range []bool{true, false} {
		m := mount(t)
		m.passthrough.Store(m.passthrough.Load() && passthrough)
		m.put("f", strings.Repeat("-", 100), backend.Attrs{})
		r, err := os.Open(m.path("f"))
		must(t, err)
		b := make([]byte, 200)
		n, _ := r.ReadAt(b, 0)
		if n != 100 {
			t.Fatalf("read %d bytes, want 100", n)
		}
		w, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
		must(t, err)
		for i, off := range []int64{0, 50, 120} {
			_, err = w.WriteAt([]byte("new"), off)
			must(t, err)
			n, _ = r.ReadAt(b, off)
			if string(b[:min(n, 3)]) != "new" {
				t.Errorf("write %d at %d: the reader got %q", i, off, b[:n])
			}
		}
		must(t, os.Truncate(m.path("f"), 10))
		if n, _ = r.ReadAt(b, 0); n != 10 {
			t.Errorf("after truncate the reader got %d bytes", n)
		}
		must(t, errors.Join(r.Close(), w.Close()))
	}
}

func testOtherMount(t *testing.T) {
	service := newStore(t)
	short := func(o *Options) { o.TTL, o.NegativeTTL = 50*time.Millisecond, 50*time.Millisecond }
	one, two := mountOn(t, service, short), mountOn(t, service, short)
	for i := range 3 {
		want := fmt.Sprintf("version %d", i)
		one.write("f", want)
		one.drain()
		time.Sleep(100 * time.Millisecond) // the time to live that is promised
		if got := two.read("f"); got != want {
			t.Errorf("the other mount read %q, want %q", got, want)
		}
	}
	must(t, os.Remove(two.path("f")))
	two.drain()
	time.Sleep(100 * time.Millisecond)
	if err := stat(one.path("f")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("after unlink by the other mount: %v", err)
	}
}

func testOneVersion(t *testing.T) {
	m := mount(t, func(o *Options) { o.TTL = time.Millisecond })
	m.put("f", strings.Repeat("1", 4<<20), backend.Attrs{})
	f, err := os.Open(m.path("f"))
	must(t, err)
	b := make([]byte, 10)
	_, err = f.ReadAt(b, 0)
	must(t, err)
	m.put("f", strings.Repeat("2", 4<<20), backend.Attrs{})
	for off := int64(0); off < 4<<20; off += 100_000 {
		n, err := f.ReadAt(b, off)
		if err != nil {
			if !errors.Is(err, syscall.ESTALE) {
				t.Errorf("read at %d: %v, want ESTALE", off, err)
			}
			break
		}
		if bytes.Contains(b[:n], []byte("2")) {
			t.Fatalf("at %d the reader of version 1 got %q", off, b[:n])
		}
	}
	must(t, f.Close())
	if got := m.read("f"); got != strings.Repeat("2", 4<<20) {
		t.Errorf("opened anew: %d bytes, first %q", len(got), got[:1])
	}
}

func testConflict(t *testing.T) {
	m := mount(t)
	m.put("dir/f.txt", "base", backend.Attrs{})
	f, err := os.OpenFile(m.path("dir/f.txt"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteString("mine")
	must(t, err)
	m.put("dir/f.txt", "theirs", backend.Attrs{})
	if err := f.Sync(); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("fsync: %v, want ESTALE", err)
	}
	must(t, f.Close())
	m.drain()
	if _, got := m.object("dir/f.txt"); got != "theirs" {
		t.Errorf("the store has %q, want theirs", got)
	}
	var kept []string
	for _, key := range m.keys() {
		if strings.Contains(key, ".conflict-") {
			kept = append(kept, key)
		}
	}
	if len(kept) != 1 {
		t.Fatalf("conflict copies %q in %q, want one", kept, m.keys())
	}
	if got := m.read(kept[0]); got != "mine" {
		t.Errorf("%s has %q, want mine", kept[0], got)
	}
}

func testRename(t *testing.T) {
	m := mount(t)
	must(t, os.MkdirAll(m.path("old/sub"), 0o755))
	for i := range 30 {
		m.write(fmt.Sprintf("old/sub/%02d", i), fmt.Sprint("content ", i))
	}
	m.drain()
	m.write("old/dirty", "not uploaded")
	open, err := os.Open(m.path("old/sub/07"))
	must(t, err)
	must(t, os.Rename(m.path("old"), m.path("new")))
	if err := stat(m.path("old")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the old name: %v", err)
	}
	if got := names(t, m.path("new/sub")); len(got) != 30 {
		t.Errorf("%d files in the new place", len(got))
	}
	if b, err := io.ReadAll(open); err != nil || string(b) != "content 7" {
		t.Errorf("an open file reads %q, %v", b, err)
	}
	must(t, open.Close())
	m.write("target", "old target")
	must(t, os.Rename(m.path("new/sub/03"), m.path("target")))
	if err := unix.Renameat2(unix.AT_FDCWD, m.path("target"), unix.AT_FDCWD, m.path("new/dirty"), unix.RENAME_NOREPLACE); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("RENAME_NOREPLACE: %v", err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, m.path("target"), unix.AT_FDCWD, m.path("new/dirty"), unix.RENAME_WHITEOUT); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("RENAME_WHITEOUT: %v", err)
	}
	for range 2 { // and back
		must(t, unix.Renameat2(unix.AT_FDCWD, m.path("target"), unix.AT_FDCWD, m.path("new/dirty"), unix.RENAME_EXCHANGE))
	}
	m.remount()
	for path, want := range map[string]string{"target": "content 3", "new/dirty": "not uploaded", "new/sub/29": "content 29"} {
		if got := m.read(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, key := range m.keys() {
		if strings.HasPrefix(key, "old") {
			t.Errorf("left behind: %q", key)
		}
	}
}

func testHardLinks(t *testing.T) {
	m := mount(t)
	m.write("f", "x")
	if err := os.Link(m.path("f"), m.path("g")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("link: %v", err)
	}
}

func testAttrsPersist(t *testing.T) {
	m := mount(t)
	when := time.Unix(1_234_567_890, 123_456_789)
	old := time.Unix(-86_400, 5)
	m.write("f", "x")
	must(t, os.Lchown(m.path("f"), 1234, 4321)) // takes the bit, so it is first
	must(t, os.Chmod(m.path("f"), 0o751|os.ModeSetuid))
	must(t, os.Chtimes(m.path("f"), when, when))
	m.write("g", "y")
	m.drain()
	must(t, os.Chmod(m.path("g"), 0o400))
	must(t, os.Chtimes(m.path("g"), old, old))
	must(t, os.Symlink("../some where/ ", m.path("link")))
	must(t, unix.Mkfifo(m.path("fifo"), 0o600))
	must(t, os.Mkdir(m.path("d"), 0o2770))
	must(t, os.Chtimes(m.path("d"), when, when))
	m.remount()
	check := func(name string, mode os.FileMode, mtime time.Time) {
		t.Helper()
		fi, err := os.Lstat(m.path(name))
		must(t, err)
		if fi.Mode() != mode {
			t.Errorf("%s: mode %v, want %v", name, fi.Mode(), mode)
		}
		if !mtime.IsZero() && !fi.ModTime().Equal(mtime) {
			t.Errorf("%s: mtime %v, want %v", name, fi.ModTime(), mtime)
		}
	}
	check("f", 0o751|os.ModeSetuid, when)
	check("g", 0o400, old)
	check("link", 0o777|os.ModeSymlink, time.Time{})
	check("fifo", 0o600|os.ModeNamedPipe, time.Time{})
	check("d", 0o750|os.ModeDir, when) // the umask of the test took a bit
	fi, err := os.Lstat(m.path("f"))
	must(t, err)
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
	if got, err := os.Readlink(m.path("link")); err != nil || got != "../some where/ " {
		t.Errorf("link leads to %q, %v", got, err)
	}
}

func testForeignMeta(t *testing.T) {
	m := mount(t)
	m.put("page.html", "<p>", backend.Attrs{
		Meta:   map[string]string{"author": "somebody"},
		Header: map[string]string{"content-type": "text/html", "cache-control": "max-age=60"},
	})
	if got, err := xattrOf(m.path("page.html"), "user.author"); err != nil || got != "somebody" {
		t.Errorf("as an xattr: %q, %v", got, err)
	}
	must(t, os.Chmod(m.path("page.html"), 0o600))
	must(t, os.WriteFile(m.path("page.html"), []byte("<p>new"), 0o600))
	m.drain()
	obj, body := m.object("page.html")
	if body != "<p>new" || obj.Meta["author"] != "somebody" || obj.Header["content-type"] != "text/html" || obj.Header["cache-control"] != "max-age=60" {
		t.Errorf("stored %q with %v and %v", body, obj.Meta, obj.Header)
	}
}

func testXattrs(t *testing.T) {
	m := mount(t)
	m.write("f", "x")
	must(t, os.Mkdir(m.path("d"), 0o755))
	must(t, unix.Setxattr(m.path("d"), "user.dir", []byte("of a directory"), 0))
	want := "\x00 bytes ü\n"
	must(t, unix.Setxattr(m.path("f"), "user.Note A", []byte(want), 0))
	must(t, unix.Setxattr(m.path("f"), "user.empty", nil, 0))
	m.remount()
	if got, err := xattrOf(m.path("f"), "user.Note A"); err != nil || got != want {
		t.Errorf("user.Note A is %q, %v", got, err)
	}
	if got, err := xattrOf(m.path("d"), "user.dir"); err != nil || got != "of a directory" {
		t.Errorf("user.dir is %q, %v", got, err)
	}
	// Version 2; owner rwx, group r-x, others none.
	acl := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x04\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	if err := unix.Setxattr(m.path("d"), "system.posix_acl_access", []byte(acl), 0); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("ACL of a directory: %v", err) // cp -a goes on with chmod
	}
	list := make([]byte, 1000)
	n, err := unix.Listxattr(m.path("f"), list)
	must(t, err)
	if got := string(list[:n]); got != "user.Note A\x00user.empty\x00" {
		t.Errorf("listed %q", got)
	}
	must(t, unix.Removexattr(m.path("f"), "user.empty"))
	if _, err := xattrOf(m.path("f"), "user.empty"); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("removed: %v", err)
	}
	if err := unix.Setxattr(m.path("f"), "user.big", make([]byte, 3000), 0); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("3000 bytes: %v", err)
	}
	if err := unix.Setxattr(m.path("f"), "trusted.x", []byte("v"), 0); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("trusted.x: %v", err)
	}
	obj, _ := m.object("f")
	if got, err := xattrOf(m.path("f"), "user.thawfs.etag"); err != nil || got != obj.ETag {
		t.Errorf("etag %q, %v, want %q", got, err, obj.ETag)
	}
	if got, err := xattrOf(m.path("f"), "user.thawfs.state"); err != nil || got != "online" {
		t.Errorf("state %q, %v", got, err)
	}
}

func xattrOf(path, name string) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Getxattr(path, name, b)
	return string(b[:max(n, 0)]), err
}

func testDirTimes(t *testing.T) {
	m := mount(t)
	must(t, os.Mkdir(m.path("d"), 0o755))
	when := time.Unix(1_000_000_000, 0)
	must(t, os.Chtimes(m.path("d"), when, when))
	mtime := func() time.Time {
		fi, err := os.Stat(m.path("d"))
		must(t, err)
		return fi.ModTime()
	}
	if !mtime().Equal(when) {
		t.Errorf("set to %v, is %v", when, mtime())
	}
	m.write("d/f", "x")
	if !mtime().After(when) {
		t.Errorf("a new file did not move the time from %v", mtime())
	}
	must(t, os.Chtimes(m.path("d"), when, when))
	m.remount()
	if !mtime().Equal(when) {
		t.Errorf("after a remount %v, want %v", mtime(), when)
	}
}

func testStatfs(t *testing.T) {
	m := mount(t, func(o *Options) { o.SpoolSize = 1 << 20; o.Delay = time.Hour })
	var st unix.Statfs_t
	must(t, unix.Statfs(m.dir, &st))
	if st.Bsize == 0 || st.Frsize == 0 || int64(st.Bavail)*st.Frsize != 1<<50 || st.Namelen != 255 {
		t.Errorf("statfs %+v", st)
	}
}

func testStub(t *testing.T) {
	m := mount(t)
	m.put("cold", strings.Repeat("x", 100_000), backend.Attrs{Class: "GLACIER"})
	m.put("empty", "", backend.Attrs{Class: "GLACIER"})
	fi, err := os.Stat(m.path("cold"))
	must(t, err)
	st := fi.Sys().(*syscall.Stat_t)
	if fi.Size() != 100_000 || st.Blocks != 1 || fi.Mode() != 0o644 {
		t.Errorf("size %d, blocks %d, mode %v", fi.Size(), st.Blocks, fi.Mode())
	}
	if got, err := xattrOf(m.path("cold"), "user.thawfs.state"); err != nil || got != "archived" {
		t.Errorf("state %q, %v", got, err)
	}
	if n := blocksOf(t, m.path("empty")); n != 0 {
		t.Errorf("an empty stub has %d blocks", n)
	}
	if got := m.read("empty"); got != "" {
		t.Errorf("read %q of an empty stub", got)
	}
	thawed(t, m.path("cold"))
	if n := blocksOf(t, m.path("cold")); n != 196 {
		t.Errorf("restored it has %d blocks", n)
	}
}

func blocksOf(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Blocks
}

func testStubHere(t *testing.T) {
	m := mount(t, func(o *Options) { o.Class = func(backend.Ref) string { return "DEEP_ARCHIVE" } })
	big := strings.Repeat("written here ", 10_000)
	m.write("a", big)
	m.write("b", big)
	m.drain()
	m.stop()
	m.start()
	if obj, err := m.store.Head(t.Context(), "a"); err != nil || obj.State != backend.Archived {
		t.Fatalf("%v, %v", obj.State, err)
	}
	if n := blocksOf(t, m.path("a")); n != 254 {
		t.Errorf("%d blocks", n)
	}
	if got := m.read("a"); got != big {
		t.Errorf("read %d bytes", len(got))
	}
	f, err := os.OpenFile(m.path("b"), os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	must(t, err)
	_, err = f.WriteString("more")
	must(t, errors.Join(err, f.Close()))
	if got := m.read("b"); got != big+"more" {
		t.Errorf("after an edit %d bytes", len(got))
	}
	if jobs := m.Recall().Jobs(); len(jobs) != 0 {
		t.Errorf("started %+v", jobs)
	}
	m.remount()
	if _, err := os.ReadFile(m.path("a")); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("without the cache: %v", err)
	}

	w := mount(t, func(o *Options) { o.Recall.Wait = 50 * time.Millisecond })
	obj := w.put("a", big, backend.Attrs{Class: "GLACIER"})
	if _, err := os.ReadFile(w.path("a")); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("it did not wait in vain: %v", err)
	}
	eventually(t, "it is in the cache", func() bool { return w.blocks.Whole(backend.Ref{Bucket: "buk", Key: "a"}, obj) })
	w.lapse("a")
	if got := w.read("a"); got != big {
		t.Errorf("read %d bytes of what was waited for", len(got))
	}
}

// lapse ends the restored copy of key.
func (m *mounted) lapse(key string) {
	m.t.Helper()
	must(m.t, m.store.(backend.Restorer).Restore(m.t.Context(), key, backend.RestoreOptions{Keep: time.Nanosecond}))
	m.entries.Drop(backend.Ref{Bucket: "buk", Key: key})
}

// eventually waits for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%s: not within half a minute", what)
		}
	}
}

func testStubOpen(t *testing.T) {
	m := mount(t)
	m.put("a", "cold bytes", backend.Attrs{Class: "GLACIER"})
	if fd, err := unix.Open(m.path("a"), unix.O_RDONLY|unix.O_NONBLOCK, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("open with O_NONBLOCK: %d, %v", fd, err)
	}
	if jobs := m.Recall().Jobs(); len(jobs) != 0 {
		t.Errorf("O_NONBLOCK started %+v", jobs)
	}
	for range 3 {
		if _, err := os.OpenFile(m.path("a"), os.O_RDWR|os.O_APPEND, 0); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("append: %v", err)
		}
		if _, err := os.ReadFile(m.path("a")); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("read: %v", err)
		}
	}
	if jobs := m.Recall().Jobs(); len(jobs) != 1 || m.Recall().Budget().Objects != 1 {
		t.Errorf("jobs %+v, budget %+v", jobs, m.Recall().Budget())
	}
	if got := thawed(t, m.path("a")); got != "cold bytes" {
		t.Errorf("read %q", got)
	}

	w := mount(t, func(o *Options) { o.Recall.Wait = time.Minute })
	w.put("a", "cold bytes", backend.Attrs{Class: "DEEP_ARCHIVE"})
	if got := w.read("a"); got != "cold bytes" {
		t.Errorf("waited for %q", got)
	}
	testLapseOpen(t)
}

// testLapseOpen ends the copies of open files.
func testLapseOpen(t *testing.T) {
	m := mount(t)
	open := map[string]*os.File{}
	keys := []string{"read", "rm", "over"}
	for _, key := range keys {
		m.put(key, "cold bytes", backend.Attrs{Class: "GLACIER"})
	}
	for _, key := range keys {
		must(t, unix.Setxattr(m.path(key), "user.thawfs.restore", nil, 0))
	}
	for _, key := range keys {
		eventually(t, key+" is back", func() bool {
			got, err := xattrOf(m.path(key), "user.thawfs.job")
			return err == nil && got == "restored"
		})
		var err error
		open[key], err = os.Open(m.path(key))
		must(t, err)
		m.lapse(key)
	}
	must(t, os.Remove(m.path("rm")))
	m.write("new", "new")
	must(t, os.Rename(m.path("new"), m.path("over")))
	for key, want := range map[string]error{"read": syscall.ETIMEDOUT, "rm": syscall.ESTALE, "over": syscall.ESTALE} {
		buf := make([]byte, 100)
		if n, err := open[key].ReadAt(buf, 0); n != 0 || !errors.Is(err, want) {
			t.Errorf("%s: read %q, %v, want %v", key, buf[:n], err, want)
		}
	}
	buf := make([]byte, 10)
	eventually(t, "it is back again", func() bool { n, _ := open["read"].ReadAt(buf, 0); return n == 10 })
	if string(buf) != "cold bytes" {
		t.Errorf("read %q", buf)
	}
	for _, f := range open {
		must(t, f.Close())
	}
}

// thawed reads a stub again and again until it is back.
func thawed(t *testing.T, path string) string {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err == nil {
			return string(b)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
	t.Fatalf("%s did not come back", path)
	return ""
}

func testStubGoes(t *testing.T) {
	m := mount(t)
	for _, key := range []string{"a", "b", "c", "dir/d", "dir/warm"} {
		m.put(key, "cold bytes", backend.Attrs{Class: "GLACIER"})
	}
	m.put("dir/warm", "warm", backend.Attrs{})
	m.put("link", "target", backend.Attrs{Class: "GLACIER", Meta: map[string]string{"mode": "41471"}})
	for _, name := range []string{"a", "dir"} {
		if err := os.Rename(m.path(name), m.path("new")); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("rename of %s: %v", name, err)
		}
	}
	must(t, os.WriteFile(m.path("a"), []byte("new"), 0o644))
	must(t, os.Truncate(m.path("b"), 0))
	must(t, os.Remove(m.path("c")))
	m.drain()
	if _, got := m.object("a"); got != "new" {
		t.Errorf("overwritten: %q", got)
	}
	if jobs := m.Recall().Jobs(); len(jobs) != 0 {
		t.Errorf("started %+v", jobs)
	}
	if got := m.keys(); !slices.Equal(got, []string{"a", "b", "dir/d", "dir/warm", "link"}) {
		t.Errorf("keys %q", got)
	}

	if to, err := os.Readlink(m.path("link")); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("an archived link leads to %q, %v", to, err)
	}
	if jobs := m.Recall().Jobs(); len(jobs) != 0 {
		t.Errorf("the link started %+v", jobs)
	}
	thawed(t, m.path("dir/d"))
	must(t, os.Rename(m.path("dir"), m.path("new")))
	if got, err := xattrOf(m.path("new/d"), "user.thawfs.state"); err != nil || got != "archived" || m.read("new/warm") != "warm" {
		t.Errorf("renamed after a retrieval: %q, %v", got, err)
	}
}

func testStubAttrs(t *testing.T) {
	m := mount(t)
	m.put("a", "cold bytes", backend.Attrs{Class: "GLACIER"})
	m.put("b", "cold bytes", backend.Attrs{Class: "GLACIER"})
	when := time.Unix(1_111_111_111, 5)
	must(t, os.Chmod(m.path("a"), 0o600))
	must(t, os.Chtimes(m.path("a"), when, when))
	m.drain()
	m.stop()
	m.start()
	fi, err := os.Stat(m.path("a"))
	must(t, err)
	if fi.Mode() != 0o600 || !fi.ModTime().Equal(when) || fi.Size() != 10 {
		t.Errorf("after a restart: %v %v %d", fi.Mode(), fi.ModTime(), fi.Size())
	}
	must(t, os.WriteFile(m.path("a"), []byte("new"), 0o644))
	m.remount()
	fi, err = os.Stat(m.path("a"))
	must(t, err)
	if fi.Mode() != 0o600 {
		t.Errorf("written anew: %v", fi.Mode())
	}

	thawed(t, m.path("b"))
	must(t, os.Chmod(m.path("b"), 0o600))
	m.drain()
	m.stop()
	m.start()
	if obj, _ := m.object("b"); obj.State != backend.Restored {
		t.Errorf("chmod of a restored file: now it is %v", obj.State)
	}
	if fi, err = os.Stat(m.path("b")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("after a restart: %v, %v", fi.Mode(), err)
	}
	must(t, unix.Setxattr(m.path("b"), "user.thawfs.class", []byte("STANDARD"), 0))
	m.remount()
	if fi, err = os.Stat(m.path("b")); err != nil || fi.Mode() != 0o600 || m.read("b") != "cold bytes" {
		t.Errorf("moved: %v, %v", fi.Mode(), err)
	}
}

func testStubXattrs(t *testing.T) {
	m := mount(t)
	m.put("a", "cold bytes", backend.Attrs{Class: "GLACIER"})
	path := m.path("a")
	must(t, unix.Setxattr(path, "user.thawfs.restore", []byte("tier=Bulk,days=2"), 0))
	if got, err := xattrOf(path, "user.thawfs.job"); err != nil || got == "" {
		t.Errorf("job %q, %v", got, err)
	}
	if err := unix.Setxattr(path, "user.thawfs.restore", []byte("speed=9"), 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("an unknown field: %v", err)
	}
	if got := thawed(t, path); got != "cold bytes" {
		t.Errorf("read %q", got)
	}
	for name, want := range map[string]string{"state": "restored", "class": "GLACIER"} {
		if got, err := xattrOf(path, "user.thawfs."+name); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := xattrOf(path, "user.thawfs.until"); err != nil || got == "" {
		t.Errorf("until %q, %v", got, err)
	}
	if n, err := unix.Listxattr(path, make([]byte, 100)); err != nil || n != 0 {
		t.Errorf("listed %d bytes, %v", n, err)
	}
	m.write("warm", "bytes")
	must(t, unix.Setxattr(m.path("warm"), "user.thawfs.class", []byte("GLACIER"), 0))
	if got, err := xattrOf(m.path("warm"), "user.thawfs.class"); err != nil || got != "GLACIER" {
		t.Errorf("moved to class %q, %v", got, err)
	}
	m.remount()
	if got, err := xattrOf(m.path("warm"), "user.thawfs.state"); err != nil || got != "archived" {
		t.Errorf("moved to the archive: %q, %v", got, err)
	}
	if got := thawed(t, m.path("warm")); got != "bytes" {
		t.Errorf("read %q", got)
	}
}
