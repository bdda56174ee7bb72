package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend/glacier/glaciertest"
)

// vaultsOf is the double of the vault service on a clock that tick moves, with the environment
// set for commands that use it.
func vaultsOf(t *testing.T) (srv *glaciertest.Server, tick func(time.Duration), flags []string) {
	var ahead atomic.Int64
	srv = glaciertest.New(glaciertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) - 48*time.Hour) }})
	s := httptest.NewServer(srv)
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "access")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	return srv, func(d time.Duration) { ahead.Add(int64(d)) }, []string{"--endpoint", s.URL, "--cache-dir", t.TempDir()}
}

// TestVaultIsEmptiedIntoADirectory makes a vault known, and brings out what is in it in two days
// of a limit each, ended and begun again.
func TestVaultIsEmptiedIntoADirectory(t *testing.T) {
	srv, tick, flags := vaultsOf(t)
	cmd := func(args ...string) outcome { return runHere(append(args, flags...)...) }
	if o := cmd("inventory", "glacier://tapes"); o.code != exitFailed || !strings.Contains(o.stderr, `the vault "tapes" does not exist`) {
		t.Errorf("of a vault that is not there: %d %q", o.code, o.stderr)
	}
	srv.Make("tapes")
	large := bytes.Repeat([]byte("large "), 500_000)
	srv.Add("tapes", "2012/a", []byte("first"))
	tick(time.Minute)
	srv.Add("tapes", "2012/a", []byte("second"))
	srv.Add("tapes", "2012", []byte("a file of a directory's name"))
	srv.Add("tapes", "large", large)
	tick(25 * time.Hour)

	o := cmd("inventory", "glacier://tapes", "--refresh")
	if o.code != 0 || !strings.Contains(o.stdout, "No inventory yet.\nA new one was asked for at") {
		t.Fatalf("inventory --refresh = %d %q %q", o.code, o.stdout, o.stderr)
	}
	tick(5 * time.Hour)
	saved := filepath.Join(t.TempDir(), "saved.json")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(o.stdout, "4 archives") && time.Now().Before(deadline); {
		o = cmd("inventory", "glacier://tapes")
	}
	if !strings.Contains(o.stdout, "4 archives") {
		t.Fatalf("inventory = %q %q", o.stdout, o.stderr)
	}
	cmd("inventory", "glacier://tapes", "--export", saved).want(t, 0, "")
	if text, err := os.ReadFile(saved); err != nil || strings.Count(string(text), "ArchiveId") != 4 {
		t.Errorf("the export holds %q, %v", text, err)
	}

	to := filepath.Join(t.TempDir(), "out")
	out := func(more ...string) outcome {
		return cmd(append([]string{"restore", "-r", "glacier://tapes", "--to", to, "--daily", "3MB"}, more...)...)
	}
	if o = out("--dry-run"); o.code != 0 || !strings.Contains(o.stdout, "4 archives, 2.9 MiB to bring out.") || !strings.Contains(o.stdout, "about 0.0") {
		t.Errorf("restore --to --dry-run = %d %q %q", o.code, o.stdout, o.stderr)
	}
	if o = out(); o.code != exitPending || !strings.Contains(o.stderr, "on their way") || !strings.Contains(o.stderr, "for other days") {
		t.Fatalf("the first restore --to = %d %q", o.code, o.stderr)
	}
	asked := srv.Calls("InitiateJob")
	if o = out(); o.code != exitPending || srv.Calls("InitiateJob") != asked {
		t.Errorf("the same again = %d %q, %d jobs more", o.code, o.stderr, srv.Calls("InitiateJob")-asked)
	}
	tick(9 * time.Hour)
	if o = out(); o.code != exitPending {
		t.Errorf("with outputs that are ready, restore --to = %d %q", o.code, o.stderr)
	}
	if o = out("--daily", "0"); o.code != exitPending { // as on another day
		t.Errorf("without a limit, restore --to = %d %q", o.code, o.stderr)
	}
	tick(9 * time.Hour)
	if o = out(); o.code != 0 {
		t.Fatalf("in the end, restore --to = %d %q %q", o.code, o.stdout, o.stderr)
	}
	// Of a file and a directory of one name, the one that comes later gets another.
	dir, file := "2012", "2012~"
	if fi, err := os.Stat(filepath.Join(to, dir)); err == nil && !fi.IsDir() {
		dir, file = file, dir
	}
	for name, want := range map[string]string{dir + "/a": "second", file: "a file of a directory's name", "large": string(large)} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	if old, err := filepath.Glob(filepath.Join(to, ".versions", "2012", "a", "*")); err != nil || len(old) != 1 {
		t.Errorf("the older version of 2012/a: %q, %v", old, err)
	}
	if n := srv.Calls("InitiateJob") - 1; n != 4 {
		t.Errorf("%d jobs were begun for four archives", n)
	}
	if o = out(); o.code != 0 || srv.Calls("GetJobOutput") > 20 {
		t.Errorf("once all is out, restore --to = %d %q", o.code, o.stderr)
	}
}

func TestVaultCommandsThatAreWrong(t *testing.T) {
	srv, _, flags := vaultsOf(t)
	srv.Make("tapes")
	bad := filepath.Join(t.TempDir(), "bad.json")
	mustWrite(t, bad, "ArchiveId,Size\n")
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"inventory s3://tapes", exitUsage, `thawfs: "s3://tapes" is no vault.` + "\nWrite it as glacier://VAULT."},
		{"inventory --import /mnt/x /mnt/tapes", exitUsage, "thawfs: a vault that is mounted is asked, and can be told to --refresh."},
		{"inventory /tmp", exitFailed, "thawfs: /tmp is no vault of a mount"},
		{"inventory --import " + bad + " glacier://tapes", exitFailed, "this is no inventory in JSON"},
		{"restore glacier://tapes --to /tmp/x", exitUsage, "thawfs: --to empties one vault."},
		{"restore -r glacier://tapes --to s3://", exitUsage, "thawfs: --to names no bucket."},
		{"mount --storage-class GLACIER glacier://tapes /mnt", exitUsage, "thawfs: vaults have no storage classes."},
	} {
		args := strings.Fields(tt.args)
		if args[0] != "mount" {
			args = append(args, flags...)
		}
		if o := runHere(args...); o.code != tt.code || !strings.Contains(o.stderr, tt.want) {
			t.Errorf("%s = %d %q, want %d %q", tt.args, o.code, o.stderr, tt.code, tt.want)
		}
	}
	srv.SetClosed(true)
	o := runHere(append([]string{"inventory", "glacier://tapes"}, flags...)...)
	if o.code != exitFailed || !strings.Contains(o.stderr, "Amazon takes no new users of the vault service") {
		t.Errorf("of an account without vaults: %d %q", o.code, o.stderr)
	}
}

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	now := time.Date(2030, 1, 1, 23, 0, 0, 0, time.UTC)
	for round := range 2 {
		l, err := openLedger(path)
		if err != nil {
			t.Fatal(err)
		}
		if l.has("one") != (round == 1) {
			t.Errorf("round %d: has = %v", round, l.has("one"))
		}
		for _, tt := range []struct {
			n    int64
			at   time.Time
			want bool
		}{{60, now, round == 0}, {60, now, false}, {60, now.Add(2 * time.Hour), round == 0}} {
			if ok, err := l.take(tt.n, 100, tt.at); ok != tt.want || err != nil {
				t.Errorf("round %d: take(%d) at %v = %v, %v, want %v", round, tt.n, tt.at, ok, err, tt.want)
			}
		}
		if err := l.arrived("one"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.file.WriteString(`{"done":"torn`); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
