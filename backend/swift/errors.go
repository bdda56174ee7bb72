package swift

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// An answerError is an answer other than success.
type answerError struct {
	status int
	header http.Header
	text   string
}

func (a *answerError) Error() string {
	words := fmt.Sprintf("HTTP status %d %s", a.status, http.StatusText(a.status))
	if id := a.header.Get("X-Trans-Id"); id != "" {
		words += ", request " + id
	}
	if a.text != "" {
		words = a.text + " (" + words + ")"
	}
	return words
}

// A localError is one of reading what is to be sent.
type localError struct{ err error }

func (l *localError) Error() string { return "read what is to be sent: " + l.err.Error() }
func (l *localError) Unwrap() error { return l.err }

var tags = regexp.MustCompile(`<[^>]*>`)

// plainWords makes one line of the page that Swift sends with an error.
func plainWords(page string) string {
	if _, body, ok := strings.Cut(page, "<h1>"); ok {
		page = body
	}
	page = strings.NewReplacer("</h1>", ": ", "\n", " ", "\r", " ").Replace(page)
	return strings.Join(strings.Fields(tags.ReplaceAllString(page, " ")), " ")
}

func answerOf(err error) *answerError {
	a, _ := errors.AsType[*answerError](err)
	return a
}

// statusOf is the HTTP status that err came with, 0 if there was no answer.
func statusOf(err error) int {
	if a := answerOf(err); a != nil {
		return a.status
	}
	return 0
}

// transient reports whether the same request may succeed later.
func transient(err error) bool {
	if a := answerOf(err); a != nil {
		if a.header.Get("X-Ovh-Retrieval-State") != "" {
			return false // it is on its way out of the archive
		}
		return a.status == http.StatusRequestTimeout || a.status == http.StatusTooManyRequests || a.status == statusRateLimit ||
			a.status >= 500 && a.status != http.StatusNotImplemented
	}
	var certificate *tls.CertificateVerificationError
	var local *localError
	return !errors.As(err, &certificate) && !errors.As(err, &local) && sentinelOf(err) == nil
}

// statusRateLimit is Swift's own for too many requests (ratelimit middleware).
const statusRateLimit = 498

// fail makes the error of an operation on a key.
func (s *Store) fail(ctx context.Context, op, key string, err error) error {
	return failure(ctx, "swift://"+s.name, op, key, err)
}

// fail makes the error of an operation on a container.
func (s *Service) fail(ctx context.Context, op, container string, err error) error {
	store := "swift://"
	if container != "" {
		store = "swift:/" // the container is the key: together, swift://container
	}
	return failure(ctx, store, op, container, err)
}

func failure(ctx context.Context, store, op, key string, err error) error {
	if done, ok := errors.AsType[*backend.Error](err); ok {
		return done // an operation made of others
	}
	return &backend.Error{Store: store, Op: op, Key: key, Err: translate(ctx, err)}
}

// translate finds the sentinel for an error, or the context's error.
func translate(ctx context.Context, err error) error {
	if sentinelOf(err) != nil {
		return err // made here
	}
	if a := answerOf(err); a != nil {
		return fmt.Errorf("%w: %s", statusSentinel(a), a)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if local, ok := errors.AsType[*localError](err); ok {
		return local
	}
	// The transport's error holds errnos of the network that nobody must take for those of a
	// local file, and a URL.
	words := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		words = u.Err.Error()
	}
	return fmt.Errorf("%w: %s", backend.ErrUnavailable, words)
}

// sentinelOf finds errors that this package made itself.
func sentinelOf(err error) error {
	for _, sentinel := range []error{
		backend.ErrNotExist, backend.ErrExist, backend.ErrPermission, backend.ErrInvalid, backend.ErrTooLarge,
		backend.ErrNotEmpty, backend.ErrUnsupported, backend.ErrArchived, backend.ErrChanged,
		backend.ErrUnavailable, backend.ErrCorrupt,
	} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

func statusSentinel(a *answerError) error {
	switch a.status {
	case http.StatusUnauthorized:
		return backend.ErrCredentials
	case http.StatusForbidden:
		return backend.ErrPermission
	case http.StatusNotFound:
		return backend.ErrNotExist
	case http.StatusConflict:
		return backend.ErrNotEmpty
	case http.StatusPreconditionFailed:
		return backend.ErrChanged
	case http.StatusRequestEntityTooLarge:
		return backend.ErrTooLarge
	case http.StatusRequestURITooLong:
		return backend.ErrTooLong
	case http.StatusUnprocessableEntity:
		return backend.ErrCorrupt
	case http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusNotImplemented:
		return backend.ErrUnsupported
	case http.StatusTooManyRequests:
		if a.header.Get("X-Ovh-Retrieval-State") != "" {
			return backend.ErrArchived
		}
		return backend.ErrUnavailable
	}
	if a.status >= 300 && a.status < 500 && a.status != http.StatusRequestTimeout && a.status != statusRateLimit {
		return backend.ErrInvalid
	}
	return backend.ErrUnavailable
}
