package fs

import (
	"bytes"
	"maps"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

const (
	reg  = syscall.S_IFREG
	dir  = syscall.S_IFDIR
	lnk  = syscall.S_IFLNK
	fifo = syscall.S_IFIFO
	sock = syscall.S_IFSOCK
	chr  = syscall.S_IFCHR
	blk  = syscall.S_IFBLK
)

func testDefaults() defaults {
	return defaults{UID: 500, GID: 600, FileMode: 0o644, DirMode: 0o755}
}

// stored is when the store says that a test's object was changed.
func stored() time.Time { return time.Unix(1_600_000_000, 0) }

type metadata map[string]string

func TestRootIsAnOwner(t *testing.T) {
	a := decodeAttr(backend.Object{Key: "f", Attrs: backend.Attrs{Meta: metadata{"uid": "0", "gid": "0"}}}, testDefaults())
	if a.UID != 0 || a.GID != 0 {
		t.Errorf("owner %d, %d, want root", a.UID, a.GID)
	}
}

// Owners and times that are not wanted explicitly are the defaults.
func TestDialects(t *testing.T) {
	at := func(sec, nsec int64) time.Time { return time.Unix(sec, nsec) }
	for _, tt := range []struct {
		name   string
		key    string
		size   int64
		meta   metadata
		header metadata
		want   fileAttr
	}{
		{"nothing", "f", 1, nil, nil, fileAttr{Mode: reg | 0o644}},
		{"nothing of a directory", "d/", 0, nil, nil, fileAttr{Mode: dir | 0o755}},
		{"rubbish", "f", 1, metadata{"mode": "rw-r--r--", "uid": "root", "gid": "-1", "mtime": "yesterday", "atime": "1.2.3", "xattr": "%zz{"}, nil, fileAttr{Mode: reg | 0o644}},

		{
			"s3fs file", "f", 1,
			metadata{"mode": "33152", "uid": "1", "gid": "1000", "mtime": "1700000000.123456789", "ctime": "1700000001", "atime": "1700000002.000000001"},
			nil,
			fileAttr{Mode: reg | 0o600, UID: 1, GID: 1000, Mtime: at(1_700_000_000, 123456789), Ctime: at(1_700_000_001, 0), Atime: at(1_700_000_002, 1)},
		},
		{
			"s3fs directory", "d/", 0,
			metadata{"mode": "16832", "uid": "7", "gid": "8", "mtime": "1700000000"},
			metadata{"content-type": "application/x-directory"},
			fileAttr{Mode: dir | 0o700, UID: 7, GID: 8, Mtime: at(1_700_000_000, 0)},
		},
		{"s3fs old directory", "d", 0, metadata{"mode": "16877"}, nil, fileAttr{Mode: dir | 0o755}},
		{
			"s3fs link", "l", 9,
			metadata{"mode": "41471", "mtime": "1700000000"},
			metadata{"content-type": "application/octet-stream"},
			fileAttr{Mode: lnk | 0o777, Mtime: at(1_700_000_000, 0)},
		},
		{"s3fs fifo", "p", 0, metadata{"mode": "4516"}, nil, fileAttr{Mode: fifo | 0o644}},
		{"s3fs socket", "s", 0, metadata{"mode": "49645"}, nil, fileAttr{Mode: sock | 0o755}},
		{"s3fs device", "c", 0, metadata{"mode": "8612"}, nil, fileAttr{Mode: chr | 0o644}},
		{
			"s3fs xattr", "f", 1,
			metadata{"xattr": "%7B%22user.a%22%3A%22AQI%3D%22%2C%22system.posix_acl_access%22%3A%22AgAAAA%3D%3D%22%7D"},
			nil,
			fileAttr{Mode: reg | 0o644, Xattrs: map[string][]byte{"user.a": {1, 2}, "system.posix_acl_access": {2, 0, 0, 0}}},
		},
		{"s3sync", "f", 1, metadata{"permissions": "420", "owner": "3", "group": "4"}, nil, fileAttr{Mode: reg | 0o644, UID: 3, GID: 4}},
		{"owner is a name", "f", 1, metadata{"owner": "alice", "group": "users"}, nil, fileAttr{Mode: reg | 0o644}},

		{"rclone", "f", 1, metadata{"mtime": "1700000000.5", "md5chksum": "1B2M2Y8AsgTpgAmY7PhCfg=="}, nil, fileAttr{Mode: reg | 0o644, Mtime: at(1_700_000_000, 5e8)}},
		{
			"rclone --metadata", "f", 1,
			metadata{"mode": "100755", "uid": "1", "gid": "2", "mtime": "1700000000", "atime": "2023-11-14T22:13:20.25Z", "btime": "2023-11-14T22:13:20Z"},
			nil,
			fileAttr{Mode: reg | 0o755, UID: 1, GID: 2, Mtime: at(1_700_000_000, 0), Atime: at(1_700_000_000, 25e7)},
		},
		{"rclone directory", "d/", 0, metadata{"mode": "42755", "mtime": "1700000000"}, nil, fileAttr{Mode: dir | 0o2755, Mtime: at(1_700_000_000, 0)}},

		{"geesefs", "f", 1, metadata{"mode": "33261", "uid": "1", "gid": "2", "mtime": "1700000000"}, nil, fileAttr{Mode: reg | 0o755, UID: 1, GID: 2, Mtime: at(1_700_000_000, 0)}},
		{"geesefs link", "l", 0, metadata{"--symlink-target": "../a%25b/%D1%8F"}, nil, fileAttr{Mode: lnk | 0o777, Target: "../a%b/я"}},
		{"geesefs link of another escape", "l", 0, metadata{"--symlink-target": "100%"}, nil, fileAttr{Mode: lnk | 0o777, Target: "100%"}},
		{"geesefs link that has bytes", "l", 5, metadata{"--symlink-target": "a"}, nil, fileAttr{Mode: reg | 0o644}},
		{"geesefs device", "b", 0, metadata{"mode": "25008", "rdev": "2049"}, nil, fileAttr{Mode: blk | 0o660, Rdev: 2049}},

		{
			"Amazon", "f", 1,
			metadata{"file-permissions": "0100640", "file-owner": "1", "file-group": "2", "file-mtime": "1700000000000000005ns", "file-atime": "1699999999500000000ns"},
			nil,
			fileAttr{Mode: reg | 0o640, UID: 1, GID: 2, Mtime: at(1_700_000_000, 5), Atime: at(1_699_999_999, 5e8)},
		},
		{"Amazon directory", "d/", 0, metadata{"file-permissions": "0040700"}, nil, fileAttr{Mode: dir | 0o700}},
		{"Amazon link", "l", 3, metadata{"file-permissions": "0120777"}, nil, fileAttr{Mode: lnk | 0o777}},

		{
			"gsutil -P", "f", 1,
			metadata{"goog-reserved-posix-mode": "640", "goog-reserved-posix-uid": "1", "goog-reserved-posix-gid": "2", "goog-reserved-file-mtime": "1700000000"},
			nil,
			fileAttr{Mode: reg | 0o640, UID: 1, GID: 2, Mtime: at(1_700_000_000, 0)},
		},
		{"gcsfuse", "f", 1, metadata{"gcsfuse_mtime": "2023-11-14T22:13:20.000000007Z", "goog-reserved-file-mtime": "5"}, nil, fileAttr{Mode: reg | 0o644, Mtime: at(1_700_000_000, 7)}},
		{"gcsfuse link", "l", 4, metadata{"goog-reserved-file-is-symlink": "true"}, nil, fileAttr{Mode: lnk | 0o777}},
		{"gcsfuse link before 3.9", "l", 0, metadata{"gcsfuse_symlink_target": "a/b"}, nil, fileAttr{Mode: lnk | 0o777, Target: "a/b"}},

		{"svfs directory", "d", 0, nil, metadata{"content-type": "application/directory"}, fileAttr{Mode: dir | 0o755}},
		{"svfs link", "l", 0, metadata{"symlink-target": "a/b"}, metadata{"content-type": "application/link"}, fileAttr{Mode: lnk | 0o777, Target: "a/b"}},
		{"a target of no link", "l", 0, metadata{"symlink-target": "a/b"}, nil, fileAttr{Mode: reg | 0o644}},
		{"swiftclient", "f", 1, metadata{"mtime": "1700000000.250000"}, nil, fileAttr{Mode: reg | 0o644, Mtime: at(1_700_000_000, 25e7)}},
		{"hubiC", "f", 1, metadata{"hubiclocallastmodified": "2023-11-14T22:13:20Z"}, nil, fileAttr{Mode: reg | 0o644, Mtime: at(1_700_000_000, 0)}},

		{"Nextcloud directory", "d", 0, nil, metadata{"content-type": "httpd/unix-directory; charset=x"}, fileAttr{Mode: dir | 0o755}},
		{"blobfuse directory", "d", 0, metadata{"hdi_isfolder": "true"}, nil, fileAttr{Mode: dir | 0o755}},
		{"blobfuse link", "l", 4, metadata{"is_symlink": "true"}, nil, fileAttr{Mode: lnk | 0o777}},

		{"a directory that has bytes", "d", 7, metadata{"mode": "16877"}, metadata{"content-type": "application/x-directory"}, fileAttr{Mode: reg | 0o644}},
		{"a fifo that has bytes", "p", 7, metadata{"mode": "4516"}, nil, fileAttr{Mode: reg | 0o644}},
		{"a link to nothing", "l", 0, metadata{"mode": "41471"}, nil, fileAttr{Mode: reg | 0o644}},
		{"a link too long to be one", "l", 5000, metadata{"mode": "41471"}, nil, fileAttr{Mode: reg | 0o644}},
		{"a marker with bytes", "d/", 7, nil, nil, fileAttr{Mode: dir | 0o755}},
		{"a marker of a file's mode", "d/", 0, metadata{"mode": "33188"}, nil, fileAttr{Mode: dir | 0o644}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			obj := backend.Object{Key: tt.key, Size: tt.size, ModTime: stored(), Attrs: backend.Attrs{Meta: tt.meta, Header: tt.header}}
			want := tt.want
			if want.UID == 0 {
				want.UID, want.GID = 500, 600
			}
			if want.Mtime.IsZero() {
				want.Mtime = stored()
			}
			wantAttr(t, decodeAttr(obj, testDefaults()), want)
		})
	}
}

func wantAttr(t interface {
	Helper()
	Errorf(string, ...any)
}, got, want fileAttr,
) {
	t.Helper()
	if got.Mode != want.Mode {
		t.Errorf("mode %o, want %o", got.Mode, want.Mode)
	}
	if got.UID != want.UID || got.GID != want.GID || got.Rdev != want.Rdev || got.Target != want.Target {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !got.Mtime.Equal(want.Mtime) || !got.Ctime.Equal(want.Ctime) || !got.Atime.Equal(want.Atime) {
		t.Errorf("times %v, %v, %v; want %v, %v, %v", got.Mtime, got.Ctime, got.Atime, want.Mtime, want.Ctime, want.Atime)
	}
	if !maps.EqualFunc(got.Xattrs, want.Xattrs, bytes.Equal) {
		t.Errorf("xattrs %q, want %q", got.Xattrs, want.Xattrs)
	}
}

func TestEncodeWritesTheDialectOfS3fs(t *testing.T) {
	a := fileAttr{Mode: reg | 0o644, UID: 500, GID: 600, Mtime: time.Unix(1_700_000_000, 5)}
	got := a.encode(backend.Attrs{})
	want := map[string]string{"mode": "33188", "uid": "500", "gid": "600", "mtime": "1700000000.000000005"}
	if !maps.Equal(got.Meta, want) || len(got.Header) > 0 {
		t.Errorf("encode = %v, want %v alone", got, want)
	}
	a.Mode = dir | 0o755
	if got := a.encode(backend.Attrs{}); got.Meta["mode"] != "16877" || got.Header["content-type"] != "application/x-directory" {
		t.Errorf("encode of a directory = %v", got)
	}
	a.Mode, a.Rdev = blk|0o660, 2049
	if got := a.encode(backend.Attrs{}); got.Meta["mode"] != "25008" || got.Meta["thawfs-rdev"] != "2049" {
		t.Errorf("encode of a device = %v", got)
	}
	a.Mode, a.Xattrs = lnk|0o777, map[string][]byte{"user.a": {1, 2}, "system.posix_acl_access": {2}}
	if got := a.encode(backend.Attrs{}); got.Meta["mode"] != "41471" || got.Meta["xattr"] != "%7B%22system.posix_acl_access%22:%22Ag==%22,%22user.a%22:%22AQI=%22%7D" {
		t.Errorf("encode of a link = %v", got)
	}
}

// A change of attributes of an object that another tool made.
func TestEncodeCorrectsOtherDialects(t *testing.T) {
	now := time.Unix(1_700_000_000, 5)
	for _, tt := range []struct {
		name      string
		a         fileAttr
		old, want backend.Attrs
	}{
		{
			"foreign ones stay",
			fileAttr{Mode: reg | 0o600, UID: 1, GID: 2},
			backend.Attrs{Class: "GLACIER", Header: metadata{"content-type": "text/plain", "cache-control": "no-store"}, Meta: metadata{"color": "red", "owner": "alice", "md5chksum": "x", "btime": "y", "xattr-a": "00"}},
			backend.Attrs{Class: "GLACIER", Header: metadata{"content-type": "text/plain", "cache-control": "no-store"}, Meta: metadata{"color": "red", "owner": "alice", "md5chksum": "x", "btime": "y", "xattr-a": "00"}},
		},
		{
			"Amazon",
			fileAttr{Mode: reg | 0o600, UID: 1, GID: 2},
			backend.Attrs{Meta: metadata{"file-permissions": "0100644", "file-owner": "0", "file-group": "0", "file-mtime": "1ns", "file-atime": "1ns"}},
			backend.Attrs{Meta: metadata{"file-permissions": "0100600", "file-owner": "1", "file-group": "2", "file-mtime": "1700000000000000005ns"}},
		},
		{
			"Google",
			fileAttr{Mode: reg | 0o4600, UID: 1, GID: 2},
			backend.Attrs{Meta: metadata{"goog-reserved-posix-mode": "644", "goog-reserved-posix-uid": "0", "goog-reserved-posix-gid": "0", "gcsfuse_mtime": "2020-01-01T00:00:00Z", "goog-reserved-file-mtime": "1"}},
			backend.Attrs{Meta: metadata{"goog-reserved-posix-mode": "4600", "goog-reserved-posix-uid": "1", "goog-reserved-posix-gid": "2", "gcsfuse_mtime": "2023-11-14T22:13:20.000000005Z", "goog-reserved-file-mtime": "1700000000"}},
		},
		{
			"s3sync",
			fileAttr{Mode: reg | 0o600, UID: 1, GID: 2},
			backend.Attrs{Meta: metadata{"permissions": "420", "owner": "0", "group": "0"}},
			backend.Attrs{Meta: metadata{"permissions": "384", "owner": "1", "group": "2"}},
		},
		{
			"link of metadata that stays one",
			fileAttr{Mode: lnk | 0o777, UID: 1, GID: 2, Target: "t"},
			backend.Attrs{Header: metadata{"content-type": "application/link"}, Meta: metadata{"symlink-target": "t"}},
			backend.Attrs{Header: metadata{"content-type": "application/link"}, Meta: metadata{"symlink-target": "t"}},
		},
		{
			"link of metadata whose body is the target now",
			fileAttr{Mode: lnk | 0o777, UID: 1, GID: 2},
			backend.Attrs{Header: metadata{"content-type": "application/link"}, Meta: metadata{"symlink-target": "t", "is_symlink": "true"}},
			backend.Attrs{Meta: metadata{"is_symlink": "true"}},
		},
		{
			"link that is a file now",
			fileAttr{Mode: reg | 0o644, UID: 1, GID: 2},
			backend.Attrs{Meta: metadata{"--symlink-target": "t", "gcsfuse_symlink_target": "t", "goog-reserved-file-is-symlink": "true", "is_symlink": "true"}},
			backend.Attrs{},
		},
		{
			"directory that is a file now",
			fileAttr{Mode: reg | 0o644, UID: 1, GID: 2},
			backend.Attrs{Header: metadata{"content-type": "application/directory"}, Meta: metadata{"hdi_isfolder": "true"}},
			backend.Attrs{},
		},
		{
			"directory of Swift",
			fileAttr{Mode: dir | 0o755, UID: 1, GID: 2},
			backend.Attrs{Header: metadata{"content-type": "application/directory"}},
			backend.Attrs{Header: metadata{"content-type": "application/directory"}},
		},
		{
			"device that is a file now",
			fileAttr{Mode: reg | 0o644, UID: 1, GID: 2},
			backend.Attrs{Meta: metadata{"thawfs-rdev": "1", "rdev": "1"}},
			backend.Attrs{},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.a.Mtime = now
			before := backend.Attrs{Meta: maps.Clone(tt.old.Meta), Header: maps.Clone(tt.old.Header), Class: tt.old.Class}
			got := tt.a.encode(tt.old)
			if !reflect.DeepEqual(before, tt.old) {
				t.Errorf("encode changed its argument to %v", tt.old)
			}
			want := map[string]string{"uid": "1", "gid": "2", "mtime": "1700000000.000000005", "mode": got.Meta["mode"]}
			maps.Copy(want, tt.want.Meta)
			if !maps.Equal(got.Meta, want) || !maps.Equal(got.Header, tt.want.Header) || got.Class != tt.want.Class {
				t.Errorf("encode = %v, want %v, %v", got, want, tt.want.Header)
			}
			obj := backend.Object{Key: "f", ModTime: stored(), Attrs: got}
			if tt.a.Mode&syscall.S_IFMT == lnk && tt.a.Target == "" {
				obj.Size = 1
			}
			wantAttr(t, decodeAttr(obj, testDefaults()), tt.a)
		})
	}
}

// An xattr header that cannot be read is not ours to throw away.
func TestUnreadableXattrsSurvive(t *testing.T) {
	old := backend.Attrs{Meta: metadata{"xattr": "{user.a}"}}
	a := decodeAttr(backend.Object{Key: "f", Attrs: old}, testDefaults())
	if got := a.encode(old); got.Meta["xattr"] != "{user.a}" {
		t.Errorf("encode = %v", got.Meta)
	}
}

func TestForNewContentDropsChecksums(t *testing.T) {
	old := backend.Attrs{Meta: metadata{"md5chksum": "x", "color": "red"}, Class: "c"}
	got := forNewContent(old)
	if !maps.Equal(got.Meta, metadata{"color": "red"}) || got.Class != "c" || len(old.Meta) != 2 {
		t.Errorf("forNewContent = %v, of %v", got, old)
	}
}

func TestMetaSizeCountsNamesAndValues(t *testing.T) {
	if got := metaSize(backend.Attrs{Meta: metadata{"ab": "cde", "é": ""}}); got != 2*11+2+3+2 {
		t.Errorf("metaSize = %d", got)
	}
	a := fileAttr{Xattrs: map[string][]byte{"user.a": bytes.Repeat([]byte{0xff}, 2048)}}
	if got := metaSize(a.encode(backend.Attrs{})); got <= maxMeta {
		t.Errorf("metaSize of 2 KiB of xattrs = %d", got)
	}
}

func drawAttr(t *rapid.T) fileAttr {
	drawTime := func(label string, none bool) time.Time {
		if none && rapid.Bool().Draw(t, label+" is not stored") {
			return time.Time{}
		}
		sec := rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64Range(-1<<40, 1<<40)).Draw(t, label)
		return time.Unix(sec, rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 999_999_999)).Draw(t, label+" ns"))
	}
	types := []uint32{reg, dir, lnk, fifo, sock, chr, blk}
	a := fileAttr{
		Mode:  rapid.SampledFrom(types).Draw(t, "type") | rapid.Uint32Range(0, 0o7777).Draw(t, "permissions"),
		UID:   rapid.Uint32().Draw(t, "uid"),
		GID:   rapid.Uint32().Draw(t, "gid"),
		Mtime: drawTime("mtime", false), Ctime: drawTime("ctime", true), Atime: drawTime("atime", true),
	}
	if isDevice(a.Mode) {
		a.Rdev = rapid.Uint32().Draw(t, "rdev")
	}
	name := rapid.OneOf(rapid.StringN(1, 20, -1), rapid.StringOf(rapid.RuneFrom([]rune(`"\,:{}%+ x`))), rapid.Just("\xff%"))
	names := name.Filter(func(s string) bool { return !strings.Contains(s, "\x00") })
	for _, n := range rapid.SliceOfN(names, 0, 4).Draw(t, "xattrs") {
		if a.Xattrs == nil {
			a.Xattrs = map[string][]byte{}
		}
		a.Xattrs["user."+n] = rapid.SliceOf(rapid.Byte()).Draw(t, "value")
	}
	return a
}

func TestAttributesRoundTrip(t *testing.T) {
	foreign := []string{"", "x", "420", "0100644", "100644", "10644", "1700000000.5", "2023-11-14T22:13:20Z", "5ns", "%7B%7D", "true"}
	names := append([]string{
		"mode", "permissions", "file-permissions", "xattr", "mtime", "file-mtime", "gcsfuse_mtime", "ctime", "atime", "file-atime",
		"hdi_isfolder", "other",
	}, uidNames...)
	rapid.Check(t, func(t *rapid.T) {
		old := backend.Attrs{Meta: rapid.MapOf(rapid.SampledFrom(append(names, rdevNames...)), rapid.SampledFrom(foreign)).Draw(t, "old")}
		a := drawAttr(t)
		attrs := a.encode(old)
		obj := backend.Object{Key: "f", ModTime: stored(), Attrs: attrs}
		want := a
		switch a.Mode & syscall.S_IFMT {
		case dir:
			obj.Key = rapid.SampledFrom([]string{"d", "d/"}).Draw(t, "key")
		case lnk:
			obj.Size, want.Mode = 1, lnk|0o777
		case reg:
			obj.Size = rapid.Int64Range(0, 1).Draw(t, "size")
		}
		wantAttr(t, decodeAttr(obj, testDefaults()), want)
		if attrs.Meta["other"] != old.Meta["other"] {
			t.Errorf("foreign metadata %q became %q", old.Meta["other"], attrs.Meta["other"])
		}
		for name, value := range attrs.Meta {
			if value != old.Meta[name] && strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%s: %q cannot stand in a header", name, value)
			}
		}
	})
}

func FuzzDecodeAttr(f *testing.F) {
	f.Add("f", int64(0), "mode", "33188", "mtime", "1.5", "text/plain")
	f.Add("l", int64(0), "--symlink-target", "%2", "xattr", "{\"a\":\"AA==\"}", "application/link")
	f.Add("d/", int64(3), "rdev", "-1", "mode", "24577", "")
	f.Fuzz(func(t *testing.T, key string, size int64, name1, value1, name2, value2, media string) {
		obj := backend.Object{Key: key, Size: size, ModTime: stored()}
		obj.Meta = metadata{name1: value1, name2: value2}
		obj.Header = metadata{"content-type": media}
		a := decodeAttr(obj, testDefaults())
		if a.Mode&syscall.S_IFMT == 0 || strings.HasSuffix(key, "/") && a.Mode&syscall.S_IFMT != dir {
			t.Errorf("mode %o of %q", a.Mode, key)
		}
		obj.Attrs = a.encode(obj.Attrs)
		wantAttr(t, decodeAttr(obj, testDefaults()), a)
		foreignXattrs(obj.Meta)
		metaSize(obj.Attrs)
	})
}
