package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/fs/recall"
)

// exodusFlags are those of `thawfs restore --to`.
type exodusFlags struct {
	options
	to    string
	daily byteSize
}

func newExodusFlags() *exodusFlags {
	return &exodusFlags{options: *newOptions(), daily: 100 << 30}
}

func (x *exodusFlags) register(f *pflag.FlagSet) {
	f.Var(text{&x.to, "DIR"}, "to", "empty a vault into DIR, or s3://BUCKET/PREFIX")
	f.Var(&x.daily, "daily", "what --to asks for a day")
	x.accountFlags(f)
}

// accountFlags say whose vaults are meant, for commands that need no mount.
func (o *options) accountFlags(f *pflag.FlagSet) {
	f.Var(text{&o.endpoint, "URL"}, "endpoint", "where the vaults are, if not at AWS")
	f.Var(text{&o.region, "NAME"}, "region", "region of the vault")
	f.Var(text{&o.profile, "NAME"}, "profile", "profile of ~/.aws/config")
	f.Var(text{&o.cacheDir, "DIR"}, "cache-dir", "where catalogues are (~/.cache/thawfs)")
}

// exodusPoll is the time between two looks at what is on its way: jobs take hours.
const exodusPoll = time.Minute

// run empties a vault.
func (x *exodusFlags) run(cmd *cobra.Command, req restoreRequest, args []string) error {
	if len(args) != 1 || !req.Recursive {
		return usage("--to empties one vault", "Write: thawfs restore -r glacier://VAULT --to "+shellQuote(x.to))
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	v, err := x.openVault(ctx, args[0], cmd)
	if err != nil {
		return err
	}
	defer v.close()
	if req.Tier == "" {
		req.Tier = recall.TreeTier
	}
	e := &exodus{
		store: v.store, prefix: v.source.prefix, tier: req.Tier, daily: int64(x.daily), wait: req.Wait != 0, poll: exodusPoll,
		stderr: cmd.ErrOrStderr(), show: newProgress(cmd.ErrOrStderr()),
	}
	state := filepath.Join(v.dir, "out-"+v.source.bucket+"-"+x.id(v.source))
	if e.to, err = x.landing(ctx, state); err != nil {
		return err
	}
	if e.ledger, err = openLedger(state + ".ledger"); err != nil {
		return wrong(fmt.Sprintf("the ledger cannot be used: %v", err), "").because(err)
	}
	defer func() { _ = e.ledger.Close() }() // each line was written as it was true
	if req.DryRun {
		return e.estimate(ctx, cmd.OutOrStdout())
	}
	waited := ctx
	if req.Wait > 0 {
		var cancel context.CancelFunc
		waited, cancel = context.WithTimeout(ctx, req.Wait)
		defer cancel()
	}
	err = e.run(waited)
	switch {
	case ctx.Err() != nil:
		return &problem{What: "interrupted", Do: "What was asked for goes on. The same command again goes on where this one was.", Code: exitStopped, cause: err}
	case waited.Err() != nil:
		return exitCode(exitPending)
	case err != nil && asExit(err) == nil:
		return v.explain(ctx, err)
	}
	return err
}

// asExit is err if everything is said about it already.
func asExit(err error) error {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if c, ok := errors.AsType[exitCode](err); ok {
		return c
	}
	return nil
}

// id names one way out: another destination begins anew.
func (x *exodusFlags) id(from source) string {
	to := x.to
	if abs, err := filepath.Abs(to); err == nil && !isURL(to) {
		to = abs
	}
	sum := sha256.Sum256([]byte(from.String() + "\x00" + to))
	return hex.EncodeToString(sum[:6])
}

func isURL(to string) bool {
	s, err := parseSource(to)
	return err == nil && s.scheme == "s3"
}

// landing understands --to.
func (x *exodusFlags) landing(ctx context.Context, state string) (landing, error) {
	if !isURL(x.to) {
		root, err := filepath.Abs(x.to)
		if err != nil {
			return nil, wrong("the working directory cannot be found", "Give --to an absolute path.").because(err)
		}
		return dirLanding{root}, nil
	}
	s, err := parseSource(x.to)
	if err != nil {
		return nil, err
	}
	if s.bucket == "" {
		return nil, usage("--to names no bucket", "Write it as s3://BUCKET/PREFIX.")
	}
	j := &job{options: options{profile: x.profile}, source: s} // --endpoint and --region are the vault's
	service, err := s3.New(ctx, s3.Options{Profile: x.profile, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, j.explain(ctx, err)
	}
	store, err := service.Open(ctx, s.bucket)
	if err != nil {
		return nil, j.explain(ctx, err)
	}
	return storeLanding{store: store, prefix: s.prefix, dir: state}, nil
}

// A vault is one that a command works on without a mount.
type vault struct {
	*job
	dir     string // of the catalogues
	service *glacier.Service
	store   *glacier.Store
}

// openVault reaches the vault that arg names: glacier://VAULT.
func (o *options) openVault(ctx context.Context, arg string, cmd *cobra.Command) (*vault, error) {
	s, err := parseSource(arg)
	switch {
	case err != nil:
		return nil, err
	case s.scheme != "glacier" || s.bucket == "":
		return nil, usage(quote(arg)+" is no vault", "Write it as glacier://VAULT.")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	v := &vault{job: &job{options: *o, source: s, stderr: cmd.ErrOrStderr()}}
	root, err := o.cacheRoot(false)
	if err != nil {
		return nil, err
	}
	log := slog.New(newQuietLog(cmd.ErrOrStderr()))
	if v.service, err = o.openVaults(ctx, root, log); err != nil {
		return nil, v.explain(ctx, err)
	}
	v.dir = v.service.Dir()
	store, err := v.service.Open(ctx, s.bucket)
	if errors.Is(err, backend.ErrNotExist) {
		err = noBucket(ctx, v.service, s, err)
	}
	if err != nil {
		v.close()
		return nil, v.explain(ctx, err)
	}
	v.store = store.(*glacier.Store)
	return v, nil
}

func (v *vault) close() { _ = v.service.Close() } // what matters was synced
