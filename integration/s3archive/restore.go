package s3archive

import (
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"time"
)

// A restoreRequest is the body of RestoreObject (API, RestoreObject, "Request Syntax").
type restoreRequest struct {
	XMLName xml.Name `xml:"RestoreRequest"`
	Days    *int     `xml:"Days"`
	Tier    string   `xml:"GlacierJobParameters>Tier"`
}

// tiers are the retrieval options, slowest first.
var tiers = []string{"Bulk", "Standard", "Expedited"}

func (s *Server) restoreObject(w http.ResponseWriter, r *http.Request, bucket, key string) {
	var req restoreRequest
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && len(body) > 0 {
		err = xml.Unmarshal(body, &req)
	}
	if err != nil || req.Tier != "" && !slices.Contains(tiers, req.Tier) {
		s.refuse(w, r, bucket, key, failure{http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", "", ""})
		return
	}
	etag, status := s.etagOf(r.Context(), bucket, key, r.URL.Query().Get("versionId"))
	if status != http.StatusOK {
		s.refuse(w, r, bucket, key, absent(status))
		return
	}
	done, fail := s.restore(object{bucket, key, etag}, req)
	if s.o.Answer != nil {
		s.o.Answer(done)
	}
	if fail.code != "" {
		s.refuse(w, r, bucket, key, fail)
		return
	}
	w.WriteHeader(done.Status)
}

// restore decides about a request and notes it.
func (s *Server) restore(o object, req restoreRequest) (Request, failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := Request{Bucket: o.bucket, Key: o.key, Tier: req.Tier}
	if req.Days != nil {
		done.Days = *req.Days
	}
	status, fail := s.decideLocked(s.objects[o], req)
	done.Status, done.Code, done.Paid = status, fail.code, status == http.StatusAccepted
	if fail.code != "" {
		done.Status = fail.status
	}
	s.requests = append(s.requests, done)
	return done, fail
}

// decideLocked carries out a request for r, which is nil for an object of class STANDARD. It
// returns the status of success, 202 if something is charged, or why it refuses.
func (s *Server) decideLocked(r *record, req restoreRequest) (int, failure) {
	if s.denied {
		return 0, failure{http.StatusForbidden, "AccessDenied", "Access Denied", "", ""}
	}
	now := s.o.Now()
	if r == nil || r.settle(now) == active {
		// API, InvalidObjectState; the code for INTELLIGENT_TIERING is that of the same list,
		// ObjectAlreadyInActiveTierError: "This action is not allowed against this storage tier".
		if r != nil && r.class == tiering {
			return 0, failure{http.StatusForbidden, "ObjectAlreadyInActiveTierError", "This action is not allowed against this storage tier", "", ""}
		}
		return 0, failure{http.StatusForbidden, "InvalidObjectState", "Restore is not allowed for the object's current storage class", standard, ""}
	}
	if fail := r.validate(req); fail.code != "" {
		return 0, fail
	}
	days := 0
	if req.Days != nil {
		days = *req.Days
	}
	tier := req.Tier
	if tier == "" {
		tier = "Standard" // API, GlacierJobParameters: the default
	}
	st := r.settle(now)
	switch {
	case st == restored:
		// API, RestoreObject: 200 "if the object is previously restored"; the request changes
		// "the restoration period, relative to the current time", and only it is charged.
		r.days, r.expires = days, midnight(now, days)
		return http.StatusOK, failure{}
	case tier == "Expedited" && !s.o.Expedited:
		// API, RestoreObject, "Special errors".
		return 0, failure{
			http.StatusServiceUnavailable, "GlacierExpeditedRetrievalNotAvailable",
			"Glacier expedited retrievals are currently not available, please try again later", "", "",
		}
	case st == restoring && (days != r.days || slices.Index(tiers, tier) <= slices.Index(tiers, r.retrieval)):
		// API, RestoreObject, "Special errors". A faster tier makes it faster, with the same
		// days (guide, "Upgrading the speed of an in-progress restore").
		return 0, failure{http.StatusConflict, "RestoreAlreadyInProgress", "Object restore is already in progress", "", ""}
	}
	if st == archived {
		r.asked = now
	}
	ready := now.Add(s.o.Takes(r.place(), tier))
	if st == archived || ready.Before(r.ready) {
		r.ready = ready
	}
	r.days, r.retrieval = days, tier
	return http.StatusAccepted, failure{} // of an upgrade: a guess
}

// validate checks what a request may say of an archived object.
//
// Days is needed for GLACIER and DEEP_ARCHIVE (API, RestoreRequest) and not taken for
// INTELLIGENT_TIERING (guide, "Restoring objects from the S3 Intelligent-Tiering ... tiers").
// Expedited is not there for DEEP_ARCHIVE and Deep Archive Access (guide, "Archive retrieval
// options"). The codes of these errors are guesses.
func (r *record) validate(req restoreRequest) failure {
	invalid := func(why string) failure { return failure{http.StatusBadRequest, "InvalidArgument", why, "", ""} }
	switch {
	case r.class == tiering && req.Days != nil:
		return invalid("Days are not accepted for objects of this storage class")
	case r.class != tiering && req.Days == nil:
		return failure{http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", "", ""}
	case req.Days != nil && *req.Days < 1:
		return invalid("restoration days should be at least 1")
	case req.Tier == "Expedited" && r.place() == deepArchive:
		return invalid("Retrieval option is not supported by this storage class")
	}
	return failure{}
}

// place is where the bytes are, as the times of restores tell them apart (guide, "Archive
// retrieval options").
func (r *record) place() string {
	if r.class == deepArchive || r.tier == DeepArchiveAccess {
		return deepArchive
	}
	return glacier
}

// header is x-amz-restore (API, HeadObject); "" for none.
func (r record) header(st state) string {
	switch st {
	case restoring:
		return `ongoing-request="true"`
	case restored:
		return `ongoing-request="false", expiry-date="` + r.expires.UTC().Format(http.TimeFormat) + `"`
	}
	return ""
}

// show puts what a HEAD and a GET tell of an object into the headers of their answer.
func (r record) show(h http.Header, st state) {
	if r.class != standard { // of that S3 says nothing (API, HeadObject)
		h.Set("X-Amz-Storage-Class", r.class)
	}
	if v := r.header(st); v != "" {
		h.Set("X-Amz-Restore", v)
	}
	if r.tier == "" {
		return
	}
	h.Set("X-Amz-Archive-Status", r.tier)
	if st == restoring { // guide, "Checking object restore status for INTELLIGENT_TIERING"
		h.Set("X-Amz-Restore-Request-Date", r.asked.UTC().Format(time.RFC1123))
	}
}
