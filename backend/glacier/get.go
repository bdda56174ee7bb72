package glacier

import (
	"context"
	"errors"
	"fmt"
	"io"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"

	"github.com/thawfs/thawfs/backend"
)

// readNode is how many leaves are read and checked at once, at most: the service tells the
// hash of a node, so a node is read as a whole before any byte of it is handed out.
const readNode = 4

// Get implements backend.Store: bytes come from the output of a job, node by node of the tree
// of hashes, each checked. One that does not match is ErrCorrupt.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, error) {
	r, err := s.record(ctx, key)
	switch {
	case err != nil:
	case off < 0:
		err = fmt.Errorf("%w: offset %d", backend.ErrInvalid, off)
	case etag != "" && etag != r.object(key).ETag:
		err = backend.ErrChanged
	}
	if err != nil {
		return nil, s.fail(ctx, "get", key, err)
	}
	off = min(off, r.size)
	if n < 0 || n > r.size-off {
		n = r.size - off
	}
	body := &nodeReader{store: s, ctx: ctx, key: key, rec: r, off: off, end: off + n}
	if n == 0 {
		return body, nil
	}
	if body.job, err = s.output(ctx, r); err != nil {
		return nil, s.fail(ctx, "get", key, err)
	}
	return body, nil
}

// output finds the job whose output has all bytes of r: ErrArchived if there is none.
func (s *Store) output(ctx context.Context, r record) (Job, error) {
	if err := s.lookAtJobs(ctx, s.svc.o.Look); err != nil {
		return Job{}, err
	}
	j, ok := s.job(r.id)
	if !ok || j.Status != succeeded || !s.svc.o.Now().Before(j.Ends) {
		return Job{}, backend.ErrArchived
	}
	return j, nil
}

// A nodeReader reads bytes [off, end) of an archive.
type nodeReader struct {
	store    *Store
	ctx      context.Context //nolint:containedctx // of the Get that made it, as http does
	key      string
	rec      record
	job      Job
	off, end int64
	node     []byte // what has been checked and not been read
	err      error
}

func (b *nodeReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(b.node) == 0 {
		if b.off == b.end {
			return 0, io.EOF
		}
		from := b.off / mib
		limit := min(readNode, ceilPower(leafCount(b.end-from*mib)))
		to := nodeAt(from, limit, leafCount(b.rec.size))
		node, err := b.store.node(b.ctx, b.job, b.rec, from, to)
		if err != nil {
			b.err = b.store.fail(b.ctx, "get", b.key, err)
			return 0, b.err
		}
		node = node[b.off-from*mib:]
		b.node = node[:min(int64(len(node)), b.end-b.off)]
	}
	n := copy(p, b.node)
	b.node = b.node[n:]
	b.off += int64(n)
	return n, nil
}

func (b *nodeReader) Close() error {
	b.node, b.off, b.err = nil, b.end, io.ErrClosedPipe
	return nil
}

// node reads leaves [from, to) of the output of a whole archive and checks them.
func (s *Store) node(ctx context.Context, j Job, r record, from, to int64) ([]byte, error) {
	first, last := from*mib, min(to*mib, r.size)-1
	bytes := fmt.Sprintf("bytes=%d-%d", first, last)
	out, err := s.svc.api.GetJobOutput(ctx, &awsglacier.GetJobOutputInput{
		AccountId: account(), VaultName: &s.vault, JobId: &j.ID, Range: &bytes,
	})
	if err != nil {
		if errors.Is(translate(ctx, err), backend.ErrNotExist) { // it has ended earlier than it was promised
			s.forgetJobs()
			return nil, fmt.Errorf("%w: the output of job %s is gone", backend.ErrArchived, j.ID)
		}
		return nil, err
	}
	defer out.Body.Close() // read-only: nothing to lose
	buf := make([]byte, last-first+1)
	if _, err := io.ReadFull(out.Body, buf); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: the output broke off: %s", backend.ErrUnavailable, words(err))
	}
	want, told := parseSum(value(out.Checksum))
	whole := from == 0 && last == r.size-1
	if whole && r.hashed {
		want, told = r.hash, true
	}
	if got := treeHash(buf); told && got != want {
		return nil, fmt.Errorf("%w: %w", backend.ErrCorrupt, mismatch(fmt.Sprintf("bytes %d to %d", first, last), got, want))
	}
	if !told {
		return nil, fmt.Errorf("%w: the service tells no hash of bytes %d to %d", backend.ErrCorrupt, first, last)
	}
	return buf, nil
}
