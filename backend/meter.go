package backend

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Meter counts the requests that a driver makes over HTTP, each attempt by itself. The zero
// Meter is ready. Its methods may be called concurrently.
type Meter struct {
	mu    sync.Mutex // leaf
	ops   map[string]*Requests
	state Answers
}

// Metered is the power of a Service that counts what it asks for.
type Metered interface {
	Meter() *Meter
}

// Requests are the requests of one operation since the start.
type Requests struct {
	Op       string        `json:"op"`
	OK       int64         `json:"ok"`       // answered with what was asked for, or that there is none
	Refused  int64         `json:"refused"`  // answered that the request is wrong, or not allowed
	Failed   int64         `json:"failed"`   // not answered, or with trouble of the server
	Slowed   int64         `json:"slowed"`   // answered that there were too many
	Sent     int64         `json:"sent"`     // bytes of bodies
	Received int64         `json:"received"` // bytes of bodies
	Time     time.Duration `json:"time_ns"`  // until the answers began, all together
	Within   []int64       `json:"-"`        // of all, those whose answer began within MeterSteps
}

// Count is the number of all of them.
func (r Requests) Count() int64 { return r.OK + r.Refused + r.Failed + r.Slowed }

// Answers say how the service is.
type Answers struct {
	Answered time.Time // when it last gave an answer, be it a refusal; zero: never
	Failed   time.Time // when it last gave none, or told of trouble of its own
	Err      string    // what was the matter then
}

// MeterSteps are the upper bounds of Requests.Within.
func MeterSteps() []time.Duration {
	return []time.Duration{
		10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond,
		time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second,
	}
}

// Requests returns the counts by operation.
func (m *Meter) Requests() []Requests {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Requests, 0, len(m.ops))
	for _, r := range m.ops {
		c := *r
		c.Within = slices.Clone(r.Within)
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Requests) int { return cmp.Compare(a.Op, b.Op) })
	return all
}

// Answers returns how the service is.
func (m *Meter) Answers() Answers {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Transport counts what goes through next; op names the operation of a request, of which
// there must be few.
func (m *Meter) Transport(next http.RoundTripper, op func(*http.Request) string) http.RoundTripper {
	return metered{m, next, op}
}

type metered struct {
	m    *Meter
	next http.RoundTripper
	op   func(*http.Request) string
}

func (t metered) RoundTrip(r *http.Request) (*http.Response, error) {
	name, start := t.op(r), time.Now()
	resp, err := t.next.RoundTrip(r)
	if err != nil && r.Context().Err() != nil { // we lost interest: that tells nothing of the service
		return resp, err
	}
	t.m.note(name, r, resp, err, time.Since(start))
	if err == nil && resp.Body != nil {
		resp.Body = &meteredBody{ReadCloser: resp.Body, m: t.m, op: name, given: r.Context().Err}
	}
	return resp, err
}

func (m *Meter) note(name string, r *http.Request, resp *http.Response, err error, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.opLocked(name)
	c.Sent += max(r.ContentLength, 0)
	c.Time += took
	for i, step := range MeterSteps() {
		if took <= step {
			c.Within[i]++
		}
	}
	now := time.Now()
	switch {
	case err != nil:
		c.Failed++
		m.state.Failed, m.state.Err = now, err.Error()
		return
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		c.Slowed++
		m.state.Failed, m.state.Err = now, resp.Status
		return
	case resp.StatusCode >= 500:
		c.Failed++
		m.state.Failed, m.state.Err = now, resp.Status
		return
	case resp.StatusCode >= 400 && !expected(resp.StatusCode):
		c.Refused++
	default:
		c.OK++
	}
	m.state.Answered = now
}

// expected reports whether a status is an answer as good as another: there is no such object, the
// condition does not hold, the range is past the end.
func expected(status int) bool {
	return status == http.StatusNotFound || status == http.StatusConflict || status == http.StatusPreconditionFailed ||
		status == http.StatusRequestedRangeNotSatisfiable
}

func (m *Meter) opLocked(name string) *Requests {
	if m.ops == nil {
		m.ops = map[string]*Requests{}
	}
	c := m.ops[name]
	if c == nil {
		c = &Requests{Op: name, Within: make([]int64, len(MeterSteps()))}
		m.ops[name] = c
	}
	return c
}

// meteredBody counts the bytes of an answer.
type meteredBody struct {
	io.ReadCloser
	m     *Meter
	op    string
	given func() error // up: not nil once nobody wants the rest
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n == 0 && err == nil {
		return n, err
	}
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.opLocked(b.op).Received += int64(n)
	if err != nil && !errors.Is(err, io.EOF) && b.given() == nil {
		b.m.state.Failed, b.m.state.Err = time.Now(), err.Error()
	}
	return n, err
}
