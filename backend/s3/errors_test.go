package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/thawfs/thawfs/backend"
)

func TestErrorsKeepTheWordsAndFindTheirSentinel(t *testing.T) {
	for _, tt := range []struct {
		status     int
		code, word string
		want       error
	}{
		{404, "NoSuchKey", "nothing here", backend.ErrNotExist},
		{404, "NoSuchBucket", "no bucket", backend.ErrNotExist},
		{403, "AccessDenied", "go away", backend.ErrPermission},
		{403, "InvalidAccessKeyId", "who are you", backend.ErrCredentials},
		{403, "SignatureDoesNotMatch", "check your key", backend.ErrCredentials},
		{400, "ExpiredToken", "too late", backend.ErrCredentials},
		{403, "InvalidObjectState", "cold", backend.ErrArchived},
		{412, "PreconditionFailed", "differs", backend.ErrChanged},
		{409, "ConditionalRequestConflict", "beside", backend.ErrChanged},
		{400, "KeyTooLongError", "long", backend.ErrTooLong},
		{400, "InvalidArgument", "odd", backend.ErrInvalid},
		{501, "NotImplemented", "never heard", backend.ErrUnsupported},
		{400, "Unheard", "of", backend.ErrInvalid},
		{403, "Unheard", "of", backend.ErrPermission},
	} {
		t.Run(tt.code, func(t *testing.T) {
			s, _ := over(t, elsewhere, apiError(tt.status, tt.code, tt.word))
			_, err := s.Get(t.Context(), "k", "", 0, -1)
			var e *backend.Error
			if !errors.Is(err, tt.want) || !errors.As(err, &e) {
				t.Fatalf("Get = %v, want %v", err, tt.want)
			}
			for _, part := range []string{"get s3://b/k: ", tt.code, tt.word, fmt.Sprint(tt.status), "REQ1"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
			for _, secret := range []string{"AKIDTEST", "verysecret", "Signature=", "X-Amz-Signature"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q tells %q", err, secret)
				}
			}
		})
	}
}

func TestErrorOfAWrongClockSaysClock(t *testing.T) {
	s, _ := over(t, elsewhere, apiError(403, "RequestTimeTooSkewed", "The difference is too large."), apiError(403, "RequestTimeTooSkewed", "The difference is too large."))
	_, err := s.Get(t.Context(), "k", "", 0, -1)
	if !errors.Is(err, backend.ErrPermission) || !strings.Contains(fmt.Sprint(err), "clock") {
		t.Errorf("Get = %v, want ErrPermission that says clock", err)
	}
}

func TestHeadFindsTheWordsThatItsAnswerCannotHold(t *testing.T) {
	s, _ := over(t, elsewhere, says(403, ""), apiError(403, "InvalidAccessKeyId", "who are you"))
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, backend.ErrCredentials) || !strings.Contains(err.Error(), "who are you") {
		t.Errorf("Head = %v, want ErrCredentials with the store's words", err)
	}
	s, _ = over(t, elsewhere, says(404, ""))
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Head = %v, want ErrNotExist", err)
	}
}

func TestAStoreThatCannotBeReachedIsUnavailable(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, tt := range map[string]struct {
		err      error
		attempts int
	}{
		"refused":      {refused, maxAttempts},
		"reset":        {&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, maxAttempts},
		"no such host": {&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "s3.example", IsNotFound: true}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steps := make([]step, maxAttempts)
				for i := range steps {
					steps[i] = func(*http.Request) (*http.Response, error) { return nil, tt.err }
				}
				s, w := over(t, elsewhere, steps...)
				_, err := s.Head(t.Context(), "k")
				if !errors.Is(err, backend.ErrUnavailable) || len(w.seen) != tt.attempts {
					t.Errorf("Head = %v after %d attempts, want ErrUnavailable after %d", err, len(w.seen), tt.attempts)
				}
				if errno := syscall.Errno(0); errors.As(err, &errno) {
					t.Errorf("%v carries errno %d, as if a local file had failed", err, errno)
				}
			})
		})
	}
}

func TestCancelEndsTheWaitBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, w := over(t, elsewhere, func(*http.Request) (*http.Response, error) {
			cancel()
			return says(503, "")(nil)
		})
		if _, err := s.Head(ctx, "k"); !errors.Is(err, context.Canceled) || len(w.seen) != 1 {
			t.Errorf("Head = %v after %d attempts, want context.Canceled after one", err, len(w.seen))
		}
	})
}
