package s3archive

import (
	"slices"
	"time"
)

const (
	glacier     = "GLACIER" // S3 Glacier Flexible Retrieval
	deepArchive = "DEEP_ARCHIVE"
	tiering     = "INTELLIGENT_TIERING"
	standard    = "STANDARD"
)

// labels are the classes that the double takes on itself. Only the first three can be archives:
// GLACIER_IR, Glacier Instant Retrieval, is read at once (guide, "Understanding S3 Glacier
// storage classes"). What else there is, the server behind may refuse.
var labels = []string{glacier, deepArchive, tiering, "GLACIER_IR", "STANDARD_IA", "ONEZONE_IA"}

// Archive tiers of INTELLIGENT_TIERING, as x-amz-archive-status names them (API, HeadObject).
const (
	ArchiveAccess     = "ARCHIVE_ACCESS"
	DeepArchiveAccess = "DEEP_ARCHIVE_ACCESS"
)

// An object is one version of one key.
type object struct{ bucket, key, etag string }

// A record is what the double knows of an object.
type record struct {
	class string
	tier  string // archive tier of INTELLIGENT_TIERING; "" is one that is read at once

	asked     time.Time // of the restore under way, or the last one; zero: none
	ready     time.Time // when that is done
	retrieval string    // its tier
	days      int
	expires   time.Time // when the copy ends; zero while it is not there
}

type state uint8

const (
	active    state = iota // needs no restore
	archived               // can be read after a restore
	restoring              // "IN_PROGRESS"
	restored               // a copy can be read until record.expires
)

// settle moves r on to what it is at the time now, and returns its state.
//
// Objects of GLACIER and DEEP_ARCHIVE, and those of INTELLIGENT_TIERING in one of its archive
// tiers, are archived (guide, "Working with archived objects"). The class of the first two
// stays while a copy is readable; the last go back to the Frequent Access tier for good
// (guide, "Restoring objects from the S3 Intelligent-Tiering Archive Access and Deep Archive
// Access tiers").
//
// A copy ends at the midnight, UTC, after its days (guide, "Restoring an archived object": "S3
// adds the number of days and rounds the resulting time to the next day midnight UTC"). They
// are counted from when the copy is there (guide, "Working with archived objects"; the page on
// restoring counts from the request).
func (r *record) settle(now time.Time) state {
	if !r.cold() {
		return active
	}
	switch {
	case r.asked.IsZero():
		return archived
	case now.Before(r.ready):
		return restoring
	case r.class == tiering:
		*r = record{class: tiering, asked: r.asked}
		return active
	case r.expires.IsZero():
		r.expires = midnight(r.ready, r.days)
	}
	if !now.Before(r.expires) {
		*r = record{class: r.class}
		return archived
	}
	return restored
}

func (r *record) cold() bool {
	return r.class == glacier || r.class == deepArchive || r.class == tiering && r.tier != ""
}

// midnight is the first midnight, UTC, that is not before days after from.
func midnight(from time.Time, days int) time.Time {
	end := from.UTC().AddDate(0, 0, days)
	day := end.Truncate(24 * time.Hour)
	if day.Before(end) {
		day = day.Add(24 * time.Hour)
	}
	return day
}

// Archive moves the objects of a key that are of class INTELLIGENT_TIERING to one of its
// archive tiers, ArchiveAccess or DeepArchiveAccess. S3 does that to objects of 128 KB and more
// that nobody has read for 90 or 180 days; it is for the test to know which those are. It
// reports whether there was one.
func (s *Server) Archive(bucket, key, tier string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	any := false
	for o, r := range s.objects {
		if o.bucket == bucket && o.key == key && r.class == tiering {
			*r, any = record{class: tiering, tier: tier}, true
		}
	}
	return any
}

// look returns what is known of an object and its state now.
func (s *Server) look(o object) (record, state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.objects[o]
	if r == nil {
		return record{class: standard}, active
	}
	st := r.settle(s.o.Now())
	return *r, st
}

// stored notes that an object of a class has been stored.
func (s *Server) stored(o object, class string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(labels, class) {
		delete(s.objects, o)
		return
	}
	s.objects[o] = &record{class: class}
}
