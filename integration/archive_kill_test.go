package integration

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/s3archive"
	"github.com/thawfs/thawfs/integration/servers"
)

// childEnv holds the order for a child that is a mount to be killed.
const childEnv = "THAWFS_TEST_CHILD"

// An order is what a child is to mount.
type order struct {
	At                 servers.S3
	Local              string // the store is this directory
	Bucket, Dir, Cache string
	Delay              time.Duration
	Spool              int64 // bytes; 0 is 1 GiB
}

// open makes the driver of the order.
func (o order) open(t *testing.T) backend.Service {
	t.Helper()
	if o.Local == "" {
		return openS3(t, o.At)
	}
	s, err := local.New(o.Local, local.Options{NoSync: true, Parts: backend.PartLimits{MinSize: 1 << 20}})
	must(t, err)
	return s
}

// TestChild is the process that tests kill; by itself it does nothing. It mounts, then obeys
// the words on its standard input until that ends.
func TestChild(t *testing.T) {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var o order
	must(t, json.Unmarshal([]byte(text), &o))
	m, err := fs.NewMount(o.Dir, fs.Options{
		Service: o.open(t), Bucket: o.Bucket, Source: "test", CacheDir: o.Cache, SpoolSize: cmp.Or(o.Spool, 1<<30), Delay: o.Delay,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	must(t, err)
	_, err = os.Stdout.WriteString("mounted\n")
	must(t, err)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer := "done\n"
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		if err := m.Drain(ctx); err != nil {
			answer = err.Error() + "\n"
		}
		cancel()
		_, err = os.Stdout.WriteString(answer)
		must(t, err)
	}
}

// A victim is a child that has a bucket mounted.
type victim struct {
	t   *testing.T
	o   order
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func (v *victim) start() {
	v.t.Helper()
	text, err := json.Marshal(v.o)
	must(v.t, err)
	v.cmd = exec.Command(os.Args[0], "-test.run=^TestChild$")
	v.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	v.cmd.Stderr = os.Stderr
	v.in, err = v.cmd.StdinPipe() // ends with us
	must(v.t, err)
	out, err := v.cmd.StdoutPipe()
	must(v.t, err)
	must(v.t, v.cmd.Start())
	v.out = bufio.NewReader(out)
	v.hear("mounted")
}

func (v *victim) hear(want string) {
	v.t.Helper()
	line, err := v.out.ReadString('\n')
	if err != nil || line != want+"\n" {
		v.t.Fatalf("the child says %q, %v, want %q", line, err, want)
	}
}

// say has the child drain; it is done when this returns.
func (v *victim) say(word string) {
	v.t.Helper()
	_, err := io.WriteString(v.in, word+"\n")
	must(v.t, err)
	v.hear("done")
}

// kill ends the child by SIGKILL and takes away the mount it leaves.
func (v *victim) kill() {
	v.t.Helper()
	must(v.t, v.cmd.Process.Kill())
	_ = v.cmd.Wait() // killed
	if out, err := exec.Command(servers.Tool(v.t, "fusermount3"), "-u", "-z", v.o.Dir).CombinedOutput(); err != nil {
		v.t.Errorf("unmount: %v: %s", err, out)
	}
}

// TestArchivedKill kills the mount at each step of a restore. The next one goes on with it, and
// the store is never asked to do it twice.
func TestArchivedKill(t *testing.T) {
	t.Parallel()
	at, clock := servers.MinIO(t), &s3archive.Clock{}
	arrived, hold := make(chan struct{}, 16), make(chan struct{})
	var holding atomic.Bool
	holding.Store(true)
	s := doubleShelf(t, func(o *s3archive.Options) {
		o.Takes, o.Now = s3archive.Always(time.Hour), clock.Now
		o.Answer = func(s3archive.Request) {
			arrived <- struct{}{}
			if holding.Load() {
				<-hold
			}
		}
	})
	m := mountCold(t, s) // to put objects and look at them
	m.freeze("file", []byte(cold))
	at.Endpoint = s.url
	v := &victim{t: t, o: order{At: at, Bucket: m.o.Bucket, Dir: t.TempDir(), Cache: t.TempDir()}}
	path := v.o.Dir + "/file"

	v.start()
	cat := exec.Command("cat", path)
	must(t, cat.Start())
	<-arrived // the store has it, and the answer is on its way
	holding.Store(false)
	v.kill()
	close(hold)
	if err := cat.Wait(); err == nil {
		t.Error("cat ended well on a mount that was killed")
	}
	for _, when := range []string{"before the answer", "while it is restored"} {
		v.start()
		if out, err := exec.Command("cat", path).CombinedOutput(); err == nil || !strings.Contains(string(out), syscall.EAGAIN.Error()) && !strings.Contains(string(out), "Resource temporarily unavailable") {
			t.Errorf("killed %s, then cat: %v: %s", when, err, out)
		}
		if job := run(t, v.o.Dir, "getfattr", "--only-values", "-n", "user.thawfs.job", "file"); job != "restoring" {
			t.Errorf("killed %s, then the job is %q", when, job)
		}
		v.kill()
	}
	clock.Advance(time.Hour)
	v.start()
	if out := run(t, "/", "cat", path); out != cold {
		t.Errorf("restored while nobody looked: %.60q", out)
	}
	v.kill()
	m.paidFor("file", 1)
	if n := len(s.double.Requests()); n != 1 {
		t.Errorf("%d restores were asked for: %+v", n, s.double.Requests())
	}
}
