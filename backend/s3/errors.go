package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/thawfs/thawfs/backend"
)

// codes are the error codes of S3 (API reference, "Error responses") and of its look-alikes
// whose HTTP status alone would mislead.
var codes = map[string]error{
	"NoSuchKey":     backend.ErrNotExist,
	"NoSuchBucket":  backend.ErrNotExist,
	"NoSuchUpload":  backend.ErrNotExist,
	"NoSuchVersion": backend.ErrNotExist,
	"NotFound":      backend.ErrNotExist,

	"BucketAlreadyExists":     backend.ErrExist,
	"BucketAlreadyOwnedByYou": backend.ErrExist,
	"BucketNotEmpty":          backend.ErrNotEmpty,

	// With a status of their own but for the keys of a DeleteObjects.
	"AccessDenied":    backend.ErrPermission,
	"InvalidArgument": backend.ErrInvalid,

	"InvalidAccessKeyId":           backend.ErrCredentials,
	"SignatureDoesNotMatch":        backend.ErrCredentials,
	"ExpiredToken":                 backend.ErrCredentials,
	"ExpiredTokenException":        backend.ErrCredentials,
	"InvalidToken":                 backend.ErrCredentials,
	"TokenRefreshRequired":         backend.ErrCredentials,
	"InvalidSecurity":              backend.ErrCredentials,
	"XAdminUserNotFound":           backend.ErrCredentials, // versitygw, HTTP status 404
	"NotSignedUp":                  backend.ErrCredentials,
	"AuthorizationHeaderMalformed": backend.ErrCredentials, // mostly: signed for another region
	"RequestTimeTooSkewed":         backend.ErrPermission,
	"RequestExpired":               backend.ErrPermission,

	"InvalidObjectState":         backend.ErrArchived,
	"ObjectNotInActiveTierError": backend.ErrArchived,

	"PreconditionFailed":         backend.ErrChanged,
	"ConditionalRequestConflict": backend.ErrChanged,

	"KeyTooLongError":  backend.ErrTooLong,
	"KeyTooLong":       backend.ErrTooLong,
	"EntityTooLarge":   backend.ErrTooLarge,
	"MetadataTooLarge": backend.ErrTooLarge,

	// Shapes of keys a server cannot hold: a file system below it knows files or directories.
	"ObjectParentIsFile":            backend.ErrInvalid,
	"ExistingObjectIsDirectory":     backend.ErrInvalid,
	"XMinioParentIsObject":          backend.ErrInvalid,
	"XMinioObjectExistsAsDirectory": backend.ErrInvalid,

	"BadDigest":                   backend.ErrCorrupt,
	"XAmzContentChecksumMismatch": backend.ErrCorrupt,
	"XAmzContentSHA256Mismatch":   backend.ErrCorrupt,

	"NotImplemented":   backend.ErrUnsupported,
	"MethodNotAllowed": backend.ErrUnsupported,

	"IncompleteBody":                        backend.ErrUnavailable,
	"RequestTimeout":                        backend.ErrUnavailable,
	"OperationAborted":                      backend.ErrUnavailable,
	"QuotaExceeded":                         backend.ErrUnavailable,
	"XMinioAdminBucketQuotaExceeded":        backend.ErrUnavailable,
	"GlacierExpeditedRetrievalNotAvailable": backend.ErrUnavailable,
	"RequestLimitExceeded":                  backend.ErrUnavailable,
	"ThrottlingException":                   backend.ErrUnavailable,
	"Throttling":                            backend.ErrUnavailable,
}

// fail makes the error of an operation on a key.
func (s *Store) fail(ctx context.Context, op, key string, err error) error {
	return failure(ctx, bucketURL(s.bucket), op, key, err)
}

func failure(ctx context.Context, store, op, key string, err error) error {
	if done := (*backend.Error)(nil); errors.As(err, &done) {
		return done // an operation made of others
	}
	return &backend.Error{Store: store, Op: op, Key: key, Err: translate(ctx, err)}
}

// translate turns what the SDK returned into a sentinel (or the context's error) with the
// service's own words. The SDK's error itself does not stay in the chain: it holds the request,
// and errnos of the network that nobody must take for those of a local file.
func translate(ctx context.Context, err error) error {
	var api smithy.APIError
	if answered := errors.As(err, &api); !answered && ctx.Err() != nil {
		return ctx.Err()
	}
	if local := (*localError)(nil); errors.As(err, &local) {
		return fmt.Errorf("read what is to be sent: %w", local.err)
	}
	if sentinel := ours(err); sentinel != nil {
		return err
	}
	if sentinel := keyed(err); sentinel != nil {
		return fmt.Errorf("%w: %s", sentinel, network(err))
	}
	status := statusOf(err)
	if api == nil && status == 0 {
		return fmt.Errorf("%w: %s", silent(err), network(err))
	}
	code, words := "", http.StatusText(status)
	if api != nil {
		code, words = api.ErrorCode(), api.ErrorCode()+": "+api.ErrorMessage()
	}
	if code == "RequestTimeTooSkewed" {
		words = "the clock of this machine differs from the store's by too much: " + words
	}
	if status != 0 {
		words = fmt.Sprintf("%s (HTTP status %d, request %q)", words, status, requestID(err))
	}
	return fmt.Errorf("%w: %s", sentinelOf(code, status), words)
}

// sentinelOf knows an error by its code, or failing that (an answer to HEAD has no body) by
// its status.
func sentinelOf(code string, status int) error {
	if sentinel := codes[code]; sentinel != nil {
		return sentinel
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return backend.ErrPermission
	case http.StatusNotFound:
		return backend.ErrNotExist
	case http.StatusPreconditionFailed:
		return backend.ErrChanged
	case http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusNotImplemented:
		return backend.ErrUnsupported
	case http.StatusRequestEntityTooLarge:
		return backend.ErrTooLarge
	case http.StatusRequestURITooLong:
		return backend.ErrTooLong
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return backend.ErrUnavailable
	}
	if status >= 300 && status < 500 {
		return backend.ErrInvalid
	}
	return backend.ErrUnavailable
}

// ours finds errors that this package made itself, outside of any request.
func ours(err error) error {
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return nil
	}
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

// keyed finds what this package put below a request: a body that does not match its checksum,
// credentials that cannot be had.
func keyed(err error) error {
	for _, sentinel := range []error{backend.ErrCorrupt, backend.ErrCredentials} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

// silent is the sentinel for a request that got no answer.
func silent(err error) error {
	var bad *smithy.SerializationError
	var missing smithy.InvalidParamsError
	if errors.As(err, &bad) || errors.As(err, &missing) {
		return backend.ErrInvalid
	}
	return backend.ErrUnavailable
}

// network is the text of an error without the request's URL.
func network(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) {
		return send.Err.Error()
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// statusOf is the HTTP status of the answer that err came with, 0 if there was none.
func statusOf(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// headerOf is a header of the answer that err came with.
func headerOf(err error, name string) string {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.Response.Header.Get(name)
	}
	return ""
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func requestID(err error) string {
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		return r.RequestID
	}
	return ""
}

// neverAgain stops the retryer where another attempt can only do the same.
func neverAgain(err error) aws.Ternary {
	var certificate *tls.CertificateVerificationError
	var local *localError
	if keyed(err) != nil || errors.As(err, &certificate) || errors.As(err, &local) ||
		codeOf(err) == "GlacierExpeditedRetrievalNotAvailable" || brokeDown(err) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// brokeDown reports whether a server answered with a web page about an error of its own: a
// program that failed on this very request (moto, of unknown uploads), not S3's InternalError.
func brokeDown(err error) bool {
	return statusOf(err) == http.StatusInternalServerError && strings.HasPrefix(headerOf(err, "Content-Type"), "text/html")
}
