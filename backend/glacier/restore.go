package glacier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/thawfs/thawfs/backend"
)

// Restore implements backend.Restorer: it begins a retrieval of the archive, unless one is
// under way or its output will be there for a while. The service keeps outputs for a day,
// whatever opts.Keep says.
//
// Every request that arrives is a job that is paid for. So the service's own list of jobs is
// looked at before one is sent, and it is sent once: when its answer is lost the list tells
// whether it arrived.
func (s *Store) Restore(ctx context.Context, key string, opts backend.RestoreOptions) error {
	return s.fail(ctx, "restore", key, s.restore(ctx, key, opts))
}

func (s *Store) restore(ctx context.Context, key string, opts backend.RestoreOptions) error {
	tier := opts.Tier
	if tier == "" {
		tier = "Standard"
	}
	if opts.Keep < 0 || !slices.Contains([]string{"Expedited", "Standard", "Bulk"}, tier) {
		return fmt.Errorf("%w: tier %q, keep %v", backend.ErrInvalid, opts.Tier, opts.Keep)
	}
	r, err := s.record(ctx, key)
	if err != nil || r.size == 0 {
		return err
	}
	for {
		err := s.ask(ctx, r, tier)
		now, findErr := s.cat.find(key)
		if !errors.Is(err, backend.ErrNotExist) || findErr != nil || now.id == r.id {
			return err
		}
		r = now // it was replaced meanwhile
	}
}

// ask begins a job for an archive if there is none that will do.
func (s *Store) ask(ctx context.Context, r record, tier string) error {
	unlock, err := s.locks.lock(ctx, "job "+r.id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.lookAtJobs(ctx, s.svc.o.Look); err != nil {
		return err
	}
	if j, ok := s.job(r.id); ok && !s.faster(tier, j) {
		if j.Status == inProgress || j.Status == succeeded && s.svc.o.Now().Add(tooLate).Before(j.Ends) {
			return nil
		}
	}
	return s.initiate(ctx, r, tier)
}

// faster reports whether tier is worth a second job beside the one that runs: the service has
// no upgrade of a running one.
func (s *Store) faster(tier string, running Job) bool {
	return tier == "Expedited" && running.Status == inProgress && running.Tier != "" && running.Tier != "Expedited"
}

// initiate begins a job.
func (s *Store) initiate(ctx context.Context, r record, tier string) error {
	kind, about := "archive-retrieval", jobMark
	out, err := s.svc.api.InitiateJob(ctx, &awsglacier.InitiateJobInput{
		AccountId: account(), VaultName: &s.vault,
		JobParameters: &types.JobParameters{Type: &kind, ArchiveId: &r.id, Tier: &tier, Description: &about},
	}, oneAttempt)
	if err != nil {
		err = translate(ctx, err)
		if errors.Is(err, backend.ErrUnavailable) || ctx.Err() != nil {
			s.forgetJobs() // it may have arrived
		}
		return err
	}
	s.begun(Job{ID: value(out.JobId), Archive: r.id, Size: r.size, Tier: tier, Status: inProgress, Created: s.svc.o.Now()})
	return nil
}

// jobMark is the description of our jobs.
const jobMark = "thawfs"

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
