// Package glaciertest is a double of the S3 Glacier vault service, written from Amazon's
// developer guide and the models of its SDK. It is not that service: no server that can be
// run has its asynchronous half (jobs of hours, inventories of yesterday, ranges and tree
// hashes), so the tests of the driver need this one. Where the guide states a rule, the
// double is strict about it: unique archive ids of 138 characters, checked tree hashes,
// aligned parts and ranges, pages of 10 and 50, filters, outputs that live for a day,
// deletes that wait for the next inventory.
//
// Time is the caller's: Options.Now says what time it is, and nothing happens but by requests
// and by that clock. Everything is kept in memory.
//
//	srv := glaciertest.New(glaciertest.Options{Now: clock.Now})
//	http := httptest.NewServer(srv)
package glaciertest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Server. The zero value is a service on the wall clock with the usual times.
type Options struct {
	Now func() time.Time // nil: time.Now

	// How long jobs take: 3 minutes, 4 hours, 8 hours and 4 hours.
	Expedited, Standard, Bulk, Inventory time.Duration

	// InventoryEvery is the time between inventories of a vault that has changed: 24 hours.
	InventoryEvery time.Duration

	// Published, if set, is told of each notification, without locks.
	Published func(topic string, body []byte)
}

// lifetime is how long a finished job and its output are kept, and an upload that gets no
// parts (developer guide, "Get Job Output" and "Uploading Large Archives in Parts").
const lifetime = 24 * time.Hour

// A Server is the service of one account in one region. It is an http.Handler.
type Server struct {
	o Options

	mu          sync.Mutex // guards all below
	vaults      map[string]*vault
	calls       map[string]int
	faults      map[string][]fault
	policy      string // strategy of the data retrieval policy
	perHour     int64  // bytes, of BytesPerHour
	noExpedited bool
	closed      bool // NoLongerSupportedException
	messages    []message
}

// A fault is an answer that a request gets instead of being served.
type fault struct {
	status int
	code   string
	after  bool // it is served, and the answer lost
}

type message struct {
	topic string
	body  []byte
}

// New makes an empty service.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&o.Expedited, 3 * time.Minute},
		{&o.Standard, 4 * time.Hour},
		{&o.Bulk, 8 * time.Hour},
		{&o.Inventory, 4 * time.Hour},
		{&o.InventoryEvery, 24 * time.Hour},
	} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	return &Server{o: o, vaults: map[string]*vault{}, calls: map[string]int{}, faults: map[string][]fault{}, policy: "None"}
}

// Calls tells how many requests for an operation were received: "InitiateJob".
func (s *Server) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Fail has the next n requests for an operation answered with an error.
func (s *Server) Fail(op string, n, status int, code string) {
	s.fault(op, n, fault{status: status, code: code})
}

// Lose has the next n requests for an operation served, and answered with an error.
func (s *Server) Lose(op string, n int) {
	s.fault(op, n, fault{status: http.StatusInternalServerError, code: "ServiceUnavailableException", after: true})
}

func (s *Server) fault(op string, n int, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = append(s.faults[op], slices.Repeat([]fault{f}, n)...)
}

// SetExpedited says whether there is capacity for Expedited retrievals.
func (s *Server) SetExpedited(available bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noExpedited = !available
}

// SetClosed has every request refused as of an account without Glacier storage.
func (s *Server) SetClosed(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = closed
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, op, err := s.route(r)
	if err == nil {
		err = q.check()
	}
	var a answer
	if err == nil {
		a, err = s.serve(op, q)
	}
	if err != nil {
		a = err.answer()
	}
	a.write(w, r)
	s.publish()
}

// serve runs one operation under the lock.
func (s *Server) serve(op operation, q *request) (answer, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op.name]++
	if s.closed {
		return answer{}, bad("NoLongerSupportedException", "this account has no Amazon S3 Glacier storage")
	}
	f := s.faultLocked(op.name)
	if f != nil && !f.after {
		return answer{}, &problem{f.status, f.code, "as the test wanted"}
	}
	q.now = s.o.Now().UTC()
	s.tickLocked(q.now)
	if q.vaultName != "" && !op.makesVault {
		if q.vault = s.vaults[q.vaultName]; q.vault == nil && !op.mayLack {
			return answer{}, absent("Vault not found for ARN: " + arn(q.vaultName))
		}
	}
	a, err := op.do(s, q)
	if f != nil {
		return answer{}, &problem{f.status, f.code, "the answer was lost"}
	}
	return a, err
}

func (s *Server) faultLocked(op string) *fault {
	fs := s.faults[op]
	if len(fs) == 0 {
		return nil
	}
	s.faults[op] = fs[1:]
	return &fs[0]
}

// tickLocked lets everything happen that is due.
func (s *Server) tickLocked(now time.Time) {
	for _, v := range s.vaults {
		v.takeInventories(now, s.o.InventoryEvery)
		for _, j := range v.jobs {
			s.finishLocked(v, j, now)
		}
		v.forget(now)
	}
}

// publish hands out notifications.
func (s *Server) publish() {
	s.mu.Lock()
	out := s.messages
	s.messages = nil
	s.mu.Unlock()
	for _, m := range out {
		if s.o.Published != nil {
			s.o.Published(m.topic, m.body)
		}
	}
}

// newID is n characters of the kind that the service's ids are made of. It may begin with "-".
func newID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

func arn(vault string) string { return "arn:aws:glacier:us-east-1:012345678901:vaults/" + vault }

// stamp is how the service writes times.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// An answer is what a request is answered with.
type answer struct {
	status int
	header map[string]string
	json   any
	body   []byte
	typ    string // of body
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", newID(52))
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	body, typ := a.body, a.typ
	if a.json != nil {
		var err error
		if body, err = json.Marshal(a.json); err != nil {
			panic("glaciertest: " + err.Error()) // plain data only
		}
		typ = "application/json"
	}
	if typ != "" {
		w.Header().Set("Content-Type", typ)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may be gone
}

// A problem is an error of the service (developer guide, "Error Responses").
type problem struct {
	status        int
	code, message string
}

func (p *problem) answer() answer {
	kind := "Client"
	if p.status >= 500 {
		kind = "Server"
	}
	return answer{status: p.status, json: map[string]string{"code": p.code, "message": p.message, "type": kind}}
}

func bad(code, message string) *problem { return &problem{http.StatusBadRequest, code, message} }

func invalid(message string) *problem { return bad("InvalidParameterValueException", message) }

func absent(message string) *problem {
	return &problem{http.StatusNotFound, "ResourceNotFoundException", message}
}

// printable reports whether s may be a description: up to 1,024 characters of printable ASCII.
func printable(s string) bool {
	return len(s) <= 1024 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
