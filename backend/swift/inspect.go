package swift

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// tempURLLife is how long an address from Inspect can be used.
const tempURLLife = 24 * time.Hour

// Inspect implements backend.Inspector:
//
//	manifest   the segments of a large object as JSON
//	url        an address by which anybody can read the object for a day (TempURL); if the
//	           container or the account has a key for it
//	expires    when the object ends by itself (X-Delete-At), in RFC 3339
func (s *Store) Inspect(ctx context.Context, key, name string) (value string, ok bool, err error) {
	switch name {
	case "manifest", "url", "expires":
	default:
		return "", false, nil
	}
	k, err := s.head(ctx, key)
	if err == nil {
		switch name {
		case "manifest":
			value, err = s.inspectManifest(ctx, k)
		case "url":
			value, err = s.tempURL(ctx, k)
		case "expires":
			value = k.expires()
		}
	}
	if err != nil {
		return "", false, s.fail(ctx, "inspect", key, err)
	}
	return value, value != "", nil
}

func (s *Store) inspectManifest(ctx context.Context, k known) (string, error) {
	if k.kind != staticLarge && k.kind != dynamicLarge {
		return "", nil
	}
	if !k.State.Readable() {
		return "", fmt.Errorf("%w: its manifest is %s", backend.ErrArchived, k.State)
	}
	segments, err := s.readManifest(ctx, k)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(segments)
	return string(data), err
}

func (k known) expires() string {
	sec, err := strconv.ParseInt(k.deleteAt, 10, 64)
	if err != nil {
		return ""
	}
	return time.Unix(sec, 0).UTC().Format(time.RFC3339)
}

// tempURL signs an address (Swift, middleware tempurl). The ordinary interfaces of the cloud
// see it, so the owner's key stays where it is.
func (s *Store) tempURL(ctx context.Context, k known) (string, error) {
	secret, err := s.tempURLKey(ctx)
	if err != nil || secret == "" {
		return "", err
	}
	sess, err := s.svc.keys.session(ctx)
	if err != nil {
		return "", err
	}
	at, err := request{container: s.name, key: k.raw}.url(sess.url)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(at)
	if err != nil {
		return "", err
	}
	digest := sha256.New
	if t := s.svc.limits.TempURL; t == nil || !slices.Contains(t.Digests, "sha256") {
		digest = sha1.New // before Swift 2.21 there was no other
	}
	expires := strconv.FormatInt(time.Now().Add(tempURLLife).Unix(), 10)
	u.RawQuery = url.Values{"temp_url_sig": {sign(digest, secret, "GET\n"+expires+"\n"+u.Path)}, "temp_url_expires": {expires}}.Encode()
	return u.String(), nil
}

func sign(digest func() hash.Hash, secret, message string) string {
	m := hmac.New(digest, []byte(secret))
	_, _ = m.Write([]byte(message)) // never fails
	return hex.EncodeToString(m.Sum(nil))
}

// tempURLKey finds the key of the container, or of the account; empty if there is none.
func (s *Store) tempURLKey(ctx context.Context) (string, error) {
	for _, at := range []struct{ container, prefix string }{{s.name, "X-Container-Meta-"}, {"", "X-Account-Meta-"}} {
		h, err := s.svc.call(ctx, request{method: http.MethodHead, container: at.container})
		if statusOf(err) == http.StatusForbidden {
			continue // not the owner of the account
		}
		if err != nil {
			return "", err
		}
		for _, name := range []string{"Temp-Url-Key", "Temp-Url-Key-2"} {
			if v := h.Get(at.prefix + name); v != "" {
				return v, nil
			}
		}
	}
	return "", nil
}
