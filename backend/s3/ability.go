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
		one.name, one.log = name, log
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
}

func (a *ability) is(state int32) bool { return a.state.Load() == state }

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
	switch {
	case a.is(able):
		return changed(c, do(c))
	case a.is(unable):
		return a.refuse()
	}
	if obj, err := s.head(ctx, key); err != nil {
		return changed(c, err)
	} else if obj.ETag != c.IfMatch {
		return other(obj.ETag, c.IfMatch)
	}
	err := do(backend.Cond{IfMatch: impossible})
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
	switch {
	case a.is(able):
		return do(c)
	case a.is(unable):
		return a.refuse()
	}
	if obj, err := s.head(ctx, key); err == nil {
		return fmt.Errorf("%w: it exists with ETag %q", backend.ErrChanged, obj.ETag)
	} else if answerOf(err) != backend.ErrNotExist {
		return err
	}
	err := do(c)
	switch sentinel := answerOf(err); {
	case err == nil && a == &s.svc.can.putAbsent:
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
// none.
func (s *Store) fromVersion(ctx context.Context, from backend.Object, a *ability, do func(ifMatch string) error) error {
	if from.ETag == "" || a.is(able) {
		return do(from.ETag)
	}
	if _, err := s.source(ctx, from); err != nil {
		return err
	}
	if a.is(unable) {
		return do("") // all that can be known was just looked at
	}
	err := do(impossible)
	switch {
	case err == nil:
		a.learn(unable)
	case answerOf(err) == backend.ErrChanged:
		a.learn(able)
		return do(from.ETag)
	}
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
