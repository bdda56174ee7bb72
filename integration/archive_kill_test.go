package integration

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/s3archive"
	"github.com/thawfs/thawfs/integration/servers"
)

// childEnv holds the order for a child of TestArchivedKill.
const childEnv = "THAWFS_TEST_COLD_CHILD"

// An order is what a child is to mount.
type order struct {
	At                 servers.S3
	Bucket, Dir, Cache string
}

// TestArchivedChild is the process that TestArchivedKill kills; by itself it does nothing.
func TestArchivedChild(t *testing.T) {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var o order
	must(t, json.Unmarshal([]byte(text), &o))
	_, err := fs.NewMount(o.Dir, fs.Options{Service: openS3(t, o.At), Bucket: o.Bucket, Source: "test", CacheDir: o.Cache, SpoolSize: 1 << 30})
	must(t, err)
	_, err = os.Stdout.WriteString("mounted\n")
	must(t, err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or its parent is
}

// A victim is a child that has a bucket mounted.
type victim struct {
	t   *testing.T
	o   order
	cmd *exec.Cmd
}

func (v *victim) start() {
	v.t.Helper()
	text, err := json.Marshal(v.o)
	must(v.t, err)
	v.cmd = exec.Command(os.Args[0], "-test.run=^TestArchivedChild$")
	v.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	v.cmd.Stderr = os.Stderr
	_, err = v.cmd.StdinPipe() // ends with us
	must(v.t, err)
	out, err := v.cmd.StdoutPipe()
	must(v.t, err)
	must(v.t, v.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "mounted\n" {
		v.t.Fatalf("the child says %q, %v", line, err)
	}
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
	v := &victim{t: t, o: order{at, m.o.Bucket, t.TempDir(), t.TempDir()}}
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
