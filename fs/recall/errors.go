package recall

import "errors"

// What an Open can fail with, besides backend.ErrArchived (the object is on its way, come
// back later), errors of the store and those of the context. errors.Is finds exactly one of
// these; the reasons behind them are text, so that no other sentinel is found with them.
var (
	// ErrExplicit: opens begin no restore here; Request or Batch do.
	ErrExplicit = errors.New("archived, and only an explicit request restores it")
	// ErrRefused: a guard. The text names the limit and how to lift it.
	ErrRefused = errors.New("restore refused")
	// ErrFailed: the last restore failed and it is too early to try again.
	ErrFailed = errors.New("restore failed")
	// ErrClosed: the Manager was closed meanwhile.
	ErrClosed = errors.New("the recall manager is closed")
)
