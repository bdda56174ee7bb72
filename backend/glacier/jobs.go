package glacier

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/thawfs/thawfs/backend"
)

// outputLives is how long the output of a finished job is kept at least (developer guide, "Get
// Job Output").
const outputLives = 24 * time.Hour

// tooLate is how long before its end an output is not worth being relied on.
const tooLate = 30 * time.Minute

// A Job is a retrieval as the service lists it.
type Job struct {
	ID        string    `json:"id"`
	Inventory bool      `json:"inventory,omitempty"` // of the inventory, else of an archive
	Archive   string    `json:"archive,omitempty"`
	Size      int64     `json:"size,omitempty"`  // bytes of the archive
	Range     string    `json:"range,omitempty"` // first and last byte that are retrieved
	Tier      string    `json:"tier,omitempty"`
	Status    string    `json:"status"` // InProgress, Succeeded or Failed
	Message   string    `json:"message,omitempty"`
	Created   time.Time `json:"created"`
	Completed time.Time `json:"completed,omitzero"`
	Ends      time.Time `json:"ends,omitzero"` // when the output of a job that has succeeded may go
	hash      *string   // of the whole archive
	begun     time.Time // on our own clock, if this process began it
}

const (
	inProgress = string(types.StatusCodeInProgress)
	succeeded  = string(types.StatusCodeSucceeded)
	failed     = string(types.StatusCodeFailed)
)

// whole reports whether a job brings all of its archive.
func (j Job) whole() bool {
	from, to, ok := strings.Cut(j.Range, "-")
	return !ok || from == "0" && to == formatInt(j.Size-1)
}

// jobs are the jobs of a vault as the service listed them last. One listing tells of all of
// them, so they are never asked for one by one.
type jobs struct {
	mu     sync.Mutex
	list   []Job          // guarded by mu; the newest first
	best   map[string]Job // guarded by mu; by archive: what to read or wait for
	fresh  []Job          // guarded by mu; begun here, perhaps not listed yet
	looked time.Time      // guarded by mu; zero: it must be asked anew
	busy   chan struct{}  // guarded by mu; closed when the listing under way has ended
}

// lookAtJobs makes sure that the list of jobs is not older than age.
func (s *Store) lookAtJobs(ctx context.Context, age time.Duration) error {
	j := &s.jobs
	for {
		j.mu.Lock()
		if !j.looked.IsZero() && time.Since(j.looked) <= age {
			j.mu.Unlock()
			return nil
		}
		busy := j.busy
		if busy == nil {
			j.busy = make(chan struct{})
			j.mu.Unlock()
			return s.listJobs(ctx)
		}
		j.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listJobs asks the service for all jobs, on behalf of all who wait.
func (s *Store) listJobs(ctx context.Context) error {
	began := time.Now()
	list, err := s.allJobs(ctx)
	j := &s.jobs
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.busy)
	j.busy = nil
	if err != nil {
		return err
	}
	j.fresh = slices.DeleteFunc(j.fresh, func(f Job) bool {
		return f.begun.Before(began) || slices.ContainsFunc(list, func(l Job) bool { return l.ID == f.ID })
	})
	list = slices.Concat(j.fresh, list)
	j.list, j.looked = list, began
	j.best = map[string]Job{}
	for _, job := range slices.Backward(list) { // the newest last: it wins
		if job.Inventory || !job.whole() {
			continue
		}
		if old, ok := j.best[job.Archive]; !ok || old.Status != succeeded || job.Status == succeeded {
			j.best[job.Archive] = job
		}
	}
	return nil
}

func (s *Store) allJobs(ctx context.Context) ([]Job, error) {
	in := &awsglacier.ListJobsInput{AccountId: account(), VaultName: &s.vault}
	var list []Job
	for {
		out, err := s.svc.api.ListJobs(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, d := range out.JobList {
			list = append(list, jobOf(d))
		}
		if in.Marker = out.Marker; value(out.Marker) == "" {
			break
		}
	}
	slices.SortStableFunc(list, func(a, b Job) int { return b.Created.Compare(a.Created) })
	return list, nil
}

func jobOf(d types.GlacierJobDescription) Job {
	j := Job{
		ID: value(d.JobId), Inventory: d.Action == types.ActionCodeInventoryRetrieval, Archive: value(d.ArchiveId),
		Range: value(d.RetrievalByteRange), Tier: value(d.Tier), Status: string(d.StatusCode), Message: value(d.StatusMessage),
		Created: wireTime(d.CreationDate), Completed: wireTime(d.CompletionDate), hash: d.ArchiveSHA256TreeHash,
	}
	for _, size := range []*int64{d.ArchiveSizeInBytes, d.InventorySizeInBytes} {
		if size != nil {
			j.Size = *size
		}
	}
	if j.Status == succeeded {
		j.Ends = j.Completed.Add(outputLives)
	}
	return j
}

// Jobs lists the jobs of the vault, as the service has them now, the newest first.
func (s *Store) Jobs(ctx context.Context) ([]Job, error) {
	if err := s.lookAtJobs(ctx, 0); err != nil {
		return nil, s.fail(ctx, "list jobs", "", err)
	}
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	return slices.Clone(s.jobs.list), nil
}

// job is the job for the archive id, as far as it is known.
func (s *Store) job(id string) (Job, bool) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	j, ok := s.jobs.best[id]
	return j, ok
}

// begun notes a job that was begun just now, before the service lists it.
func (s *Store) begun(j Job) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	if s.jobs.best == nil {
		s.jobs.best = map[string]Job{}
	}
	j.begun = time.Now()
	s.jobs.best[j.Archive] = j
	s.jobs.list = slices.Insert(s.jobs.list, 0, j)
	s.jobs.fresh = slices.Insert(s.jobs.fresh, 0, j)
}

// forgetJobs has the list asked for anew.
func (s *Store) forgetJobs() {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	s.jobs.looked = time.Time{}
}

// show is a record as an object, in the state that its job is in.
func (s *Store) show(key string, r record) backend.Object {
	o := r.object(key)
	if r.size == 0 {
		return o // Online: no byte of it is in the vault
	}
	o.State = backend.Archived
	j, ok := s.job(r.id)
	switch {
	case !ok:
	case j.Status == inProgress:
		o.State = backend.Restoring
	case j.Status == succeeded && s.svc.o.Now().Before(j.Ends):
		o.State, o.Until = backend.Restored, j.Ends
	}
	return o
}

// newestInventory is the inventory job to take over: the newest of those that have succeeded;
// running reports whether one is under way, and since when.
func (s *Store) newestInventory() (done Job, found bool, running Job, runs bool) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	for _, j := range s.jobs.list {
		switch {
		case !j.Inventory:
		case j.Status == succeeded && s.svc.o.Now().Before(j.Ends):
			if !found || cmp.Compare(j.Completed.UnixNano(), done.Completed.UnixNano()) > 0 {
				done, found = j, true
			}
		case j.Status == inProgress && !runs:
			running, runs = j, true
		}
	}
	return done, found, running, runs
}
