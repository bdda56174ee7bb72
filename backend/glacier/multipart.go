package glacier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/thawfs/thawfs/backend"
)

const (
	partsAtOnce  = 4
	partAttempts = 3 // besides the SDK's own
)

// A sending is an upload in parts that is not finished, as the catalogue remembers it: another
// process that has the same bytes to send goes on with it.
type sending struct {
	ID       string `json:"id"`
	Size     int64  `json:"size"`
	PartSize int64  `json:"part"`
	Root     string `json:"root"` // tree hash of the whole
	About    string `json:"about"`
}

// uploadParts uploads c in parts of one size. Parts that the service has already, of an
// attempt that was interrupted, are recognized by their hashes and not sent again.
func (s *Store) uploadParts(ctx context.Context, key, about string, c *content, r *record) error {
	up, have, err := s.beginParts(ctx, key, about, c, r.attrs.Meta["mtime"] == "")
	if err != nil {
		return err
	}
	if up.About != about {
		r.mtime = decode(up.About).mtime
	}
	g, sub := errgroup.WithContext(ctx)
	g.SetLimit(partsAtOnce)
	for off := int64(0); off < c.body.Size() && sub.Err() == nil; off += up.PartSize {
		n := min(up.PartSize, c.body.Size()-off)
		want := c.node(off, n)
		if slices.Contains(have[off], want.String()) {
			continue
		}
		g.Go(func() error { return s.sendPart(sub, up, c, off, n, want) })
	}
	if err := g.Wait(); err != nil {
		if errors.Is(translate(ctx, err), backend.ErrNotExist) { // it expired: the next attempt begins anew
			err = errors.Join(fmt.Errorf("%w: the upload was given up by the service", backend.ErrUnavailable), s.setSending(key, nil))
		}
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	size, sum := formatInt(c.body.Size()), c.root.String()
	out, err := s.svc.api.CompleteMultipartUpload(ctx, &awsglacier.CompleteMultipartUploadInput{
		AccountId: account(), VaultName: &s.vault, UploadId: &up.ID, ArchiveSize: &size, Checksum: &sum,
	})
	if err != nil {
		return err
	}
	r.id, r.created = value(out.ArchiveId), s.serverTime(out.ResultMetadata)
	return errors.Join(c.sent(out.Checksum, c.root), s.setSending(key, nil))
}

// node is the hash of a part: its leaves are a node of the tree, or the rest of it.
func (c *content) node(off, n int64) sum {
	return rootOf(c.leaves[off/mib : leafCount(off+n)])
}

// beginParts finds the unfinished upload of these bytes, with the hashes of its parts by their
// first byte, or begins one. With anyTime its description may tell another time.
func (s *Store) beginParts(ctx context.Context, key, about string, c *content, anyTime bool) (sending, map[int64][]string, error) {
	up, found, err := s.sending(key)
	if err != nil {
		return up, nil, err
	}
	if found && up.Size == c.body.Size() && up.Root == c.root.String() && (anyTime || up.About == about) {
		have, err := s.listParts(ctx, up.ID)
		if err == nil || !errors.Is(translate(ctx, err), backend.ErrNotExist) {
			return up, have, err
		}
	} else if found { // of other bytes
		_, err := s.svc.api.AbortMultipartUpload(ctx, &awsglacier.AbortMultipartUploadInput{AccountId: account(), VaultName: &s.vault, UploadId: &up.ID})
		if err != nil && !errors.Is(translate(ctx, err), backend.ErrNotExist) {
			return up, nil, err
		}
	}
	up = sending{Size: c.body.Size(), PartSize: partSizeFor(c.body.Size(), s.svc.o.PartSize), Root: c.root.String(), About: about}
	size := formatInt(up.PartSize)
	out, err := s.svc.api.InitiateMultipartUpload(ctx, &awsglacier.InitiateMultipartUploadInput{
		AccountId: account(), VaultName: &s.vault, ArchiveDescription: &about, PartSize: &size,
	})
	if err != nil {
		return up, nil, err
	}
	up.ID = value(out.UploadId)
	return up, nil, s.setSending(key, &up)
}

// listParts returns the tree hashes of the parts of an upload, by their first byte.
func (s *Store) listParts(ctx context.Context, id string) (map[int64][]string, error) {
	in := &awsglacier.ListPartsInput{AccountId: account(), VaultName: &s.vault, UploadId: &id}
	have := map[int64][]string{}
	for {
		out, err := s.svc.api.ListParts(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parts {
			var from, to int64
			if _, err := fmt.Sscanf(value(p.RangeInBytes), "%d-%d", &from, &to); err != nil {
				return nil, fmt.Errorf("%w: range of a part %q", backend.ErrUnavailable, value(p.RangeInBytes))
			}
			have[from] = append(have[from], value(p.SHA256TreeHash))
		}
		if in.Marker = out.Marker; value(out.Marker) == "" {
			return have, nil
		}
	}
}

// sendPart sends one part, which may be sent again and again.
func (s *Store) sendPart(ctx context.Context, up sending, c *content, off, n int64, want sum) error {
	linear := sha256.New()
	if _, err := io.Copy(linear, stopReader{ctx, c.reader(off, n)}); err != nil {
		return fmt.Errorf("read what is to be sent: %w", err)
	}
	where, tree := fmt.Sprintf("bytes %d-%d/*", off, off+n-1), want.String()
	var err error
	for range partAttempts {
		var out *awsglacier.UploadMultipartPartOutput
		out, err = s.svc.api.UploadMultipartPart(ctx, &awsglacier.UploadMultipartPartInput{
			AccountId: account(), VaultName: &s.vault, UploadId: &up.ID, Range: &where, Checksum: &tree, Body: c.reader(off, n),
		}, contentHash(hex.EncodeToString(linear.Sum(nil))))
		if err == nil {
			return c.sent(out.Checksum, want)
		}
		if ctx.Err() != nil || !errors.Is(translate(ctx, err), backend.ErrUnavailable) {
			return err
		}
	}
	return err
}

// contentHash gives the request the SHA-256 of its body, which the signature needs. The SDK
// would read the body twice more to find it and the tree hash, which are known.
func contentHash(sum string) func(*awsglacier.Options) {
	return func(o *awsglacier.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Build.Add(middleware.BuildMiddlewareFunc("thawfsContentHash", func(
				ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
			) (middleware.BuildOutput, middleware.Metadata, error) {
				if req, ok := in.Request.(*smithyhttp.Request); ok {
					req.Header.Set("X-Amz-Content-Sha256", sum)
				}
				return next.HandleBuild(v4.SetPayloadHash(ctx, sum), in)
			}), middleware.After)
		})
	}
}

func (s *Store) sending(key string) (up sending, found bool, err error) {
	err = s.cat.view(func(tx *bolt.Tx) error {
		v := tx.Bucket([]byte(sendsBucket)).Get([]byte(key))
		if v == nil {
			return nil
		}
		found = true
		return json.Unmarshal(v, &up)
	})
	return up, found, err
}

// setSending remembers the upload of a key, or with nil that there is none.
func (s *Store) setSending(key string, up *sending) error {
	return s.cat.update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(sendsBucket))
		if up == nil {
			return b.Delete([]byte(key))
		}
		text, err := json.Marshal(up)
		if err != nil {
			return err
		}
		return b.Put([]byte(key), text)
	})
}
