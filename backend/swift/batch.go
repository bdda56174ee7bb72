package swift

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/thawfs/thawfs/backend"
)

const (
	bulkSize       = 1000 // names a request, if the server allows as many
	deletesAtOnce  = 16   // where there are no bulk requests
	listedRather   = 8    // keys from which on a listing tells what they are
	pagesPerSearch = 3    // of such a listing, before it is given up
)

// DeleteBatch implements backend.BatchDeleter. What a listing shows to be plain objects goes in
// bulk; large objects, and whatever it does not show, one by one.
func (s *Store) DeleteBatch(ctx context.Context, keys []string) map[string]error {
	var (
		mu     sync.Mutex // guards failed
		failed = map[string]error{}
	)
	fail := func(key string, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed[key] = s.fail(ctx, "delete", key, err)
	}
	var good, single []string
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			fail(key, err)
		} else {
			good = append(good, key)
		}
	}
	slices.Sort(good)
	good = slices.Compact(good)
	raws, err := s.plainOnes(ctx, good)
	if err != nil {
		raws = nil
	}
	keyOf := map[string]string{} // by name in Swift
	var bulk []string
	for _, key := range good {
		if len(raws[key]) == 0 {
			single = append(single, key)
		}
		for _, raw := range raws[key] {
			keyOf[raw] = key
			bulk = append(bulk, raw)
		}
	}
	for raw, err := range s.svc.removeNames(ctx, s.name, bulk) {
		fail(keyOf[raw], err)
	}
	each(single, deletesAtOnce, func(key string) {
		if err := s.delete(ctx, key); err != nil {
			fail(key, err)
		}
	})
	return failed
}

// plainOnes finds among sorted keys those that need no look of their own, with their names in
// Swift: plain objects, markers of directories, and what a listing does not show though it
// covers it. An empty object may be a large one in truth.
func (s *Store) plainOnes(ctx context.Context, keys []string) (map[string][]string, error) {
	plain := map[string][]string{}
	if len(keys) < listedRather {
		return plain, nil
	}
	marker, prefix := before(keys[0]), commonPrefix(keys[0], keys[len(keys)-1])
	rows := map[string]row{}
	covered := "" // the listing is known up to here
	for range pagesPerSearch + len(keys)/bulkSize {
		page, err := s.svc.listing(ctx, s.name, url.Values{
			"format": {"json"}, "limit": {strconv.Itoa(maxPage)}, "prefix": {prefix}, "marker": {marker}, "end_marker": {keys[len(keys)-1] + "\x01"},
		})
		if err != nil {
			return plain, err
		}
		for _, r := range page {
			rows[r.Name] = r
		}
		if len(page) == 0 {
			covered = keys[len(keys)-1]
			break
		}
		marker = page[len(page)-1].Name
		covered = marker
	}
	for _, key := range keys {
		if key > covered {
			break
		}
		r, listed := rows[key]
		bare := strings.TrimSuffix(key, "/")
		m, marked := rows[bare]
		marked = marked && bare != key && isMarker(m.Name, m.Bytes, m.Type)
		switch {
		case r.SLOTag != "" || listed && r.Bytes == 0 && bare == key:
			continue
		case marked && listed:
			plain[key] = []string{key, bare}
		case marked:
			plain[key] = []string{bare}
		default:
			plain[key] = []string{key}
		}
	}
	return plain, nil
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return strings.ToValidUTF8(a[:n], "")
}

// before is a marker behind which a listing begins with key, and a marker of it without its
// slash, or a little ahead of them.
func before(key string) string {
	runes := []rune(strings.TrimSuffix(key, "/"))
	return string(runes[:max(0, len(runes)-1)])
}

// each calls do for all of list, n at a time.
func each(list []string, n int, do func(string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, n)
	for _, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(x)
		})
	}
	wg.Wait()
}

// removeNames deletes objects by their names in Swift: in bulk, or one by one where the server
// does not do that. It returns an error for each that may still exist.
func (s *Service) removeNames(ctx context.Context, container string, names []string) map[string]error {
	failed := map[string]error{}
	size := bulkSize
	b := s.limits.Bulk
	if b != nil && b.MaxDeletes > 0 {
		size = min(size, b.MaxDeletes)
	}
	for batch := range slices.Chunk(names, size) {
		if b != nil && len(batch) > 1 && s.removeBulk(ctx, container, batch) == nil {
			continue
		}
		var mu sync.Mutex // guards failed
		each(batch, deletesAtOnce, func(name string) {
			_, err := s.call(ctx, request{method: http.MethodDelete, container: container, key: name})
			if err != nil && statusOf(err) != http.StatusNotFound {
				mu.Lock()
				defer mu.Unlock()
				failed[name] = err
			}
		})
	}
	return failed
}

// removeBulk makes one request of the middleware bulk. Its answer is a success whatever came of
// it; the truth stands in the body.
func (s *Service) removeBulk(ctx context.Context, container string, names []string) error {
	var list strings.Builder
	for _, name := range names {
		list.WriteString(quotePath("/"+container+"/"+name) + "\n")
	}
	data, _, err := s.read(ctx, request{
		method: http.MethodPost, query: url.Values{"bulk-delete": {""}}, body: text([]byte(list.String())), patient: true,
		header: map[string]string{"Content-Type": "text/plain", "Accept": "application/json"},
	})
	if err != nil {
		return err
	}
	var answer struct {
		Status string     `json:"Response Status"`
		Body   string     `json:"Response Body"`
		Errors [][]string `json:"Errors"`
		Gone   int        `json:"Number Deleted"`
		Absent int        `json:"Number Not Found"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("%w: bulk delete: %w", backend.ErrUnavailable, err)
	}
	if len(answer.Errors) > 0 || answer.Gone+answer.Absent != len(names) {
		return fmt.Errorf("%w: bulk delete: %s %s", backend.ErrUnavailable, answer.Status, answer.Body)
	}
	return nil
}
