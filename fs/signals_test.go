package fs

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend/backendtest"
)

func testSignals(t *testing.T) {
	faulty := backendtest.NewFaultyService(newStore(t))
	m := mountOn(t, faulty)
	must(t, os.Mkdir(m.path("d"), 0o755))
	m.write("d/f", "text")
	m.remount()
	store := faulty.Bucket("buk")
	slow := func(d time.Duration) { store.Inject(backendtest.Fault{Times: -1, Delay: d}) }

	slow(100 * time.Millisecond)
	for what, call := range map[string]func() error{
		"stat":   func() error { var st unix.Stat_t; return unix.Stat(m.path("d/f"), &st) },
		"lookup": func() error { return unix.Access(m.path("d/nothing"), unix.F_OK) },
		"mkdir":  func() error { return unix.Mkdir(m.path("d/sub"), 0o755) },
		"rename": func() error { return unix.Rename(m.path("d/sub"), m.path("d/moved")) },
		"read": func() error {
			fd, err := unix.Open(m.path("d/f"), unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			_, err = unix.Read(fd, make([]byte, 10))
			return errors.Join(err, unix.Close(fd))
		},
	} {
		if err := disturbed(call); errors.Is(err, unix.EINTR) {
			t.Errorf("%s among signals: %v", what, err)
		}
	}
	store.Heal()
	m.remount()
	store = faulty.Bucket("buk")

	slow(time.Hour)
	defer store.Heal()
	if err := disturbed(func() error { var st unix.Stat_t; return unix.Stat(m.path("d/f"), &st) }); !errors.Is(err, unix.EINTR) {
		t.Errorf("stat of a store that hangs: %v, want EINTR in the end", err)
	}
	cat := exec.Command("cat", m.path("d/f"))
	must(t, cat.Start())
	time.Sleep(100 * time.Millisecond) // for it to ask
	began := time.Now()
	must(t, cat.Process.Signal(unix.SIGTERM))
	_ = cat.Wait() // killed
	if took := time.Since(began); took > patience {
		t.Errorf("cat ended %v after SIGTERM", took)
	}
}

// disturbed makes a system call on a thread that gets a signal every few milliseconds, one of
// those by which Go's scheduler makes goroutines give way.
func disturbed(call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, over, ended := unix.Gettid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(3 * time.Millisecond):
				_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) // the thread is there until over
			}
		}
	}()
	err := call()
	close(over)
	<-ended
	return err
}
