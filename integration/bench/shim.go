package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A shim stands between a client and the store: it counts the requests and, if told so, makes
// the store a distant one. It works on the bytes of HTTP/1.1, which the kernel moves from
// socket to socket (splice) where they need not be looked at, so that it costs little.
type shim struct {
	listener net.Listener
	to       string        // address of the store
	delay    time.Duration // from the last byte of a request to the first of its answer, at least
	rate     float64       // bytes a second and connection, each way; 0 is no limit

	mu     sync.Mutex
	counts map[string]int64 // requests by kind. Guarded by mu
}

const chunk = 64 << 10 // bytes that are paced at a time

func newShim(to string, delay time.Duration, rate float64) (*shim, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &shim{listener: l, to: to, delay: delay, rate: rate, counts: map[string]int64{}}
	go s.serve()
	return s, nil
}

func (s *shim) endpoint() string { return "http://" + s.listener.Addr().String() }

// close ends the shim; connections end with their clients.
func (s *shim) close() { _ = s.listener.Close() }

func (s *shim) serve() {
	for {
		client, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		go s.join(client.(*net.TCPConn))
	}
}

func (s *shim) count(kind string) {
	s.mu.Lock()
	s.counts[kind]++
	s.mu.Unlock()
}

// snapshot is a copy of the counts.
func (s *shim) snapshot() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

func (s *shim) join(client *net.TCPConn) {
	conn, err := net.Dial("tcp", s.to)
	if err != nil {
		_ = client.Close() // the client sees the store go away
		return
	}
	c := &joint{s: s, client: client, server: conn.(*net.TCPConn)}
	go c.down()
	c.up()
}

// A joint is one connection through the shim.
type joint struct {
	s              *shim
	client, server *net.TCPConn
	asked          atomic.Int64 // when the request that waits for its answer was sent; 0 if none does
}

func (c *joint) close() {
	_ = c.client.Close() // who is cut off looks for itself
	_ = c.server.Close()
}

// up carries requests to the store.
func (c *joint) up() {
	defer c.close()
	r := bufio.NewReaderSize(c.client, chunk)
	for {
		head, length, err := readHead(r)
		if err != nil {
			return
		}
		c.s.count(kindOf(head))
		if _, err := c.server.Write(head); err != nil {
			return
		}
		c.ask()
		if length == 0 {
			continue
		}
		buffered := min(length, int64(r.Buffered()))
		if _, err := io.CopyN(c.server, r, buffered); err != nil {
			return
		}
		if err := c.paced(c.server, c.client, length-buffered); err != nil {
			return
		}
		c.ask()
	}
}

func (c *joint) ask() {
	if c.s.delay > 0 {
		c.asked.Store(time.Now().UnixNano())
	}
}

// down carries answers back, each of them late.
func (c *joint) down() {
	defer c.close()
	if c.s.delay == 0 {
		_, _ = io.Copy(c.client, c.server) // whoever ends it
		return
	}
	buf := make([]byte, chunk)
	begin, sent := time.Now(), int64(0)
	for {
		n, err := c.server.Read(buf)
		if asked := c.asked.Swap(0); asked != 0 {
			time.Sleep(time.Until(time.Unix(0, asked).Add(c.s.delay)))
			begin, sent = time.Now(), 0
		}
		if _, werr := c.client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
		sent += int64(n)
		c.s.pace(begin, sent)
	}
}

// paced copies n bytes no faster than the rate allows.
func (c *joint) paced(to, from *net.TCPConn, n int64) error {
	if c.s.rate == 0 {
		_, err := io.CopyN(to, from, n)
		return err
	}
	begin := time.Now()
	for sent := int64(0); sent < n; {
		m, err := io.CopyN(to, from, min(chunk, n-sent))
		if err != nil {
			return err
		}
		sent += m
		c.s.pace(begin, sent)
	}
	return nil
}

// pace sleeps until as many bytes could have been sent since begin. The timer is coarse: small
// leads are left to add up.
func (s *shim) pace(begin time.Time, sent int64) {
	if s.rate == 0 {
		return
	}
	due := begin.Add(time.Duration(float64(sent) / s.rate * float64(time.Second)))
	if lead := time.Until(due); lead > 2*time.Millisecond {
		time.Sleep(lead)
	}
}

// readHead reads the head of a request and returns it as it is, with the length of the body.
func readHead(r *bufio.Reader) (head []byte, length int64, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		head = append(head, line...)
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return head, length, nil
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok:
		case bytes.EqualFold(name, []byte("content-length")):
			length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return nil, 0, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return nil, 0, fmt.Errorf("a body in chunks: %q", line) // no S3 client sends any
		}
	}
}
