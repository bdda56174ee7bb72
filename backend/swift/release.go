package swift

import (
	"context"
	"strings"
	"time"
)

// releaseLimit bounds the removal of the segments of one object.
const releaseLimit = 10 * time.Minute

// releaseAfter removes the segments of old, which key held until just now, but for those in
// keep, which it holds instead. What cannot be removed costs room but harms nobody: it is
// logged, since the change itself is made.
func (s *Store) releaseAfter(ctx context.Context, key string, old, keep []segment) {
	if len(old) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	s.svc.readers.await(ctx, s.name, key)
	kept := setsOf(keep)
	for at, segments := range setsOf(old) {
		if err := s.release(ctx, key, at, segments, kept[at]); err != nil {
			s.svc.log.Warn("segments stay behind", "key", s.name+"/"+key, "in", string(at), "err", err)
		}
	}
}

// release removes what key needs of a set no more.
func (s *Store) release(ctx context.Context, key string, at set, old, keep []segment) error {
	owners, err := s.owners(ctx, at)
	if err != nil {
		return err
	}
	mine := owners[shortHash(key)]
	delete(owners, shortHash(key))
	if len(keep) == 0 && mine {
		if err := s.disown(ctx, at, key); err != nil {
			return err
		}
	}
	switch {
	case len(owners) > 0:
		return nil // somebody else's by now
	case len(keep) == 0 && ours(at):
		return s.sweepSet(ctx, at, nil)
	}
	return s.removeAll(ctx, old, keep)
}

// ours reports whether a set has the form of an upload of ours, in which nobody else's lie.
func ours(at set) bool {
	id := string(at)[strings.LastIndexByte(string(at), '/')+1:]
	return len(id) == idLength && !strings.ContainsFunc(id, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '2' || r > '7') })
}

// sweepSet removes everything in a set of ours but keep.
func (s *Store) sweepSet(ctx context.Context, at set, keep []segment) error {
	container, prefix, _ := strings.Cut(string(at), "/")
	var all []segment
	err := s.svc.walk(ctx, container, prefix+"/", func(r row) error {
		all = append(all, segment{Name: "/" + container + "/" + r.Name})
		return nil
	})
	if err != nil {
		return err
	}
	return s.removeAll(ctx, all, keep)
}

// removeAll removes the objects of segments that are not in keep.
func (s *Store) removeAll(ctx context.Context, segments, keep []segment) error {
	needed := map[string]bool{}
	for _, g := range keep {
		needed[g.Name] = true
	}
	byContainer := map[string][]string{}
	for _, g := range segments {
		if container, name := g.split(); g.Name != "" && !needed[g.Name] {
			needed[g.Name] = true // once
			byContainer[container] = append(byContainer[container], name)
		}
	}
	for container, names := range byContainer {
		for _, err := range s.svc.removeNames(ctx, container, names) {
			return err
		}
	}
	return nil
}
