package backend

import (
	"errors"
	"fmt"
)

// The sentinels every driver translates its service's errors into. errors.Is finds them
// below an *Error. fs/errno.go turns them into errnos; nothing between looks at an HTTP
// status, an SDK type or a message.
var (
	ErrNotExist    = errors.New("does not exist")
	ErrExist       = errors.New("already exists")
	ErrPermission  = errors.New("access denied")
	ErrInvalid     = errors.New("invalid name or argument")
	ErrTooLarge    = errors.New("too large for the store")
	ErrNotEmpty    = errors.New("not empty")
	ErrUnsupported = errors.New("not supported by the store")
	ErrArchived    = errors.New("archived, not readable before it is restored")
	ErrChanged     = errors.New("the store holds another version")
	ErrUnavailable = errors.New("the store is unavailable") // worth another try later
	ErrCorrupt     = errors.New("data does not match its checksum")
	ErrQuota       = errors.New("a quota of the store does not allow it now")
	ErrNotYet      = errors.New("not possible yet, but in a while") // though everything is right
	ErrImmutable   = errors.New("what is stored cannot be changed any more")
)

// Finer words for some of them: errors.Is finds both.
var (
	ErrCredentials = fmt.Errorf("%w: credentials missing, invalid or expired", ErrPermission)
	ErrTooLong     = fmt.Errorf("%w: name too long", ErrInvalid)
	ErrRetired     = fmt.Errorf("%w: the service is not offered to this account any more", ErrPermission)
)

// An Error says which operation failed on what. Drivers return no other type.
type Error struct {
	Store string // bucket or service, as a user would name it: s3://photos
	Op    string // lower-case name of the operation: get, put, list
	Key   string // empty if the operation has none
	Err   error  // wraps a sentinel or a context error; keeps the service's own words
}

func (e *Error) Error() string {
	s := e.Op + " " + e.Store
	if e.Key != "" {
		s += "/" + e.Key
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }
