package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// store looks at the store of j.
func (d *doctor) store(ctx context.Context, j *job) {
	service, err := j.reachStore(ctx, slog.New(slog.DiscardHandler))
	if !d.judge("store", j.source.String()+" is reached and can be read", err) {
		return
	}
	if endpoint := j.givenEndpoint(); endpoint != "" && j.source.scheme == "s3" {
		d.clock(ctx, endpoint)
	}
	if j.source.bucket == "" {
		if d.probe {
			d.say(finding{"powers", isSlower, "a probe needs a bucket", "Name one: " + strings.TrimSuffix(j.source.String(), "/") + "/BUCKET"})
		}
		return
	}
	s, err := service.Open(ctx, j.source.bucket)
	if err != nil {
		d.judge("bucket", "", j.explain(ctx, err))
		return
	}
	d.powers(s)
	if d.probe {
		d.probeStore(ctx, s, j.source.prefix)
	}
}

// maxSkew is what servers of S3 let pass, less a reserve: they refuse signatures that are a quarter
// of an hour off.
const maxSkew = 5 * time.Minute

// clock compares ours with the Date of an answer, whatever that is.
func (d *doctor) clock(ctx context.Context, endpoint string) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint, nil)
	if err != nil {
		return // it was reached all the same
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	_ = resp.Body.Close() // HEAD has none
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	skew := time.Since(theirs)
	if skew.Abs() > maxSkew {
		d.say(finding{"clock", isWrong, "it differs from the server's by " + skew.Round(time.Second).String(), "Set it, for instance with: sudo timedatectl set-ntp true"})
		return
	}
	d.say(finding{"clock", isGood, "agrees with the server's to " + max(skew.Abs().Round(time.Second), time.Second).String(), ""})
}

// powers says what the driver can do without trying.
func (d *doctor) powers(s backend.Store) {
	var can []string
	if _, ok := s.(backend.Copier); ok {
		can = append(can, "copies inside the store")
	}
	if _, ok := s.(backend.PartUploader); ok {
		can = append(can, "uploads in parts")
	}
	if _, ok := s.(backend.BatchDeleter); ok {
		can = append(can, "deletes in batches")
	}
	if _, ok := s.(backend.Restorer); ok {
		can = append(can, "restores from archives")
	}
	d.say(finding{"powers", isGood, strings.Join(can, ", "), ""})
}

const probeLimit = 2 * time.Minute

// probeStore tries what a mount relies on with an object of its own.
func (d *doctor) probeStore(ctx context.Context, s backend.Store, prefix string) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	p := prober{s: s, key: prefix + ".thawfs-probe-" + strings.ToLower(rand.Text())}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeLimit)
		defer cancel()
		for _, key := range []string{p.key, p.key + "-copy"} {
			if err := s.Delete(clean, key); err != nil {
				d.judge("delete", "", fmt.Errorf("%s is left behind: %s", key, words(err)))
			}
		}
	}()
	obj, err := p.put(ctx, "one", backend.PutOptions{Attrs: backend.Attrs{Meta: map[string]string{"probe": "é"}}})
	if !d.judge("write", "a small object", because(err)) {
		return
	}
	head, err := s.Head(ctx, p.key)
	if err == nil && (head.ETag != obj.ETag || head.Meta["probe"] != "é") {
		err = fmt.Errorf("the attributes came back as %q", head.Meta["probe"])
	}
	d.judge("read", "with its attributes", because(errors.Join(err, p.read(ctx, obj, "one"))))
	_, err = p.put(ctx, "two", backend.PutOptions{Cond: backend.Cond{IfAbsent: true}})
	d.cond("If-None-Match: two mounts cannot create one file", err)
	_, err = p.put(ctx, "two", backend.PutOptions{Cond: backend.Cond{IfMatch: strings.Repeat("0", 32)}})
	d.cond("If-Match: changes by others are not overwritten", err)
	if c, ok := s.(backend.Copier); ok {
		_, err := c.Copy(ctx, obj, p.key+"-copy", backend.CopyOptions{})
		d.judge("copy", "rename moves no bytes", because(err))
	}
	if u, ok := s.(backend.PartUploader); ok {
		up, err := u.NewUpload(ctx, p.key, backend.PutOptions{})
		if err == nil {
			err = u.Abort(ctx, up)
		}
		d.judge("parts", "long files go up while they are written", because(err))
	}
}

// because makes a problem of what a store said.
func because(err error) error {
	if err == nil {
		return nil
	}
	return wrong(words(err), "Allow it for these credentials, or use --read-only.").because(err)
}

// cond judges a change that must be refused with ErrChanged.
func (d *doctor) cond(what string, err error) {
	switch {
	case errors.Is(err, backend.ErrChanged):
		d.say(finding{what, isGood, "", ""})
	case errors.Is(err, backend.ErrUnsupported):
		d.say(finding{what, isSlower, "the server cannot; thawfs asks just before, which leaves a moment", ""})
	case err == nil:
		d.say(finding{what, isWrong, "the server ignored the condition", "Let only one mount write there, or use another server."})
	default:
		d.judge(what, "", because(err))
	}
}

// prober has one key to try things with.
type prober struct {
	s   backend.Store
	key string
}

func (p prober) put(ctx context.Context, content string, o backend.PutOptions) (backend.Object, error) {
	r := strings.NewReader(content)
	return p.s.Put(ctx, p.key, io.NewSectionReader(r, 0, r.Size()), o)
}

func (p prober) read(ctx context.Context, obj backend.Object, want string) error {
	r, err := p.s.Get(ctx, p.key, obj.ETag, 0, -1)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if string(b) != want {
		return fmt.Errorf("read %q, wrote %q", b, want)
	}
	return nil
}
