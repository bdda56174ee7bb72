package swift

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// A keyring holds the session that requests use. A new one is fetched in the background when a
// third of the old one's time is left, so that requests wait for the first login alone, or when
// the service has revoked a token.
type keyring struct {
	auth Auth
	rt   http.RoundTripper
	log  *slog.Logger

	mu     sync.Mutex // leaf
	now    *session   // guarded by mu; nil: there is none that holds
	flight *login     // under way; guarded by mu
}

// A login under way.
type login struct {
	done chan struct{} // closed when the rest is set
	sess session
	err  error
}

func newKeyring(a Auth, rt http.RoundTripper, log *slog.Logger) *keyring {
	return &keyring{auth: a, rt: rt, log: log}
}

// session returns one that holds, logging in if there is none.
func (k *keyring) session(ctx context.Context) (session, error) {
	k.mu.Lock()
	now := time.Now()
	if s := k.now; s != nil && s.holds(now) {
		if s.old(now) && k.flight == nil {
			k.beginLocked()
		}
		defer k.mu.Unlock()
		return *s, nil
	}
	if k.flight == nil {
		k.beginLocked()
	}
	f := k.flight
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.sess, f.err
	case <-ctx.Done():
		return session{}, ctx.Err()
	}
}

// drop forgets a session that the store does not accept any more.
func (k *keyring) drop(s session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now != nil && k.now.token == s.token {
		k.now = nil
	}
}

// beginLocked starts a login. Its goroutine ends by itself: attempts and their time are bounded.
func (k *keyring) beginLocked() {
	f := &login{done: make(chan struct{})}
	k.flight = f
	go func() {
		f.sess, f.err = k.try()
		k.mu.Lock()
		if f.err == nil {
			k.now = &f.sess
		}
		k.flight = nil
		k.mu.Unlock()
		if f.err != nil {
			k.log.Warn("login failed", "err", f.err)
		}
		close(f.done)
	}()
}

// try logs in, with the patience of any request.
func (k *keyring) try() (session, error) {
	for attempt := 0; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), 2*loginLimit)
		s, err := k.auth.login(ctx, k.rt)
		cancel()
		wait, again := retryAfter(err, attempt)
		if err == nil || !again || attempt == maxRetries {
			return s, err
		}
		time.Sleep(wait)
	}
}

// holds reports whether a request that is sent now will find the session valid.
func (s *session) holds(now time.Time) bool {
	return s.expires.IsZero() || now.Before(s.expires.Add(-s.margin()))
}

// margin is how long before its end a session is not used any more: clocks differ, and a
// request takes a moment to be looked at.
func (s *session) margin() time.Duration {
	return min(5*time.Second, s.expires.Sub(s.begun)/8)
}

// old reports whether it is time to fetch the next one.
func (s *session) old(now time.Time) bool {
	return !s.expires.IsZero() && now.After(s.expires.Add(-s.expires.Sub(s.begun)/3))
}
