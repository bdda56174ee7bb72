package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal is where a process under test believes to be: a pseudo terminal of the kernel.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	read chan struct{} // closed when all output is read

	mu   sync.Mutex
	seen strings.Builder // guarded by mu
}

// startOnTerminal runs cmd with its output on a terminal.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}); err != nil {
		t.Fatal(err)
	}
	tty := &terminal{t: t, cmd: cmd, read: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = slave, slave
	cmd.Env = append(cmd.Env, "TERM=xterm")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(tty.read)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			tty.mu.Lock()
			tty.seen.Write(b[:n])
			tty.mu.Unlock()
			if err != nil { // EIO: the process has closed its side
				_ = master.Close() // only read
				return
			}
		}
	}()
	return tty
}

func (tty *terminal) text() string {
	tty.mu.Lock()
	defer tty.mu.Unlock()
	return tty.seen.String()
}

// expect waits until text was written.
func (tty *terminal) expect(text string) {
	tty.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(tty.text(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			tty.t.Fatalf("waited 30 s for %q, seen was %q", text, tty.text())
		}
	}
}

// wait returns the exit code.
func (tty *terminal) wait() int {
	<-tty.read
	_ = tty.cmd.Wait() // the exit code says it
	return tty.cmd.ProcessState.ExitCode()
}
