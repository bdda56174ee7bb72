package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process that shall serve in the background is this program again, with the same
// arguments and the write end of a pipe; Go cannot fork. It sends one message over the pipe:
// that it serves, or the problem. The pipe is named in the environment.
const readyEnv = "THAWFS_READY_FD"

// message is what the process in the background says once.
type message struct {
	Ready   *about   `json:"ready,omitempty"`
	Pending pending  `json:"pending"` // found in the journal
	Created bool     `json:"created"` // the store is new
	Note    string   `json:"note,omitempty"`
	Problem *problem `json:"problem,omitempty"`
}

// spawn starts this program again in a session of its own and waits until it serves. When
// ctx ends before, the process is told to end.
func spawn(ctx context.Context, args []string) (message, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return message{}, err
	}
	defer func() { _ = r.Close() }() // only read
	self := exec.Command("/proc/self/exe", args[1:]...)
	self.Args[0] = args[0]
	self.Env = append(os.Environ(), readyEnv+"=3")
	self.ExtraFiles = []*os.File{w}
	self.Stderr = os.Stderr // until the log is open: a crash is seen
	self.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = self.Start()
	_ = w.Close() // the child has it
	if err != nil {
		return message{}, fmt.Errorf("start the process for the background: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = self.Process.Signal(unix.SIGTERM) }) // if it has ended, so much the better
	defer stop()
	var m message
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		return message{}, spawnProblem(ctx, self.Wait())
	}
	if m.Problem != nil {
		_ = self.Wait() // it has said why
		return message{}, m.Problem
	}
	return m, self.Process.Release()
}

// spawnProblem explains a child that ended without a word.
func spawnProblem(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &problem{What: "interrupted, nothing is mounted", Code: 130, cause: ctx.Err()}
	}
	return wrong(fmt.Sprintf("the process in the background ended early (%v)", err),
		"Its last words stand above or in the log; --foreground shows all of them.").because(err)
}

// parent is the process that waits for us to serve; nil in the foreground.
type parent struct{ pipe *os.File }

// findParent finds out whether this process was made by spawn. Children of ours shall not
// think so of themselves.
func findParent() *parent {
	fd, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil {
		return nil
	}
	_ = os.Unsetenv(readyEnv) // fails for impossible names only
	unix.CloseOnExec(fd)
	return &parent{os.NewFile(uintptr(fd), "ready")}
}

// tell sends the message. An error means that the parent is dead: nobody knows of us.
func (p *parent) tell(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = p.pipe.Write(append(b, '\n'))
	return errors.Join(err, p.pipe.Close())
}
