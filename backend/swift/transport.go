package swift

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	connectLimit  = 10 * time.Second
	idleLimit     = 90 * time.Second
	silenceLimit  = time.Minute      // no byte from the server, before or inside an answer
	patientLimit  = 15 * time.Minute // the same while it reads thousands of segments
	expectLimit   = 5 * time.Second  // then a body goes without having been asked for
	bufferSize    = 64 << 10         // bytes, each way a connection
	idlePerHost   = 256              // connections; fewer than requests in flight means dialing anew
	tcpUserExpiry = 0x12             // TCP_USER_TIMEOUT: sent bytes that nobody acknowledges
)

// transports make connections as the options want them.
type transports struct{ tls *tls.Config }

// transport reads the certificates of a.
func transport(a Auth) (transports, error) {
	c := &tls.Config{InsecureSkipVerify: a.Insecure} // only if the user's clouds.yaml says so
	if a.CACert != "" {
		pem, err := os.ReadFile(a.CACert)
		if err != nil {
			return transports{}, fmt.Errorf("%w: certificates of the cloud: %w", backend.ErrInvalid, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return transports{}, fmt.Errorf("%w: %s holds no certificate", backend.ErrInvalid, a.CACert)
		}
	}
	return transports{c}, nil
}

func (t transports) impatient() *http.Transport { return t.make(silenceLimit) }
func (t transports) patient() *http.Transport   { return t.make(patientLimit) }

// make is HTTP/1.1: Swift speaks nothing else, and HTTP/2 of a proxy before it would send all
// requests through one connection.
func (t transports) make(silence time.Duration) *http.Transport {
	d := &net.Dialer{Timeout: connectLimit, Control: userTimeout}
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: d.DialContext, TLSClientConfig: t.tls.Clone(),
		TLSHandshakeTimeout: connectLimit, ExpectContinueTimeout: expectLimit, ResponseHeaderTimeout: silence,
		IdleConnTimeout: idleLimit, MaxIdleConnsPerHost: idlePerHost, DisableCompression: true,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize, Protocols: new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(true)
	return tr
}

// userTimeout gives up on a server that acknowledges nothing.
func userTimeout(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserExpiry, int(silenceLimit.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

// newClient takes answers as they are: a redirection of Swift's is an answer of its own.
func newClient(rt http.RoundTripper) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// watched is the body of an answer that ends in an error when the server falls silent.
type watched struct {
	rc     io.ReadCloser
	timer  *time.Timer
	cancel context.CancelFunc // of the request
}

func watch(rc io.ReadCloser, cancel context.CancelFunc) *watched {
	return &watched{rc: rc, timer: time.AfterFunc(silenceLimit, cancel), cancel: cancel}
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(silenceLimit)
	n, err := w.rc.Read(p)
	w.timer.Stop() // the reader may take its time
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.rc.Close()
	w.cancel()
	return err
}

// reading remembers why a body could not be read: the transport wraps that into what looks like
// a fault of the network.
type reading struct {
	r *io.SectionReader

	mu  sync.Mutex // the transport may read on after it has answered
	err error      // guarded by mu
}

func (b *reading) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		if at, _ := b.r.Seek(0, io.SeekCurrent); at < b.r.Size() {
			err = io.ErrUnexpectedEOF // the body is shorter than its size
		}
	}
	if err != nil && err != io.EOF {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

func (b *reading) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
