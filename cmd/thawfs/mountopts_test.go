package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func setOptions(t testing.TB, list string, sloppy bool) (*options, error) {
	t.Helper()
	o := newOptions()
	f := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	o.mountFlags(f)
	m := &mountOptions{flags: f, sloppy: sloppy}
	return o, m.Set(list)
}

func TestMountOptions(t *testing.T) {
	for _, tt := range []struct {
		list string
		is   func(o *options) bool
	}{
		{"", func(o *options) bool { return !o.readOnly }},
		{"ro", func(o *options) bool { return o.readOnly }},
		{"ro,rw", func(o *options) bool { return !o.readOnly }},
		{"read_only", func(o *options) bool { return o.readOnly }},
		{"sync,allow_other,", func(o *options) bool { return o.syncClose && o.allowOther }},
		{"sync,async", func(o *options) bool { return !o.syncClose }},
		{"uid=1234,gid=77", func(o *options) bool { return o.uid.id == 1234 && o.gid.id == 77 }},
		{"uid=root,gid=root", func(o *options) bool { return o.uid.id == 0 && o.gid.id == 0 }},
		{"umask=027", func(o *options) bool { return o.fileMode == 0o640 && o.dirMode == 0o750 }},
		{"umask=0,fmask=133,dmask=077", func(o *options) bool { return o.fileMode == 0o644 && o.dirMode == 0o700 }},
		{"file_mode=600,dir-mode=0700", func(o *options) bool { return o.fileMode == 0o600 && o.dirMode == 0o700 }},
		{"cache_size=50G,spool-size=2GiB", func(o *options) bool { return o.cacheSize == 50e9 && o.spoolSize == 2<<30 }},
		{"endpoint=http://localhost:9000,region=eu-west-1,profile=p", func(o *options) bool {
			return o.endpoint == "http://localhost:9000" && o.region == "eu-west-1" && o.profile == "p"
		}},
		{"url=https://h", func(o *options) bool { return o.endpoint == "https://h" }},
		{`cache_dir=/a\,b\\c`, func(o *options) bool { return o.cacheDir == `/a,b\c` }},
		{`cache_dir=/a=b`, func(o *options) bool { return o.cacheDir == "/a=b" }},
		{`cache_dir=C:\x`, func(o *options) bool { return o.cacheDir == `C:\x` }},
		{"ttl=5m,log_level=DEBUG", func(o *options) bool { return o.ttl == 5*time.Minute && o.logLevel.value == "debug" }},
		{"anonymous", func(o *options) bool { return o.anonymous }},
		{"_netdev,noauto,nofail,user,users,x-systemd.automount,x-gvfs-hide,X-mount.mkdir,dev,suid,exec,relatime,fsname=a,subtype=b,defaults", func(o *options) bool {
			n := newOptions()
			return o.readOnly == n.readOnly && o.uid == n.uid && o.endpoint == "" && o.fileMode == n.fileMode
		}},
	} {
		t.Run(tt.list, func(t *testing.T) {
			o, err := setOptions(t, tt.list, false)
			if err != nil || !tt.is(o) {
				t.Errorf("-o %s: %v, options %+v", tt.list, err, o)
			}
		})
	}
}

func TestMountOptionsThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"allow_othr", `option "allow_othr" is not known: did you mean "allow_other"?`},
		{"ro,cache_szie=5G", `option "cache_szie" is not known: did you mean "cache_size"?`},
		{"cache-dri=/x", `option "cache-dri" is not known: did you mean "cache_dir"?`},
		{"colour=blue", `option "colour" is not known; see thawfs mount --help`},
		{"options=ro", `option "options" is not known; see thawfs mount --help`},
		{"uid", `option "uid" needs a value, as in uid=VALUE`},
		{"uid=nobody-of-that-name", `option "uid": there is no user "nobody-of-that-name"`},
		{"gid=nobody-of-that-name", `option "gid": there is no group "nobody-of-that-name"`},
		{"umask=99", `option "umask": "99" is no mask: write octal permissions such as 022`},
		{"file_mode=rw", `option "file_mode": "rw" is no mode: write octal permissions such as 644 or 0755`},
		{"cache_size=big", `option "cache_size": "big" is not a size: write 500M (million bytes), 10GiB (2^30) or a number of bytes`},
		{"log_level=loud", `option "log_level": "loud" is none of debug, info, warn, error`},
	} {
		t.Run(tt.list, func(t *testing.T) {
			_, err := setOptions(t, tt.list, false)
			if err == nil || err.Error() != tt.want {
				t.Errorf("-o %s: %v, want %s", tt.list, err, tt.want)
			}
		})
	}
	if _, err := setOptions(t, "colour=blue,ro", true); err != nil {
		t.Errorf("unknown option with -s: %v, want none", err)
	}
}

// FuzzMountOptions: no list can break the parser, and what is written with escapes comes
// back as it was.
func FuzzMountOptions(f *testing.F) {
	for _, s := range []string{"ro,uid=5", `a\,b`, `\`, `\\,`, ",,=,x=", "umask=777,ttl=-1s", "o=o", "help"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := setOptions(t, s, false); err != nil && err.Error() == "" {
			t.Errorf("-o %q: an error without words", s)
		}
		escaped := strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
		if got := splitOptions("a," + escaped + ",b"); len(got) != 3 || got[1] != s {
			t.Errorf("splitOptions(%q) = %q, want %q in the middle", escaped, got, s)
		}
	})
}

func TestSimilar(t *testing.T) {
	for _, tt := range []struct {
		word string
		of   []string
		want string
	}{
		{"photso", []string{"photos", "videos"}, "photos"},
		{"photo", []string{"photos", "videos"}, "photos"},
		{"Photos", []string{"photos"}, "photos"},
		{"xyz", []string{"photos", "abc"}, ""},
		{"a", []string{"b", "c"}, ""},
		{"x", nil, ""},
	} {
		if got, ok := similar(tt.word, tt.of); got != tt.want || ok != (tt.want != "") {
			t.Errorf("similar(%q, %q) = %q, %v, want %q", tt.word, tt.of, got, ok, tt.want)
		}
	}
}
