package glacier

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/thawfs/thawfs/backend"
)

const (
	inventoryIdle  = 6 * time.Hour   // between looks while nothing is wanted
	inventoryLater = time.Hour       // after the service could not make one
	inventoryRetry = 2 * time.Minute // after an error
	inventoryPoll  = 5 * time.Minute // between looks at a job, at most
	outputRange    = 64 << 20        // bytes of an inventory asked for at once
)

// keepInventory sees to it that the catalogue has an inventory, and a new one when somebody
// wants it: it takes over the newest that any job has brought, waits for one that is under way,
// or begins one. It runs until the store is closed.
func (s *Store) keepInventory() {
	s.sendDeletes(s.life)
	since := time.Now()
	for {
		wait := s.tendInventory(since)
		t := time.NewTimer(wait)
		select {
		case <-s.life.Done():
			t.Stop()
			return
		case <-s.wake:
			t.Stop()
			since = time.Now()
		case <-t.C:
		}
	}
}

// tendInventory does what is to be done now and returns how long nothing is. since is when
// somebody began to wait, on our own clock.
func (s *Store) tendInventory(since time.Time) time.Duration {
	ctx := s.life
	p, err := s.cat.facts()
	if err == nil {
		err = s.lookAtJobs(ctx, s.svc.o.Look)
	}
	if err != nil {
		return s.inventoryTrouble("look for", err)
	}
	done, found, _, runs := s.newestInventory()
	switch due := s.inventoryDue(p); {
	case found && done.ID != p.Job && done.Created.After(p.Inventory):
		return s.takeInventory(done)
	case !due:
		return inventoryIdle
	case runs:
		return min(max(s.svc.o.Look, time.Since(since)/10), inventoryPoll)
	}
	return s.askInventory()
}

// inventoryDue reports whether an inventory is wanted that is not there.
func (s *Store) inventoryDue(p provenance) bool {
	every := s.svc.o.InventoryEvery
	return p.Inventory.IsZero() || !p.Wanted.IsZero() || every > 0 && s.svc.o.Now().Sub(p.Inventory) >= every
}

// askInventory begins a job. It is looked at soon.
func (s *Store) askInventory() time.Duration {
	kind, format, about := "inventory-retrieval", "JSON", jobMark
	_, err := s.svc.api.InitiateJob(s.life, &awsglacier.InitiateJobInput{
		AccountId: account(), VaultName: &s.vault, JobParameters: &types.JobParameters{Type: &kind, Format: &format, Description: &about},
	}, oneAttempt)
	s.forgetJobs()
	err = translate(s.life, err)
	if errors.Is(err, backend.ErrNotExist) || errors.Is(err, backend.ErrQuota) {
		s.refusal.set("inventory", err)
		s.svc.log.Warn("the service has no inventory of the vault to give yet: it makes the first about a day after the first upload",
			slog.String("key", s.vault), slog.Any("err", err))
		return inventoryLater
	}
	if err != nil {
		return s.inventoryTrouble("ask for", err)
	}
	s.refusal.set("inventory", nil)
	if err := s.cat.setFacts(func(p *provenance) { p.Asked = s.svc.o.Now() }); err != nil {
		return s.inventoryTrouble("remember to have asked for", err)
	}
	s.svc.log.Info("the inventory of the vault was asked for: it comes in some hours, and the names in it appear by themselves",
		slog.String("key", s.vault))
	return s.svc.o.Look
}

// takeInventory fetches the output of a job and makes the catalogue of it.
func (s *Store) takeInventory(j Job) time.Duration {
	p, err := s.fetchInventory(j)
	if errors.Is(err, errOlder) || err == nil {
		err = s.cat.setFacts(func(p *provenance) { p.Job, p.Wanted = j.ID, time.Time{} })
	}
	if err != nil {
		return s.inventoryTrouble("take over", err)
	}
	s.refusal.set("inventory", nil)
	s.svc.log.Info("inventory taken over", slog.String("key", s.vault), slog.Time("date", p.Inventory), slog.Int64("archives", p.Archives))
	return 0
}

// fetchInventory brings the output, which may be gigabytes, to a file and loads it.
func (s *Store) fetchInventory(j Job) (provenance, error) {
	f, err := os.CreateTemp(filepath.Dir(s.cat.path), "inventory-*")
	if err != nil {
		return provenance{}, err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // was only read since
	for more := true; more; {
		if more, err = s.outputTo(f, j); err != nil {
			return provenance{}, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return provenance{}, err
	}
	return s.cat.load(f, s.svc.o.Now(), s.svc.log)
}

// outputTo appends the next part of a job's output to f; more is false when that was the last.
func (s *Store) outputTo(f *os.File, j Job) (more bool, err error) {
	off, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	in := &awsglacier.GetJobOutputInput{AccountId: account(), VaultName: &s.vault, JobId: &j.ID}
	size := s.inventorySize(j.ID)
	if size > outputRange { // else it is not known, or small: all of it
		r := fmt.Sprintf("bytes=%d-%d", off, min(off+outputRange, size)-1)
		in.Range = &r
	}
	out, err := s.svc.api.GetJobOutput(s.life, in)
	if err != nil {
		return false, err
	}
	n, err := io.Copy(f, out.Body)
	err = errors.Join(err, out.Body.Close())
	if err != nil {
		return false, fmt.Errorf("%w: the inventory broke off: %s", backend.ErrUnavailable, words(err))
	}
	return in.Range != nil && off+n < size && n > 0, nil
}

// inventorySize is the size of a job's output in bytes, as far as it is known.
func (s *Store) inventorySize(id string) int64 {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	for _, j := range s.jobs.list {
		if j.ID == id {
			return j.Size
		}
	}
	return 0
}

// inventoryTrouble logs an error and returns how long to wait.
func (s *Store) inventoryTrouble(what string, err error) time.Duration {
	if s.life.Err() == nil {
		err = translate(s.life, err)
		s.refusal.set("inventory", err)
		s.svc.log.Warn("cannot "+what+" the inventory of the vault", slog.String("key", s.vault), slog.Any("err", err))
	}
	return inventoryRetry
}

// WantInventory asks for a new inventory, which is taken over when it comes.
func (s *Store) WantInventory() error {
	err := s.cat.setFacts(func(p *provenance) { p.Wanted = s.svc.o.Now() })
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return err
}

// An Inventory is where the names that a vault shows come from.
type Inventory struct {
	Date     time.Time `json:"date,omitzero"` // the moment that it shows; zero without one
	Loaded   time.Time `json:"loaded,omitzero"`
	Archives int64     `json:"archives"`
	Bytes    int64     `json:"bytes"`
	Unnamed  int64     `json:"unnamed,omitempty"`
	Asked    time.Time `json:"asked,omitzero"` // when another was asked for that has not come
	Trouble  string    `json:"trouble,omitempty"`
}

// Inventory tells of the catalogue.
func (s *Store) Inventory() (Inventory, error) {
	p, err := s.cat.facts()
	i := Inventory{Date: p.Inventory, Loaded: p.Loaded, Archives: p.Archives, Bytes: p.Bytes, Unnamed: p.Unnamed, Trouble: s.refusal.get("inventory")}
	if p.Asked.After(p.Loaded) {
		i.Asked = p.Asked
	}
	return i, err
}

// Import takes over an inventory in JSON that somebody has saved. It is refused (ErrInvalid) if
// the catalogue knows a newer one.
func (s *Store) Import(r io.Reader) (Inventory, error) {
	if _, err := s.cat.load(r, s.svc.o.Now(), s.svc.log); err != nil {
		return Inventory{}, s.fail(s.life, "import inventory", "", err)
	}
	return s.Inventory()
}
