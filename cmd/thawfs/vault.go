package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/glacier"
)

// openVaults makes the driver for glacier://. The catalogues of an account's vaults lie below
// the root of the caches, in one place for all mounts and commands.
func (o *options) openVaults(ctx context.Context, root string, log *slog.Logger) (*glacier.Service, error) {
	sum := sha256.Sum256([]byte(strings.Join(o.account("glacier"), "\x00")))
	return glacier.New(ctx, glacier.Options{
		Dir:      filepath.Join(root, "vaults-"+hex.EncodeToString(sum[:6])),
		Endpoint: o.endpoint, Region: o.region, Profile: o.profile, Log: log,
	})
}

// vaultNote is what the user of a mount should know of the vault in it.
func (j *job) vaultNote(vaults *glacier.Service) string {
	if vaults == nil || j.source.bucket == "" {
		return ""
	}
	store, err := vaults.OpenCatalogue(j.source.bucket)
	if err != nil {
		return "" // the mount has it open, or says why not
	}
	i, err := store.Inventory()
	switch {
	case err != nil:
		return ""
	case i.Date.IsZero():
		return "Nothing is known of the vault yet: its inventory is being asked for, which takes some hours.\n" +
			"Its files appear by themselves. See: thawfs inventory " + shellQuote(j.mountpoint)
	}
	return fmt.Sprintf("It shows the vault as of %s, with what was uploaded and deleted from here since.", i.Date.Local().Format(time.DateTime))
}

// vaults explains what only the vault service says.
func (j *job) vaults(_ context.Context, err error) *problem {
	switch {
	case j.source.scheme != "glacier":
		return nil
	case errors.Is(err, backend.ErrRetired):
		return wrong("this account has no vaults in this region, and Amazon takes no new users of the vault service",
			"If it has vaults elsewhere, name their region and account with --region and --profile.\n"+
				"New archives belong into S3: thawfs mount --storage-class GLACIER s3://BUCKET")
	case errors.Is(err, backend.ErrPermission) && !errors.Is(err, backend.ErrCredentials):
		return wrong(fmt.Sprintf("access to %s is denied: %s", j.source, words(err)),
			"The credentials have to allow glacier:ListVaults, DescribeVault, ListJobs, InitiateJob and GetJobOutput there.")
	case errors.Is(err, glacier.ErrInUse):
		return wrong("the catalogue of a vault is in use by another mount or command", "See: thawfs status")
	}
	return nil
}
