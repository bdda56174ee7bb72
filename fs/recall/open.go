package recall

import (
	"context"

	"github.com/thawfs/thawfs/backend"
)

// A Caller is who opens a file.
type Caller struct {
	UID      uint32
	Exe      string // path of the program; "" if it is not known
	PID      uint32
	NonBlock bool // it opened with O_NONBLOCK
}

// Open is for an object that is about to be read and whose State is not readable. It
// returns nil when it can be read now; what the store says of it then has been handed to
// Options.Changed. Otherwise:
//
//   - backend.ErrArchived: it is on its way and was not there in time. Also for a caller with
//     NonBlock, for whom nothing is begun: GNU tar and file(1) set it unasked.
//   - ErrExplicit, ErrRefused, ErrFailed: nothing is on its way.
//   - the error of ctx: the caller was interrupted. What was begun goes on.
//   - other errors of the store.
func (m *Manager) Open(ctx context.Context, ref backend.Ref, obj backend.Object, by Caller) error {
	return backend.ErrArchived
}
