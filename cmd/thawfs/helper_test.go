package main

import (
	"io"
	"strings"
	"testing"
)

func TestMountHelper(t *testing.T) {
	for _, tt := range []struct {
		args string // those of mount(8), EXTERNAL HELPERS
		fake bool
		is   func(j *job) bool
	}{
		{"s3://photos /mnt", false, func(j *job) bool { return j.source.bucket == "photos" && j.mountpoint == "/mnt" && j.helper }},
		{"s3://photos /mnt -o rw,_netdev,uid=5", false, func(j *job) bool { return j.uid.id == 5 && !j.readOnly }},
		{"s3://photos /mnt -o ro -o allow_other", false, func(j *job) bool { return j.readOnly && j.allowOther }},
		{"-o ro s3://photos /mnt -n -v", false, func(j *job) bool { return j.readOnly }},
		{"s3://photos /mnt -r", false, func(j *job) bool { return j.readOnly }},
		{"s3://photos /mnt -sv -o colour=blue,ro", false, func(j *job) bool { return j.readOnly }},
		{"s3://photos /mnt -f", true, func(j *job) bool { return !j.foreground }},
		{"s3://photos /mnt -N /proc/1/ns/mnt -t fuse.thawfs -o rw", false, func(j *job) bool { return j.source.bucket == "photos" }},
	} {
		t.Run(tt.args, func(t *testing.T) {
			j, fake, err := helperJob(strings.Fields(tt.args), io.Discard)
			if err != nil || fake != tt.fake || !tt.is(j) {
				t.Errorf("mount.thawfs %s: fake %v, %v, %+v", tt.args, fake, err, j)
			}
		})
	}
}

func TestMountHelperThatIsCalledWrong(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"s3://photos", "thawfs: a mount needs SOURCE and MOUNTPOINT, not 1 arguments."},
		{"s3://photos /mnt -o", "thawfs: the mount option -o needs a value."},
		{"s3://photos /mnt -x", "thawfs: mount helpers have no option -x.\nOther options stand behind -o."},
		{"s3://photos /mnt -o colour=blue", `thawfs: option "colour" is not known; see thawfs mount --help.`},
		{"photos: /mnt", `thawfs: the source "photos:" is of a kind that thawfs does not know.` + "\n" + knownSources},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, _, err := helperJob(strings.Fields(tt.args), io.Discard)
			wantReport(t, err, exitUsage, tt.want)
		})
	}
}

func TestIsHelper(t *testing.T) {
	for _, tt := range []struct {
		line string
		want bool
	}{
		{"/sbin/mount.thawfs s3://b /mnt -o rw", true},
		{"/usr/sbin/mount.fuse.thawfs s3://b /mnt", true},
		{"thawfs s3://b /mnt -o rw", true}, // mount.fuse
		{"thawfs local:/srv /mnt", true},
		{"thawfs mount s3://b /mnt", false},
		{"thawfs s3:", false},
		{"thawfs", false},
	} {
		if got := isHelper(strings.Fields(tt.line)); got != tt.want {
			t.Errorf("isHelper(%s) = %v, want %v", tt.line, got, tt.want)
		}
	}
}
