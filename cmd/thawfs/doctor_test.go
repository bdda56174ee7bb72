package main

import (
	"strings"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	w, g, bucket := gated(t)
	o := w.must("doctor", "--probe", "--endpoint", g.url, "s3://"+bucket.name)
	for _, want := range []string{
		"ok     configuration: no file, defaults\n",
		"ok     FUSE: this user may mount\n",
		"ok     store: s3://" + bucket.name + " is reached and can be read\n",
		"ok     clock: agrees with the server's to 1s\n",
		"ok     powers: copies inside the store, uploads in parts, deletes in batches, restores from archives\n",
		"ok     write: a small object\n", "ok     read: with its attributes\n", "ok     If-None-Match: ", "ok     copy: ", "ok     parts: ",
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("doctor lacks %q:\n%s", want, o.stdout)
		}
	}
	for e, err := range bucket.store.List(t.Context(), "", "", backend.ListOptions{}) {
		t.Errorf("left in the bucket: %q, %v", e.Key, err)
	}
	o = w.run("doctor", "--endpoint", "http://"+closedPort(t), "s3://"+bucket.name)
	if o.code != exitFailed || !strings.Contains(o.stdout, "wrong  store: http://127.0.0.1:") || !strings.Contains(o.stdout, "\n       Is the server running?") {
		t.Errorf("doctor without a server: %+v", o)
	}
	w.config("cache-siez = 5")
	o = w.run("doctor")
	if o.code != exitFailed || !strings.Contains(o.stdout, "wrong  configuration: ") || !strings.Contains(o.stdout, "       Did you mean cache-size?\n") || !strings.Contains(o.stdout, "FUSE") {
		t.Errorf("doctor with a wrong configuration: %+v", o)
	}
}

func TestDoctorOnTheMachine(t *testing.T) {
	for _, tt := range []struct {
		capable bool
		kernel  string
		want    verdict
	}{{true, "6.12.3-1-amd64", isGood}, {false, "6.12.3", isSlower}, {true, "6.8.0", isSlower}, {true, "5.15", isSlower}, {true, "7.0-rc1", isGood}} {
		if f := passthrough(tt.capable, tt.kernel); f.State != tt.want {
			t.Errorf("passthrough(%t, %q) = %+v, want %s", tt.capable, tt.kernel, f, tt.want)
		}
	}
	w := newWorld(t)
	for text, want := range map[string]verdict{
		"PRUNEPATHS=\"/tmp\"\nPRUNEFS=\"NFS fuse.thawfs tmpfs\"\n": isGood,
		"PRUNEFS = \"NFS nfs4\"\n":                                 isSlower,
	} {
		mustWrite(t, w.path("updatedb.conf"), text)
		if f := prunes(w.path("updatedb.conf")); f.State != want {
			t.Errorf("prunes of %q = %+v, want %s", text, f, want)
		}
	}
}
