package faultproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
)

func withFault(ctx context.Context, f Fault) context.Context {
	return context.WithValue(ctx, faultKey{}, f)
}

// modify is what befalls the answer of the server.
func modify(resp *http.Response) error {
	f, _ := resp.Request.Context().Value(faultKey{}).(Fault)
	if f.Answer != nil {
		if err := f.Answer(resp); err != nil {
			return err
		}
	}
	if f.ChopAnswer > 0 {
		resp.Body = &chopped{ReadCloser: resp.Body, left: f.ChopAnswer}
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
	}
	if f.CutAnswer > 0 || f.FlipAnswer > 0 {
		resp.Body = &body{ReadCloser: resp.Body, cut: f.CutAnswer, flip: f.FlipAnswer}
	}
	return nil
}

var errCut = errors.New("cut by the fault proxy")

// A body passes bytes on until it is cut, and flips a bit of one of them.
type body struct {
	io.ReadCloser
	cut, flip int64
	at        int64 // bytes passed
}

func (b *body) Read(p []byte) (int, error) {
	if b.cut > 0 {
		if b.at >= b.cut {
			return 0, errCut
		}
		p = p[:min(int64(len(p)), b.cut-b.at)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.flip > b.at && b.flip <= b.at+int64(n) {
		p[b.flip-b.at-1] ^= 0x10
	}
	b.at += int64(n)
	return n, err
}

// chopped ends early as if that were all.
type chopped struct {
	io.ReadCloser
	left int64
}

func (c *chopped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.EOF
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
