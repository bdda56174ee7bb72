package integration

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/integration/servers"
)

// TestVaultsOfMoto takes the steps of Amazon's own example of the vault service, as far as moto
// goes with them: make and list vaults, upload, begin a retrieval, list jobs by their state,
// fetch the output later and from another process. It is a second opinion on the wire; all
// else moto does not have (see glaciertest).
func TestVaultsOfMoto(t *testing.T) {
	t.Parallel()
	at := servers.Moto(t)
	dir := t.TempDir()
	open := func() *glacier.Service {
		s, err := glacier.New(t.Context(), glacier.Options{
			Dir: dir, Endpoint: at.Endpoint, Region: "us-east-1", AccessKey: at.AccessKey, SecretKey: at.SecretKey,
			Look: 50 * time.Millisecond, NoSync: true,
		})
		must(t, err)
		return s
	}
	s := open()
	const name = "thawfs-moto-vault"
	must(t, s.CreateBucket(t.Context(), name))
	if err := s.CreateBucket(t.Context(), name); !isExist(err) { // moto would empty the vault
		t.Errorf("CreateBucket of a vault that exists = %v, want ErrExist", err)
	}
	var vaults []string
	for b, err := range s.Buckets(t.Context()) {
		must(t, err)
		vaults = append(vaults, b.Name)
	}
	if !slices.Contains(vaults, name) {
		t.Errorf("Buckets = %q, want %s among them", vaults, name)
	}
	store, err := s.Open(t.Context(), name)
	must(t, err)
	const text = "cold as ice"
	_, err = store.Put(t.Context(), "dir/k", io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))), backend.PutOptions{})
	must(t, err)
	must(t, store.(*glacier.Store).Restore(t.Context(), "dir/k", backend.RestoreOptions{Tier: "Expedited"}))
	states := func(v *glacier.Store) (all []string) {
		jobs, err := v.Jobs(t.Context())
		must(t, err)
		for _, j := range jobs {
			all = append(all, j.Status)
		}
		return all
	}
	if got := states(store.(*glacier.Store)); !slices.Equal(got, []string{"InProgress"}) {
		t.Errorf("jobs are %q, want one in progress", got)
	}
	must(t, s.Close())

	s = open()
	defer func() { must(t, s.Close()) }()
	store, err = s.Open(t.Context(), name)
	must(t, err)
	soon(t, "the job's end", func() bool {
		obj, err := store.Head(t.Context(), "dir/k")
		must(t, err)
		return obj.State == backend.Restored
	})
	if got := states(store.(*glacier.Store)); !slices.Equal(got, []string{"Succeeded"}) {
		t.Errorf("jobs are %q, want one that succeeded", got)
	}
	r, err := store.Get(t.Context(), "dir/k", "", 0, -1)
	must(t, err)
	if got, err := io.ReadAll(r); err != nil || string(got) != text {
		t.Errorf("the output holds %q, %v", got, err)
	}
	must(t, store.Delete(t.Context(), "dir/k"))
	if facts, err := store.(*glacier.Store).Facts(t.Context()); err != nil || !strings.HasSuffix(facts["arn"], name) {
		t.Errorf("Facts = %q, %v", facts, err)
	}
	must(t, s.DeleteBucket(t.Context(), name))
}
