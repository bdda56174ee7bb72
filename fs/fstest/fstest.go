// Package fstest is what a file system over an object store must show, as a model without any
// of its machinery, and the operations that drive both side by side.
//
// A Story is a Setup and a list of operations: of users of the mount (open, write, rename,
// ...), of strangers who change the store behind its back, of the machine (drain, remount,
// crash, time that passes) and of faults. Any list of operations is a story: one that makes no
// sense fails with the errno the model predicts. So a story can be shortened by leaving
// operations out, and a failing one is printed in the form that ParseStory reads.
//
//	Target  the machine under test: a mount and its store
//	Calls   the system calls users make on it
//	Model   keys of the store as this mount must see them, open handles, what may be lost
//	Runner  executes a story on a Target and its Model and compares after every step
//	Pair    two mounts that write to one store, under the promise that nothing is lost
//
// The Model keeps objects by key; directories, hidden names and all paths are derived from
// the keys (tree.go). Where the promises of SEMANTICS.md allow several outcomes it knows them
// all: a stranger's change is seen or not until it has been long enough, what was not
// closed is there or not after a crash, a conflict leaves a copy if there was something to copy.
package fstest

import (
	"context"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A Target is a mount of one bucket with the store behind it. It begins empty.
type Target interface {
	// Dir is the mountpoint.
	Dir() string
	// Store is the bucket as another client sees it; faults do not reach it.
	Store() backend.Store
	// Patience is after what time the mount must have seen a change of the store, by
	// itself and by the kernel; 0 if it need not during the story.
	Patience() time.Duration
	// Drain returns when the store has everything.
	Drain(ctx context.Context) error
	// Remount ends the mount, of which nothing is open, and mounts again, if empty with
	// a new cache.
	Remount(empty bool) error
	// Crash ends the mount as a kill does, whatever is open, and mounts again.
	Crash() error
	// Fault makes requests of the mount to its store fail until Heal.
	Fault(Fault)
	Heal()
}

// A Fault befalls the next Times requests of one kind.
type Fault struct {
	Op    string // as in backend.Error.Op; "any" for all
	Times int
	Kind  string // FaultKinds
}

// FaultKinds are the ways in which a request can go wrong.
func FaultKinds() []string { return []string{"error", "late", "cut", "delay"} }

// Setup are the choices a Target is made with.
type Setup struct {
	// LongTTL lets the mount believe what it remembers for longer than a story takes, so
	// that only its own changes refresh its memory.
	LongTTL bool
	// Delay is how long changes wait before they are sent.
	Delay time.Duration
	// Passthrough lets the kernel read and write local files itself.
	Passthrough bool
	// SmallParts makes the store refuse single Puts of more than 32 KiB.
	SmallParts bool
	// Look compares the whole tree after every step, not just when the story says so.
	Look bool
}
