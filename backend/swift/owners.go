package swift

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// Owners
//
// A renamed large object is a second manifest over the same segments, until the first one is
// deleted. So that this does not take the segments along, each set of segments (those of one
// upload, in one place) has a note for every key that needs it, once there is more than one:
//
//	.thawfs/owners/SET/KEY      both by their hash; the note holds the key
//
// Notes are written for both keys and seen in a listing before the second manifest is; a key
// that goes takes its note away and, if there is none of anybody else, the segments.
const ownersPrefix = ".thawfs/owners/"

// sharePatience is how long a note may take to be listed.
const sharePatience = 10 * time.Second

// set is container/prefix of segments that came together.
type set string

// setOf is the set that a segment belongs to.
func setOf(g segment) set {
	name := strings.TrimPrefix(g.Name, "/")
	s := set(name[:strings.LastIndexByte(name, '/')])
	// Manifests that a manifest is made of lie in a directory of their own.
	if i := strings.LastIndex(string(s), "/m"); i >= 0 && len(s) == i+3 && g.Sub {
		s = s[:i]
	}
	return s
}

// setsOf groups segments.
func setsOf(segments []segment) map[set][]segment {
	sets := map[set][]segment{}
	for _, g := range segments {
		if g.Name != "" {
			sets[setOf(g)] = append(sets[setOf(g)], g)
		}
	}
	return sets
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

func ownerName(at set, key string) string {
	return ownersPrefix + shortHash(string(at)) + "/" + shortHash(key)
}

// share notes that all keys need the sets of segments.
func (s *Store) share(ctx context.Context, segments []segment, keys ...string) error {
	if err := s.needSegments(ctx); err != nil {
		return err
	}
	all, err := s.expand(ctx, segments)
	if err != nil {
		return err
	}
	for at := range setsOf(all) {
		for _, key := range keys {
			_, err := s.svc.call(ctx, request{
				method: http.MethodPut, container: s.segments(), key: ownerName(at, key), body: text([]byte(key)),
				header: map[string]string{"Content-Type": "text/plain"},
			})
			if err != nil {
				return err
			}
		}
		if err := s.seen(ctx, at, keys); err != nil {
			return err
		}
	}
	return nil
}

// seen waits until the notes of keys are listed.
func (s *Store) seen(ctx context.Context, at set, keys []string) error {
	for begin, wait := time.Now(), 20*time.Millisecond; ; wait *= 2 {
		owners, err := s.owners(ctx, at)
		if err != nil {
			return err
		}
		missing := 0
		for _, key := range keys {
			if !owners[shortHash(key)] {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		if time.Since(begin) > sharePatience {
			return fmt.Errorf("%w: the store does not list what it has just stored", backend.ErrUnavailable)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// owners are the keys, by their hash, that have a note for a set.
func (s *Store) owners(ctx context.Context, at set) (map[string]bool, error) {
	owners := map[string]bool{}
	prefix := ownersPrefix + shortHash(string(at)) + "/"
	err := s.svc.walk(ctx, s.segments(), prefix, func(r row) error {
		owners[strings.TrimPrefix(r.Name, prefix)] = true
		return nil
	})
	return owners, err
}

// disown takes the note of key away.
func (s *Store) disown(ctx context.Context, at set, key string) error {
	_, err := s.svc.call(ctx, request{method: http.MethodDelete, container: s.segments(), key: ownerName(at, key)})
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}
