package s3

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/thawfs/thawfs/backend"
)

// impossible is an ETag that no object has.
const impossible = "00000000000000000000000000000000"

// abilities are what servers other than AWS may ignore without a word, to the ruin of data:
// the headers that make a request conditional. Each is found out once, by the first request
// that needs it, in a way that does no harm if the header is ignored: the condition is seen to
// hold, then the request is made with one that cannot hold.
type abilities struct {
	putMatch, putAbsent           ability
	completeMatch, completeAbsent ability
	copySource, partSource        ability
}

func newAbilities(custom bool, log *slog.Logger) *abilities {
	a := &abilities{}
	for name, one := range map[string]*ability{
		"If-Match in PutObject": &a.putMatch, "If-None-Match in PutObject": &a.putAbsent,
		"If-Match in CompleteMultipartUpload": &a.completeMatch, "If-None-Match in CompleteMultipartUpload": &a.completeAbsent,
		"x-amz-copy-source-if-match in CopyObject": &a.copySource, "x-amz-copy-source-if-match in UploadPartCopy": &a.partSource,
	} {
		one.name, one.log, one.turn = name, log, make(chan struct{}, 1)
		if !custom {
			one.state.Store(able)
		}
	}
	return a
}

const (
	unknown int32 = iota
	able
	unable
)

// An ability is one header that a server may honour.
type ability struct {
	name  string
	log   *slog.Logger
	state atomic.Int32
	turn  chan struct{} // held by the one request that finds out
}

// settle waits for the turn to find out and returns unknown if it is the caller's: done must be
// called then.
func (a *ability) settle(ctx context.Context) (state int32, done func(), err error) {
	if state := a.state.Load(); state != unknown {
		return state, nil, nil
	}
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return unknown, nil, ctx.Err()
	}
	if state := a.state.Load(); state != unknown {
		<-a.turn
		return state, nil, nil
	}
	return unknown, func() { <-a.turn }, nil
}

func (a *ability) learn(state int32) {
	if a.state.Swap(state) != state && state == unable {
		a.log.Info("the store ignores a condition", "header", a.name)
	}
}

func (a *ability) refuse() error {
	return fmt.Errorf("%w: it ignores %s", backend.ErrUnsupported, a.name)
}

// under makes a change of key that is conditional on the version it replaces.
func (s *Store) under(ctx context.Context, key string, c backend.Cond, match, absent *ability, do func(backend.Cond) error) error {
	switch {
	case c.IfMatch != "" && c.IfAbsent:
		return fmt.Errorf("%w: two conditions", backend.ErrInvalid)
	case c.IfMatch != "":
		return s.underMatch(ctx, key, c, match, do)
	case c.IfAbsent:
		return s.underAbsent(ctx, key, c, absent, do)
	}
	return do(c)
}

func (s *Store) underMatch(ctx context.Context, key string, c backend.Cond, a *ability, do func(backend.Cond) error) error {
	state, done, err := a.settle(ctx)
	switch {
	case err != nil:
		return err
	case state == able:
		return changed(c, do(c))
	case state == unknown:
		defer done()
	}
	if obj, err := s.head(ctx, key); err != nil {
		return changed(c, err)
	} else if obj.ETag != c.IfMatch {
		return other(obj.ETag, c.IfMatch)
	}
	if state == unable {
		return a.refuse()
	}
	err = do(backend.Cond{IfMatch: impossible})
	switch sentinel := answerOf(changed(c, err)); {
	case err == nil:
		// Done all the same, a moment after the version was seen to be the right one.
		a.learn(unable)
	case sentinel == backend.ErrChanged:
		a.learn(able)
		return changed(c, do(c))
	case sentinel == backend.ErrUnsupported:
		a.learn(unable)
	}
	return err
}

// underAbsent has no condition that cannot hold for a key that is absent: it makes the change
// again instead, with the same bytes, when the condition does not hold any more. Completing an
// upload cannot be done twice: there the condition is looked at here and sent, and a server
// that ignores it leaves a moment in between.
func (s *Store) underAbsent(ctx context.Context, key string, c backend.Cond, a *ability, do func(backend.Cond) error) error {
	twice := a == &s.svc.can.putAbsent
	state := a.state.Load()
	if twice {
		settled, done, err := a.settle(ctx)
		if err != nil {
			return err
		}
		if state = settled; state == unknown {
			defer done()
		}
	}
	if state == able {
		return do(c)
	}
	if obj, err := s.head(ctx, key); err == nil {
		return fmt.Errorf("%w: it exists with ETag %q", backend.ErrChanged, obj.ETag)
	} else if answerOf(err) != backend.ErrNotExist {
		return err
	}
	if state == unable {
		return a.refuse()
	}
	err := do(c)
	switch sentinel := answerOf(err); {
	case err == nil && twice:
		if again := do(c); again == nil {
			a.learn(unable)
		} else if answerOf(again) == backend.ErrChanged {
			a.learn(able)
		}
	case sentinel == backend.ErrChanged:
		a.learn(able)
	case sentinel == backend.ErrUnsupported:
		a.learn(unable)
	}
	return err
}

// fromVersion makes a copy of the version that from names; do gets the ETag to require, "" for
// none, and returns that of what it made. A server that ignores the condition is asked for the
// version before and behind the copy.
func (s *Store) fromVersion(ctx context.Context, from backend.Object, a *ability, do func(ifMatch string) (etag string, err error)) error {
	if from.ETag == "" {
		_, err := do("")
		return err
	}
	state, done, err := a.settle(ctx)
	switch {
	case err != nil:
		return err
	case state == able:
		_, err := do(from.ETag)
		return err
	case state == unknown:
		defer done()
	}
	if _, err := s.source(ctx, from); err != nil {
		return err
	}
	made, err := do(impossible)
	switch {
	case err != nil && answerOf(err) == backend.ErrChanged:
		a.learn(able)
		_, err := do(from.ETag)
		return err
	case err != nil:
		return err
	}
	a.learn(unable)
	if a == &s.svc.can.copySource && len(made) == len(from.ETag) && len(made) == len(impossible) {
		if made != from.ETag { // both are MD5 sums
			return other(made, from.ETag)
		}
		return nil
	}
	_, err = s.source(ctx, from)
	return err
}

// answerOf is the sentinel of an answer; nil for what is none.
func answerOf(err error) error {
	if err == nil {
		return nil
	}
	if sentinel := ours(err); sentinel != nil {
		return sentinel
	}
	if statusOf(err) == 0 {
		return nil
	}
	return sentinelOf(codeOf(err), statusOf(err))
}
