package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const (
	maxPage     = 10_000 // entries (container_listing_limit)
	looksAtOnce = 16     // HEADs for what a listing does not tell
)

// A row is an entry of a listing of Swift's.
type row struct {
	Name    string `json:"name"`
	Subdir  string `json:"subdir"`
	Bytes   int64  `json:"bytes"`
	Hash    string `json:"hash"`
	SLOTag  string `json:"slo_etag"`
	Type    string `json:"content_type"`
	Changed string `json:"last_modified"`
	// Of OVH's archive, with policy_extra.
	Seal string `json:"policy_retrieval_state"`
}

// List implements backend.Store.
//
// A listing tells a size of 0 for dynamic large objects and symlinks: what is empty is asked
// for itself. Directory markers without a slash get one, which moves them in the order.
func (s *Store) List(ctx context.Context, prefix, after string, opts backend.ListOptions) iter.Seq2[backend.Entry, error] {
	return func(yield func(backend.Entry, error) bool) {
		held, err := s.heldBack(ctx, prefix, after, opts.Delimited)
		if err != nil {
			yield(backend.Entry{}, s.fail(ctx, "list", prefix, err))
			return
		}
		l := &lister{last: after, held: held, yield: yield}
		first := true
		for rows, err := range s.pages(ctx, prefix, after, opts) {
			if err == nil && first {
				first, err = false, s.holdTop(ctx, prefix, after, rows, held)
			}
			if err != nil {
				yield(backend.Entry{}, s.fail(ctx, "list", prefix, err))
				return
			}
			entries, err := s.entries(ctx, rows, opts.Delimited)
			if err != nil {
				yield(backend.Entry{}, s.fail(ctx, "list", prefix, err))
				return
			}
			for _, e := range entries {
				if !l.add(e) {
					return
				}
			}
		}
		l.release("")
	}
}

// heldBack finds the markers whose key comes behind after though their own name does not: the
// listing begins too late for them ("a" is "a/", behind "a-b").
func (s *Store) heldBack(ctx context.Context, prefix, after string, delimited bool) (map[string]backend.Entry, error) {
	held := map[string]backend.Entry{}
	for i := len(prefix) + 1; i < len(after) && strings.HasPrefix(after, prefix); i++ {
		if after[i] >= '/' || after[i-1] == '/' {
			continue
		}
		k, err := s.headRaw(ctx, after[:i])
		if statusOf(err) == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if isMarker(k.raw, k.Size, k.Header["content-type"]) {
			k.Key += "/"
			held[k.Key] = backend.Entry{Object: k.Object}
			if delimited {
				held[k.Key] = backend.Entry{Object: backend.Object{Key: k.Key}, Prefix: true}
			}
		}
	}
	return held, nil
}

// holdTop finds the marker of the directory that is listed, if that has no slash: its name does
// not begin with prefix as its key does. rows are the first page.
func (s *Store) holdTop(ctx context.Context, prefix, after string, rows []row, held map[string]backend.Entry) error {
	bare := strings.TrimSuffix(prefix, "/")
	if bare == prefix || bare == "" || after >= prefix || len(rows) > 0 && rows[0].Name == prefix {
		return nil
	}
	k, err := s.headRaw(ctx, bare)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	if err == nil && isMarker(k.raw, k.Size, k.Header["content-type"]) {
		k.Key = prefix
		held[prefix] = backend.Entry{Object: k.Object}
	}
	return err
}

// A listed entry and the name under which the store has it.
type listed struct {
	backend.Entry
	raw string
}

// pages yields the pages of a listing.
func (s *Store) pages(ctx context.Context, prefix, after string, opts backend.ListOptions) iter.Seq2[[]row, error] {
	return func(yield func([]row, error) bool) {
		limit := opts.PageSize
		if limit <= 0 || limit > maxPage {
			limit = maxPage
		}
		for marker := after; ; {
			q := url.Values{"format": {"json"}, "limit": {strconv.Itoa(limit)}, "marker": {marker}, "prefix": {prefix}}
			if opts.Delimited {
				q.Set("delimiter", "/")
			}
			if isArchive(s.policy) {
				q.Set("policy_extra", "true")
			}
			rows, err := s.svc.listing(ctx, s.name, q)
			if !yield(rows, err) || err != nil || len(rows) < limit {
				return
			}
			last := rows[len(rows)-1]
			marker = last.Name + last.Subdir
		}
	}
}

// listing asks for one page of a container.
func (s *Service) listing(ctx context.Context, container string, q url.Values) ([]row, error) {
	data, _, err := s.read(ctx, request{method: http.MethodGet, container: container, query: q, patient: true})
	if err != nil {
		return nil, err
	}
	var rows []row
	if len(data) > 0 {
		if err := json.Unmarshal(data, &rows); err != nil {
			return nil, fmt.Errorf("%w: listing: %w", backend.ErrUnavailable, err)
		}
	}
	return rows, nil
}

// entries are the entries of rows. Those that HEAD knows better are asked for, together; who is
// gone by now is left out.
func (s *Store) entries(ctx context.Context, rows []row, delimited bool) ([]listed, error) {
	entries := make([]listed, len(rows))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, looksAtOnce)
	for i, r := range rows {
		entries[i] = listed{s.entry(r, delimited), r.Name + r.Subdir}
		if r.Subdir != "" || r.Bytes > 0 || entries[i].Prefix || strings.HasSuffix(entries[i].Key, "/") {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			k, err := s.headRaw(ctx, r.Name)
			switch {
			case statusOf(err) == http.StatusNotFound:
				entries[i].Key = "" // expired, or deleted since
			case err != nil:
				cancel(err)
			default:
				entries[i].Object = k.Object
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e listed) bool { return e.Key == "" }), nil
}

// entry is what a row tells by itself.
func (s *Store) entry(r row, delimited bool) backend.Entry {
	if r.Subdir != "" {
		return backend.Entry{Object: backend.Object{Key: r.Subdir}, Prefix: true}
	}
	e := backend.Entry{Object: backend.Object{Key: r.Name, Size: r.Bytes, ETag: r.Hash, State: sealState(r.Seal)}}
	if r.SLOTag != "" {
		e.ETag = strings.Trim(r.SLOTag, `"`)
		if isArchive(s.policy) {
			e.State = backend.Unknown // its segments count
		}
	}
	e.Class = s.policy
	e.ModTime = listTime(r.Changed)
	if isMarker(r.Name, r.Bytes, r.Type) {
		e.Key += "/"
		if delimited {
			return backend.Entry{Object: backend.Object{Key: e.Key}, Prefix: true}
		}
	}
	return e
}

// listTime reads "2026-11-28T13:10:34.983730", to the second.
func listTime(v string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05", v)
	if err != nil {
		return time.Time{}
	}
	return t.Truncate(time.Second)
}

// A lister brings entries into order: a marker whose key has got a slash waits until nothing
// can come before it.
type lister struct {
	last  string // key of the newest entry that was yielded
	held  map[string]backend.Entry
	yield func(backend.Entry, error) bool
	done  bool
}

// add takes the next entry of the store, which has it under the name raw, and reports whether
// more are wanted.
func (l *lister) add(e listed) bool {
	l.release(e.raw)
	if e.Key != e.raw {
		l.held[e.Key] = e.Entry
		return !l.done
	}
	delete(l.held, e.Key) // the store has both: a marker with a slash and one without
	return l.emit(e.Entry)
}

// release yields what is held and comes before raw; everything if that is empty.
func (l *lister) release(raw string) {
	for _, key := range slices.Sorted(maps.Keys(l.held)) {
		if raw != "" && key >= raw {
			return
		}
		l.emit(l.held[key])
		delete(l.held, key)
	}
}

func (l *lister) emit(e backend.Entry) bool {
	if l.done || e.Key <= l.last {
		return !l.done // rolled up already, or not behind after
	}
	l.last = e.Key
	l.done = !l.yield(e, nil)
	return !l.done
}

// errStop ends a walk early.
var errStop = errors.New("enough")

// walk calls do with each row of the container's objects that begin with prefix.
func (s *Service) walk(ctx context.Context, container, prefix string, do func(row) error) error {
	for marker := ""; ; {
		rows, err := s.listing(ctx, container, url.Values{
			"format": {"json"}, "limit": {strconv.Itoa(maxPage)}, "marker": {marker}, "prefix": {prefix},
		})
		if statusOf(err) == http.StatusNotFound {
			return nil // there is no such container
		}
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			if err := do(r); errors.Is(err, errStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
		marker = rows[len(rows)-1].Name
	}
}
