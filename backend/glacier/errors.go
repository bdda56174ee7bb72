package glacier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/thawfs/thawfs/backend"
)

// Codes of the service that are looked at here (developer guide, "Error Responses").
const (
	codePolicy   = "PolicyEnforcedException"
	codeCapacity = "InsufficientCapacityException"
	codeClosed   = "NoLongerSupportedException"
	codeInvalid  = "InvalidParameterValueException"
)

// codes are the errors whose HTTP status alone would mislead, or that have none.
var codes = map[string]error{
	"ResourceNotFoundException":      backend.ErrNotExist,
	"VaultNotFound":                  backend.ErrNotExist, // moto
	codeInvalid:                      backend.ErrInvalid,
	"MissingParameterValueException": backend.ErrInvalid,
	"SerializationException":         backend.ErrInvalid,
	"LimitExceededException":         backend.ErrInvalid,
	codePolicy:                       backend.ErrQuota,
	codeCapacity:                     backend.ErrUnavailable,
	codeClosed:                       backend.ErrRetired,
	"RequestTimeoutException":        backend.ErrUnavailable,
	"ServiceUnavailableException":    backend.ErrUnavailable,
	"ThrottlingException":            backend.ErrUnavailable,
	"RequestEntityTooLargeException": backend.ErrTooLarge,
	"AccessDeniedException":          backend.ErrPermission,

	"UnrecognizedClientException":         backend.ErrCredentials,
	"InvalidSignatureException":           backend.ErrCredentials,
	"MissingAuthenticationTokenException": backend.ErrCredentials,
	"ExpiredTokenException":               backend.ErrCredentials,
	"IncompleteSignatureException":        backend.ErrCredentials,
}

// url names a vault, or the service, in errors.
func vaultURL(vault string) string { return "glacier://" + vault }

// fail makes the error of an operation on a key.
func (s *Store) fail(ctx context.Context, op, key string, err error) error {
	return failure(ctx, vaultURL(s.vault), op, key, err)
}

// fail makes the error of an operation on a vault.
func (s *Service) fail(ctx context.Context, op, vault string, err error) error {
	return failure(ctx, "glacier:/", op, vault, err)
}

func failure(ctx context.Context, store, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if done := (*backend.Error)(nil); errors.As(err, &done) {
		return done // an operation made of others
	}
	return &backend.Error{Store: store, Op: op, Key: key, Err: translate(ctx, err)}
}

// translate turns what the SDK returned into a sentinel, or the context's error, with the
// service's own words. Errors of ours stay as they are; the SDK's do not stay in the chain:
// they hold the request, and errnos of the network that are none of a local file.
func translate(ctx context.Context, err error) error {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return err
	}
	var api smithy.APIError
	answered := errors.As(err, &api)
	if !answered && ctx.Err() != nil {
		return ctx.Err()
	}
	status := statusOf(err)
	if answered {
		return fmt.Errorf("%w: %s: %s (HTTP status %d)", sentinelOf(api.ErrorCode(), status), api.ErrorCode(), api.ErrorMessage(), status)
	}
	if errors.Is(err, backend.ErrCredentials) {
		return fmt.Errorf("%w: %s", backend.ErrCredentials, words(err))
	}
	return fmt.Errorf("%w: %s", sentinelOf("", status), words(err))
}

func sentinelOf(code string, status int) error {
	if sentinel := codes[code]; sentinel != nil {
		return sentinel
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return backend.ErrPermission
	case status == http.StatusNotFound:
		return backend.ErrNotExist
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return backend.ErrUnavailable
	case status >= 300 && status < 500:
		return backend.ErrInvalid
	}
	return backend.ErrUnavailable
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// statusOf is the HTTP status of the answer that err came with, 0 if there was none.
func statusOf(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// words is the text of an error without the request's URL.
func words(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
