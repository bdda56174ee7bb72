package glacier

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"

	"github.com/thawfs/thawfs/backend"
)

// account is the one that the credentials belong to.
func account() *string { a := "-"; return &a }

// Buckets implements backend.Service. The service lists vaults in the order of their names, ten
// a page.
func (s *Service) Buckets(ctx context.Context) iter.Seq2[backend.Bucket, error] {
	return func(yield func(backend.Bucket, error) bool) {
		in := &awsglacier.ListVaultsInput{AccountId: account()}
		for {
			out, err := s.api.ListVaults(ctx, in)
			if err != nil {
				yield(backend.Bucket{}, failure(ctx, vaultURL(""), "list vaults", "", err))
				return
			}
			for _, v := range out.VaultList {
				if !yield(backend.Bucket{Name: value(v.VaultName), Created: wireTime(v.CreationDate)}, nil) {
					return
				}
			}
			if in.Marker = out.Marker; value(out.Marker) == "" {
				return
			}
		}
	}
}

// CreateBucket implements backend.Service. The service takes the name of a vault that exists
// without a word, so it is asked before.
func (s *Service) CreateBucket(ctx context.Context, name string) error {
	if err := checkVault(name); err != nil {
		return s.fail(ctx, "create vault", name, err)
	}
	_, err := s.describe(ctx, name)
	if err == nil {
		return s.fail(ctx, "create vault", name, backend.ErrExist)
	}
	if !errors.Is(translate(ctx, err), backend.ErrNotExist) {
		return s.fail(ctx, "create vault", name, err)
	}
	if _, err := s.api.CreateVault(ctx, &awsglacier.CreateVaultInput{AccountId: account(), VaultName: &name}); err != nil {
		return s.fail(ctx, "create vault", name, err)
	}
	if err := s.discard(name); err != nil { // a catalogue of another vault that had this name
		return s.fail(ctx, "create vault", name, err)
	}
	cat, err := openCatalogue(s.cataloguePath(name), s.o.NoSync)
	if err == nil { // what is in it is known: nothing
		err = errors.Join(cat.setFacts(func(p *provenance) { p.Inventory, p.Loaded = s.o.Now(), s.o.Now() }), cat.Close())
	}
	return s.fail(ctx, "create vault", name, err)
}

// DeleteBucket implements backend.Service. What is not empty by the catalogue is not tried. The
// service itself looks at its last inventory, so that it takes a vault only about a day after
// its last archive went: ErrNotYet.
func (s *Service) DeleteBucket(ctx context.Context, name string) error {
	if err := checkVault(name); err != nil {
		return s.fail(ctx, "delete vault", name, backend.ErrNotExist)
	}
	if _, err := s.describe(ctx, name); err != nil {
		return s.fail(ctx, "delete vault", name, err)
	}
	store, err := s.open(name)
	if err != nil {
		return s.fail(ctx, "delete vault", name, err)
	}
	empty, err := store.cat.empty()
	if err == nil && !empty {
		err = backend.ErrNotEmpty
	}
	if err == nil {
		store.sendDeletes(ctx)
		_, err = s.api.DeleteVault(ctx, &awsglacier.DeleteVaultInput{AccountId: account(), VaultName: &name})
		if codeOf(err) == codeInvalid {
			err = fmt.Errorf("%w: the service deletes a vault about a day after its last archive is gone, when an inventory shows it empty: %s",
				backend.ErrNotYet, words(err))
			store.refusal.set("rmdir", err)
			s.log.Warn("vault is not deleted yet", "op", "delete vault", "key", name, "err", err)
		}
	}
	if err == nil {
		err = s.discard(name)
	}
	return s.fail(ctx, "delete vault", name, err)
}

// discard closes the catalogue of a vault that is no more, and removes it.
func (s *Service) discard(name string) error {
	s.mu.Lock()
	store := s.stores[name]
	delete(s.stores, name)
	s.mu.Unlock()
	var err error
	if store != nil {
		err = store.close()
	}
	if rm := os.Remove(s.cataloguePath(name)); !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Open implements backend.Service. The first Open of a vault begins to look after its
// inventory.
func (s *Service) Open(ctx context.Context, name string) (backend.Store, error) {
	if err := checkVault(name); err != nil {
		return nil, s.fail(ctx, "open", name, err)
	}
	if _, err := s.describe(ctx, name); err != nil {
		return nil, s.fail(ctx, "open", name, err)
	}
	store, err := s.open(name)
	if err != nil {
		return nil, s.fail(ctx, "open", name, err)
	}
	return store, nil
}

// OpenCatalogue is Open for a vault that need not be reached: what is known of it can be
// listed, exported and imported.
func (s *Service) OpenCatalogue(name string) (*Store, error) {
	if err := checkVault(name); err != nil {
		return nil, s.fail(context.Background(), "open", name, err)
	}
	store, err := s.open(name)
	if err != nil {
		return nil, s.fail(context.Background(), "open", name, err)
	}
	return store, nil
}

// open returns the one Store of a vault.
func (s *Service) open(name string) (*Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store := s.stores[name]; store != nil {
		return store, nil
	}
	if s.closed {
		return nil, os.ErrClosed
	}
	cat, err := openCatalogue(s.cataloguePath(name), s.o.NoSync)
	if err != nil {
		return nil, err
	}
	store := &Store{svc: s, vault: name, cat: cat, wake: make(chan struct{}, 1)}
	store.life, store.end = context.WithCancel(context.Background())
	s.stores[name] = store
	store.work.Go(store.keepInventory)
	return store, nil
}

func (s *Service) describe(ctx context.Context, name string) (*awsglacier.DescribeVaultOutput, error) {
	return s.api.DescribeVault(ctx, &awsglacier.DescribeVaultInput{AccountId: account(), VaultName: &name})
}

// checkVault refuses what the service would, before it becomes part of a path (developer
// guide, "Create Vault").
func checkVault(name string) error {
	if name == "" || len(name) > 255 || name == "." || name == ".." ||
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		return fmt.Errorf("%w: a vault's name has 1 to 255 of the characters a-z, A-Z, 0-9, and _-. alone", backend.ErrInvalid)
	}
	return nil
}

// wireTime reads a time of the service; zero if there is none.
func wireTime(text *string) time.Time {
	t, err := time.Parse(time.RFC3339, value(text))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
