package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	t.Setenv("HOME", "/home/ada")
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		arg  string
		want source
		text string // canonical
	}{
		{"s3://", source{scheme: "s3"}, "s3://"},
		{"s3://photos", source{scheme: "s3", bucket: "photos"}, "s3://photos"},
		{"S3://photos/", source{scheme: "s3", bucket: "photos"}, "s3://photos"},
		{"s3://photos/2024", source{scheme: "s3", bucket: "photos", prefix: "2024/"}, "s3://photos/2024"},
		{"s3://photos/2024/", source{scheme: "s3", bucket: "photos", prefix: "2024/"}, "s3://photos/2024"},
		{"s3://photos/a//b", source{scheme: "s3", bucket: "photos", prefix: "a//b/"}, "s3://photos/a//b"},
		{"s3://photos/é #1", source{scheme: "s3", bucket: "photos", prefix: "é #1/"}, "s3://photos/é #1"},
		{"glacier://", source{scheme: "glacier"}, "glacier://"},
		{"Glacier://tapes", source{scheme: "glacier", bucket: "tapes"}, "glacier://tapes"},
		{"glacier://tapes/2012", source{scheme: "glacier", bucket: "tapes", prefix: "2012/"}, "glacier://tapes/2012"},
		{"swift://", source{scheme: "swift"}, "swift://"},
		{"Swift://photos/2024", source{scheme: "swift", bucket: "photos", prefix: "2024/"}, "swift://photos/2024"},
		{"local:/srv/store", source{scheme: "local", dir: "/srv/store"}, "local:/srv/store"},
		{"local:/srv//store/../x/", source{scheme: "local", dir: "/srv/x"}, "local:/srv/x"},
		{"local:rel", source{scheme: "local", dir: filepath.Join(wd, "rel")}, "local:" + filepath.Join(wd, "rel")},
		{"local:~/store", source{scheme: "local", dir: "/home/ada/store"}, "local:/home/ada/store"},
		{"local:/srv/x#photos", source{scheme: "local", dir: "/srv/x", bucket: "photos"}, "local:/srv/x#photos"},
		{"local:/srv/x#photos/a", source{scheme: "local", dir: "/srv/x", bucket: "photos", prefix: "a/"}, "local:/srv/x#photos/a"},
		{"local:/srv/c#", source{scheme: "local", dir: "/srv/c"}, "local:/srv/c"},
		{"local:/srv/c##photos", source{scheme: "local", dir: "/srv/c#", bucket: "photos"}, "local:/srv/c##photos"},
	} {
		t.Run(tt.arg, func(t *testing.T) {
			got, err := parseSource(tt.arg)
			if err != nil || got != tt.want || got.String() != tt.text {
				t.Errorf("parseSource(%q) = %+v (%q), %v, want %+v (%q)", tt.arg, got, got, err, tt.want, tt.text)
			}
		})
	}
}

func TestSourcesThatAreWrong(t *testing.T) {
	const known = "Known sources are s3://, s3://BUCKET, s3://BUCKET/PREFIX, swift:// and glacier:// alike, local:DIR and local:DIR#BUCKET."
	for _, tt := range []struct{ arg, want string }{
		{"", `thawfs: the source "" is of a kind that thawfs does not know.` + "\n" + known},
		{"photos", `thawfs: the source "photos" has no scheme.` + "\nDid you mean s3://photos? " + known},
		{"/srv/store", `thawfs: the source "/srv/store" has no scheme.` + "\nDid you mean local:/srv/store? " + known},
		{"s3:photos", `thawfs: the source "s3:photos" lacks the two slashes.` + "\nDid you mean s3://photos?"},
		{"s3:/photos", `thawfs: the source "s3:/photos" lacks the two slashes.` + "\nDid you mean s3://photos?"},
		{"s3:///a", `thawfs: the source "s3:///a" has a prefix but no bucket.` + "\n" + known},
		{"glacier:tapes", `thawfs: the source "glacier:tapes" lacks the two slashes.` + "\nDid you mean glacier://tapes?"},
		{"local:", `thawfs: the source "local:" names no directory.` + "\nWrite local:DIR; the directory is created if it does not exist."},
		{"gopher://x", `thawfs: the source "gopher://x" is of a kind that thawfs does not know.` + "\n" + known},
		{"gopher://u:secret@h/x", `thawfs: the source "gopher://***@h/x" is of a kind that thawfs does not know.` + "\n" + known},
		{"swift:photos", `thawfs: the source "swift:photos" lacks the two slashes.` + "\nDid you mean swift://photos?"},
		{
			"swift://u:secret@h/x", "thawfs: credentials do not belong into the source: everybody can see it in the list of mounts.\n" +
				"Put them into the environment or into clouds.yaml and use --os-cloud.",
		},
		{
			"https://s3.example.com/photos", "thawfs: a source is not a URL of the web.\n" +
				"Name the bucket as s3://BUCKET and the server with --endpoint https://HOST.",
		},
		{
			"s3://AKIA:secret@photos", "thawfs: credentials do not belong into the source: everybody can see it in the list of mounts.\n" +
				"Put them into the environment or into a profile of ~/.aws/credentials and use --profile.",
		},
		{"s3://a\xff", `thawfs: the source "s3://a\xff" is not valid UTF-8.` + "\n" + known},
	} {
		t.Run(tt.arg, func(t *testing.T) {
			_, err := parseSource(tt.arg)
			wantReport(t, err, exitUsage, tt.want)
		})
	}
}

// wantReport compares what a person reads.
func wantReport(t *testing.T, err error, code int, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want:\n%s", want)
	}
	var b strings.Builder
	if got := report(&b, err); got != code || strings.TrimSuffix(b.String(), "\n") != want {
		t.Errorf("exit %d:\n%s\nwant exit %d:\n%s", got, b.String(), code, want)
	}
}
