package main

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/thawfs/thawfs/fs"
)

// caches adds what `thawfs cache` asks for.
func (d *daemon) caches(mux *http.ServeMux) {
	for action, do := range map[string]func(*http.Request, fs.Place, *streamer) (cached, error){
		"GET /v1/cache/":       d.cacheStats,
		"POST /v1/cache/drop":  d.cacheDrop,
		"POST /v1/cache/pin":   d.cachePin,
		"POST /v1/cache/unpin": d.cacheUnpin,
		"POST /v1/cache/limit": d.cacheLimit,
	} {
		mux.HandleFunc(action, func(w http.ResponseWriter, r *http.Request) {
			p, err := d.m.Locate(r.Context(), r.FormValue("path"))
			if err != nil {
				answer(w, nil, cannotFind(err))
				return
			}
			stream(w, func(s *streamer) error {
				last, err := do(r, p, s)
				if err != nil {
					return wrong(words(err), "").because(err)
				}
				cache := d.status(false).Cache
				last.Cache = &cache
				return s.send(last)
			})
		})
	}
}

func (d *daemon) cacheStats(*http.Request, fs.Place, *streamer) (cached, error) { return cached{}, nil }

func (d *daemon) cacheDrop(r *http.Request, p fs.Place, _ *streamer) (cached, error) {
	if r.FormValue("path") == "." {
		before := d.m.Stats().Cache.Files
		d.m.Clear()
		return cached{Files: max(before-d.m.Stats().Cache.Files, 0)}, nil
	}
	n, err := d.m.Drop(r.Context(), p)
	return cached{Files: n}, err
}

func (d *daemon) cacheUnpin(r *http.Request, p fs.Place, _ *streamer) (cached, error) {
	n, err := d.m.Unpin(r.Context(), p)
	return cached{Files: n}, err
}

// cachePin tells each file that cannot be kept, and the others by number.
func (d *daemon) cachePin(r *http.Request, p fs.Place, s *streamer) (sum cached, err error) {
	err = d.m.Pin(r.Context(), p, func(file fs.Place, err error) error {
		if r.Context().Err() != nil {
			return r.Context().Err()
		}
		if err != nil {
			sum.Skipped++
			return s.sendNow(cached{Files: sum.Files, Bytes: sum.Bytes, Path: d.m.Path(file.Ref), Error: words(err)})
		}
		sum.Files++
		sum.Bytes += file.Object.Size
		return s.sendNow(sum)
	})
	return sum, err
}

func (d *daemon) cacheLimit(r *http.Request, _ fs.Place, _ *streamer) (cached, error) {
	n, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	if err != nil || n < int64(leastSize) {
		return cached{}, fmt.Errorf("%q is no size of a cache", r.FormValue("bytes"))
	}
	return cached{}, d.m.SetCacheSize(n)
}
