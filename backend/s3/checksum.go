package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	nvme "github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// Ways to protect a body on its way.
const (
	auto       = "auto"
	crc64nvme  = "crc64nvme"
	contentMD5 = "md5"
	off        = "off"
)

// checksums remembers how the bodies for one service are protected. In mode auto it begins with
// CRC64NVME, which costs nothing to compute, and goes over to Content-MD5 for good as soon as
// an answer shows that the server did not look at the CRC: such a server would store a damaged
// body without a word.
type checksums struct {
	mode      string
	log       *slog.Logger
	confirmed atomic.Bool // the server has echoed a CRC
	fallen    atomic.Bool // auto has gone over to MD5
}

func newChecksums(mode string, log *slog.Logger) *checksums {
	if mode == "" {
		mode = auto
	}
	return &checksums{mode: mode, log: log}
}

// now is how the next body goes: crc64nvme, md5 or off.
func (c *checksums) now() string {
	switch {
	case c.mode != auto:
		return c.mode
	case c.fallen.Load():
		return contentMD5
	}
	return crc64nvme
}

// fall goes over to MD5.
func (c *checksums) fall(why string) {
	if c.mode == auto && c.fallen.CompareAndSwap(false, true) {
		c.log.Info("the store does not check CRC64NVME, bodies get MD5 instead", "why", why)
	}
}

// refused reports whether an error may be a server's way to say that it does not know
// CRC64NVME; the request is worth another try then, as checksums have gone over to MD5.
func (c *checksums) refused(err error, how string) bool {
	if c.mode != auto || how != crc64nvme || c.confirmed.Load() {
		return false
	}
	if status := statusOf(err); status != http.StatusBadRequest && status != http.StatusNotImplemented {
		return false
	}
	sentinel := sentinelOf(codeOf(err), statusOf(err))
	if sentinel != backend.ErrInvalid && sentinel != backend.ErrUnsupported {
		return false
	}
	// A name or class it does not take is none of the checksum's business.
	switch codeOf(err) {
	case "InvalidRequest", "InvalidArgument", "NotImplemented", "InvalidDigest", "":
		c.fall(codeOf(err))
		return true
	}
	return false
}

// A sending is one body on its way, with its checksums.
type sending struct {
	sums *checksums
	how  string // as the request was made
	body *io.SectionReader
	crc  *uint64
	md5  []byte
}

// prepare computes what the request needs to know of body ahead. known is the caller's CRC of
// it, if it has one.
func (c *checksums) prepare(body *io.SectionReader, known *uint64) (*sending, error) {
	p := &sending{sums: c, how: c.now(), body: io.NewSectionReader(body, 0, body.Size()), crc: known}
	if p.how == crc64nvme && known == nil {
		h := nvme.New()
		if err := p.through(h); err != nil {
			return nil, err
		}
		sum := h.Sum64()
		p.crc = &sum
	}
	if p.body.Size() == 0 && p.crc != nil && *p.crc != 0 {
		return nil, mismatch(0, *p.crc) // no Read will come by to notice
	}
	if p.how == contentMD5 {
		return p, p.sum()
	}
	return p, nil
}

// sum computes the MD5 of the body.
func (p *sending) sum() error {
	h := md5.New()
	if err := p.through(h); err != nil {
		return err
	}
	p.md5 = h.Sum(nil)
	return nil
}

func (p *sending) through(h hash.Hash) error {
	if _, err := io.CopyN(h, io.NewSectionReader(p.body, 0, p.body.Size()), p.body.Size()); err == io.EOF {
		return &localError{io.ErrUnexpectedEOF} // the file has become shorter
	} else if err != nil {
		return &localError{err}
	}
	return nil
}

// reader is the body for the request.
func (p *sending) reader() *checkedBody {
	r := &checkedBody{r: io.NewSectionReader(p.body, 0, p.body.Size()), size: p.body.Size(), row: true}
	if p.crc != nil {
		r.want, r.sum = *p.crc, nvme.New()
	}
	return r
}

// crcHeader and md5Header are the values of x-amz-checksum-crc64nvme and Content-MD5; nil
// leaves the header out.
func (p *sending) crcHeader() *string {
	if p.how != crc64nvme {
		return nil
	}
	return encodeCRC(*p.crc)
}

func (p *sending) md5Header() *string {
	if p.md5 == nil {
		return nil
	}
	s := base64.StdEncoding.EncodeToString(p.md5)
	return &s
}

// confirm compares what the server says it stored with what was sent.
func (p *sending) confirm(echo *string, etag string, sse types.ServerSideEncryption, customerKey *string) error {
	if p.how == crc64nvme {
		if echo != nil && *echo != "" {
			p.sums.confirmed.Store(true)
			if got, ok := decodeCRC(*echo); ok && got != *p.crc {
				return mismatch(got, *p.crc)
			}
			return nil
		}
		if p.sums.mode != auto {
			return nil
		}
		p.sums.fall("its answer names no checksum")
		if err := p.sum(); err != nil {
			return err
		}
	}
	// An ETag is the MD5 of the body unless that was encrypted by a key of its owner's.
	if p.md5 == nil || len(etag) != 2*md5.Size || customerKey != nil || sse != "" && sse != types.ServerSideEncryptionAes256 {
		return nil
	}
	if got, err := hex.DecodeString(etag); err == nil && string(got) != string(p.md5) {
		return fmt.Errorf("%w: the store's ETag is %s, the MD5 of what was sent is %x (if this store's ETags are no MD5 sums, turn checksums off)",
			backend.ErrCorrupt, strings.ToLower(etag), p.md5)
	}
	return nil
}

func mismatch(got, want uint64) error {
	return fmt.Errorf("%w: CRC64NVME is %016x, want %016x", backend.ErrCorrupt, got, want)
}

// checkedBody is a body that verifies itself while it is sent: the last bytes are not handed
// out unless all of them match the checksum, so that a server gets either the right bytes or
// less than it was promised, which it discards. Not every server looks at checksums.
//
// A body that has failed once cannot be rewound, which keeps the SDK from sending it again. All
// it may get to see of the failure is that the server hung up.
type checkedBody struct {
	r    *io.SectionReader
	size int64
	at   int64 // next byte
	row  bool  // all before it went through sum
	want uint64
	sum  hash.Hash64 // nil: nothing is known to compare with

	mu     sync.Mutex // guards failed: the transport reads in a goroutine of its own
	failed error
}

// failure is why the body could not be sent; nil if that was not for the body.
func (b *checkedBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

func (b *checkedBody) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = err
	return err
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.at += int64(n)
	if err == io.EOF && b.at < b.size {
		err = io.ErrUnexpectedEOF // the file has become shorter
	}
	if err != nil && err != io.EOF {
		return n, b.fail(&localError{err})
	}
	if b.sum == nil || n == 0 {
		return n, err
	}
	_, _ = b.sum.Write(p[:n]) // a hash returns no error
	if b.row && b.at == b.size && b.sum.Sum64() != b.want {
		return 0, b.fail(mismatch(b.sum.Sum64(), b.want))
	}
	return n, err
}

func (b *checkedBody) Seek(offset int64, whence int) (int64, error) {
	if err := b.failure(); err != nil {
		return 0, err
	}
	pos, err := b.r.Seek(offset, whence)
	if err != nil || pos == b.at {
		return pos, err
	}
	b.at, b.row = pos, pos == 0
	if b.sum != nil && pos == 0 {
		b.sum.Reset()
	}
	return pos, nil
}

// localError is a failure to read the body, which is local: its errno keeps its meaning.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

func encodeCRC(crc uint64) *string {
	s := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
	return &s
}

func decodeCRC(s string) (uint64, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}
