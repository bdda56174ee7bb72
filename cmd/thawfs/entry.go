package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/fs/recall"
)

// entry is one line of `thawfs ls`: a file or directory and how its bytes can be reached.
type entry struct {
	Path     string    `json:"path"` // from what was asked for; "." is that itself
	Dir      bool      `json:"dir,omitempty"`
	State    state     `json:"state,omitempty"` // of files
	Size     int64     `json:"size"`            // bytes
	Class    string    `json:"class,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Until    time.Time `json:"until,omitzero"` // of available: when the copy ends
	Tier     string    `json:"tier,omitempty"` // of restoring, if it is known
	ETA      time.Time `json:"eta,omitzero"`   // of restoring: when it is due at the latest
	Error    string    `json:"error,omitempty"`
	Bucket   string    `json:"bucket,omitempty"`
	Key      string    `json:"key,omitempty"`
	ETag     string    `json:"etag,omitempty"`
}

// state is what `thawfs ls` says of a file.
type state string

const (
	isNew       state = "new"       // not in the store yet
	isOnline    state = "online"    // readable
	isArchived  state = "archived"  // to be restored first
	isRestoring state = "restoring" // on its way
	isAvailable state = "available" // a restored copy is readable
	isFailed    state = "failed"    // archived; the last restore failed or was refused
	isUnknown   state = "unknown"   // a listing cannot tell, opening it can
)

// short is the state column, in the manner of DMF's dmls.
func (s state) short() string {
	switch s {
	case isNew:
		return "NEW"
	case isOnline:
		return "ONL"
	case isArchived:
		return "ARC"
	case isRestoring:
		return "RES"
	case isAvailable:
		return "AVL"
	case isFailed:
		return "ERR"
	case isUnknown:
		return "UNK"
	}
	return "-"
}

// list answers GET /v1/ls: what lies in a directory, or the file itself.
func (d *daemon) list(w http.ResponseWriter, r *http.Request) {
	p, err := d.m.Locate(r.Context(), r.FormValue("path"))
	if err != nil {
		answer(w, nil, cannotFind(err))
		return
	}
	stream(w, func(s *streamer) error {
		if !p.Dir {
			p.Name = "."
			return s.send(d.entry(p))
		}
		places := d.m.Places
		if r.FormValue("recursive") != "" {
			places = d.m.Tree
		}
		for place, err := range places(r.Context(), p) {
			if err != nil {
				return cannotFind(err)
			}
			if err := s.send(d.entry(place)); err != nil {
				return err
			}
		}
		return nil
	})
}

// cannotFind puts an error about a path into words; the client knows the path.
func cannotFind(err error) *problem {
	switch {
	case errors.Is(err, backend.ErrNotExist):
		return wrong("no such file or directory", "").because(err)
	case errors.Is(err, backend.ErrPermission):
		return wrong("access denied: "+words(err), "").because(err)
	}
	return wrong(words(err), "").because(err)
}

// entry asks nobody: it puts together what the listing, the queue and the jobs tell.
func (d *daemon) entry(p fs.Place) entry {
	e := entry{Path: p.Name, Dir: p.Dir, Bucket: p.Ref.Bucket, Key: p.Ref.Key}
	if p.Dir {
		return e
	}
	obj := p.Object
	e.State, e.Size, e.Class, e.Modified, e.ETag = stateOf(obj, time.Now()), obj.Size, obj.Class, obj.ModTime, obj.ETag
	if e.State == isAvailable {
		e.Until = obj.Until
	}
	if job, ok := d.m.Recall().Job(p.Ref); ok {
		e.meet(job)
	}
	return e
}

func stateOf(obj backend.Object, now time.Time) state {
	switch {
	case obj.ETag == "":
		return isNew
	case obj.State == backend.Restored && !obj.Until.IsZero() && now.After(obj.Until):
		return isArchived
	}
	return map[backend.State]state{
		backend.Online: isOnline, backend.Archived: isArchived, backend.Restoring: isRestoring,
		backend.Restored: isAvailable, backend.Unknown: isUnknown,
	}[obj.State]
}

// meet lets a job say what a listing cannot know, or not yet.
func (e *entry) meet(job recall.Job) {
	switch {
	case e.State == isNew, e.State == isOnline:
	case job.Phase == recall.Asked, job.Phase == recall.Restoring:
		e.State, e.Tier, e.ETA, e.Until = isRestoring, job.Tier, job.ETA, time.Time{}
	case job.Phase == recall.Restored:
		e.State, e.Until = isAvailable, job.Until
	case e.State == isArchived || e.State == isUnknown:
		e.State, e.Error = isFailed, job.Err
	}
}

// archive adds what commands about archived files ask for.
func (d *daemon) archive(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/ls", d.list)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, d.status(r.FormValue("jobs") != ""), nil)
	})
	mux.HandleFunc("POST /v1/restore", d.restore)
}
