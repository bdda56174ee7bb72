package swift

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	maxRetries   = 5
	firstBackoff = 250 * time.Millisecond // doubles; the wait is a random part of it
	maxBackoff   = 20 * time.Second
	maxRetryWait = 2 * time.Minute // the longest Retry-After that is waited for here
	maxLogins    = 2               // anew within one request
	maxAnswer    = 64 << 20        // bytes of a listing or manifest
	maxWords     = 1 << 10         // bytes of an error's text that are kept
	expectFrom   = 256 << 10       // bytes of a body that is held back until the server wants it
)

// A request to the store. The account's URL and the token are filled in when it is sent.
type request struct {
	method         string
	container, key string // empty: the account, the container
	query          url.Values
	header         map[string]string
	body           *io.SectionReader // read again by each attempt
	patient        bool              // the server may think about it for minutes
	cold           bool              // 429 says that it is sealed, not that it is to be asked again
	root           bool              // below the server's root instead of the account: key is the path
}

// do sends r until it is answered, and returns an answer of success, whose body the caller
// closes. Requests are repeated when that may help: all of them are idempotent, but a PUT that
// is conditional may find its own work (see put.go).
func (s *Service) do(ctx context.Context, r request) (*http.Response, error) {
	logins := 0
	for attempt := 0; ; attempt++ {
		sess, err := s.keys.session(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := s.once(ctx, sess, r)
		if err == nil {
			return resp, nil
		}
		if statusOf(err) == http.StatusUnauthorized && logins < maxLogins {
			s.keys.drop(sess)
			logins++
			attempt--
			continue
		}
		wait, again := retryAfter(err, attempt)
		if r.cold && statusOf(err) == http.StatusTooManyRequests {
			return nil, fmt.Errorf("%w: %w", backend.ErrArchived, err)
		}
		if !again || attempt == maxRetries || ctx.Err() != nil {
			return nil, err
		}
		s.log.Debug("request repeated", "op", r.method, "key", r.container+"/"+r.key, "dur", wait, "err", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// once makes one attempt.
func (s *Service) once(ctx context.Context, sess session, r request) (*http.Response, error) {
	u, err := r.url(sess.url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, r.method, u, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("User-Agent", "thawfs")
	req.Header.Set("X-Auth-Token", sess.token)
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	var sent *reading
	if r.body != nil && r.body.Size() > 0 {
		sent = &reading{r: io.NewSectionReader(r.body, 0, r.body.Size())}
		req.Body, req.ContentLength = io.NopCloser(sent), r.body.Size()
		if r.body.Size() >= expectFrom {
			req.Header.Set("Expect", "100-continue")
		}
	} else if r.method == http.MethodPut || r.method == http.MethodPost {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	// Swift sends a chunk behind the headers of an answer that has no body, which spoils the
	// connection for others.
	req.Close = r.method == http.MethodHead && r.key == ""
	client := s.client
	if r.patient {
		client = s.patient
	}
	resp, err := client.Do(req)
	if sent != nil && sent.failed() != nil {
		err = &localError{sent.failed()} // the cause of whatever the transport says
	}
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close() // of no use
		}
		cancel()
		return nil, err
	}
	resp.Body = watch(resp.Body, cancel)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refusal(resp)
	}
	return resp, nil
}

// url is where the request goes.
func (r request) url(account string) (string, error) {
	u, err := url.Parse(account)
	if err != nil {
		return "", fmt.Errorf("storage URL: %w", err)
	}
	switch {
	case r.root:
		u.Path, u.RawPath = r.key, ""
	case r.container != "":
		path := "/" + r.container
		if r.key != "" {
			path += "/" + r.key
		}
		base := strings.TrimSuffix(u.EscapedPath(), "/")
		u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+path, base+quotePath(path)
	}
	u.RawQuery = r.query.Encode()
	return u.String(), nil
}

// quotePath escapes everything in a path but what no server reads as anything else.
func quotePath(path string) string {
	const plain = "-._~/"
	var b strings.Builder
	for _, c := range []byte(path) {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// refusal reads what an answer without success says, and closes it.
func refusal(resp *http.Response) *answerError {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxWords)) // as far as it goes
	_ = resp.Body.Close()                                      // the rest is of no use
	return &answerError{status: resp.StatusCode, header: resp.Header, text: plainWords(string(text))}
}

// call sends r and returns the headers of the answer.
func (s *Service) call(ctx context.Context, r request) (http.Header, error) {
	_, h, err := s.read(ctx, r)
	return h, err
}

// read sends r and returns the body of the answer, which is repeated if it breaks off.
func (s *Service) read(ctx context.Context, r request) ([]byte, http.Header, error) {
	for attempt := 0; ; attempt++ {
		resp, err := s.do(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		_ = resp.Body.Close() // read to its end, or broken
		if err == nil {
			return data, resp.Header, nil
		}
		if attempt == maxRetries || r.method != http.MethodGet || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// retryAfter tells whether another attempt may help, and when.
func retryAfter(err error, attempt int) (time.Duration, bool) {
	if !transient(err) {
		return 0, false
	}
	d := min(firstBackoff<<min(attempt, 10), maxBackoff)
	d = d/2 + rand.N(d/2)
	if a := answerOf(err); a != nil {
		if asked, ok := a.retryAfter(time.Now()); ok {
			return max(d, asked), asked <= maxRetryWait
		}
	}
	return d, true
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, section 10.2.3).
func (a *answerError) retryAfter(now time.Time) (time.Duration, bool) {
	v := a.header.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// text makes a body of data.
func text(data []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
}
