package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend/glacier"
)

func inventoryCommand() *cobra.Command {
	i := &inventorying{options: *newOptions()}
	cmd := &cobra.Command{
		Use:   "inventory [flags] VAULT",
		Short: "Show or renew what is known of a vault",
		Long: `A vault has no listing, only an inventory that Amazon makes about once a day and
that takes hours to get. This shows how old the one is that the names come from,
asks for a new one, or takes over one that somebody has saved.

VAULT is glacier://VAULT, or the directory of a vault in a mount.`,
		Example: `  thawfs inventory glacier://tapes
  thawfs inventory --refresh /mnt/vaults/tapes
  thawfs inventory --import saved.json glacier://tapes
  thawfs inventory --jobs glacier://tapes`,
		Args: exactly("VAULT"),
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&i.refresh, "refresh", false, "ask for a new one, and do not wait for it")
	f.Var(text{&i.from, "FILE"}, "import", "take over an inventory in JSON")
	f.Var(text{&i.to, "FILE"}, "export", "write what is known as one; - is stdout")
	f.BoolVar(&i.jobs, "jobs", false, "list the vault's jobs, of everybody")
	f.BoolVar(&i.json, "json", false, "as JSON")
	i.accountFlags(f)
	return cmd
}

type inventorying struct {
	options
	refresh, jobs, json bool
	from, to            string
}

func (i *inventorying) run(cmd *cobra.Command, arg string) error {
	if !strings.Contains(arg, "://") {
		return i.inMount(cmd.OutOrStdout(), arg)
	}
	ctx := cmd.Context()
	v, err := i.openVault(ctx, arg, cmd)
	if err != nil {
		return err
	}
	defer v.close()
	switch {
	case i.from != "":
		err = i.take(v)
	case i.to != "":
		return i.give(v, cmd.OutOrStdout())
	case i.refresh:
		err = i.ask(ctx, v)
	}
	if err != nil {
		return v.explain(ctx, err)
	}
	if i.jobs {
		return i.showJobs(ctx, v, cmd.OutOrStdout())
	}
	known, err := v.store.Inventory()
	if err != nil {
		return err
	}
	if i.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(known)
	}
	fmt.Fprintln(cmd.OutOrStdout(), describeInventory(known, time.Now()))
	return nil
}

// inMount asks the mount that dir lies in, by the xattrs of a vault's directory.
func (i *inventorying) inMount(w io.Writer, dir string) error {
	if i.from != "" || i.to != "" || i.jobs {
		return usage("a vault that is mounted is asked, and can be told to --refresh", "Unmount it, and name it as glacier://VAULT, for anything else.")
	}
	const name = "user.thawfs.inventory"
	if i.refresh {
		if err := unix.Setxattr(dir, name, []byte("refresh"), 0); err != nil {
			return wrong(fmt.Sprintf("%s is no vault of a mount: %v", dir, err), "Name the directory of a vault, or glacier://VAULT.").because(err)
		}
	}
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(dir, name, buf)
	if err != nil {
		return wrong(fmt.Sprintf("%s is no vault of a mount: %v", dir, err), "Name the directory of a vault, or glacier://VAULT.").because(err)
	}
	fmt.Fprintln(w, string(buf[:n]))
	return nil
}

// ask wants a new inventory, and waits until it has been asked for.
func (i *inventorying) ask(ctx context.Context, v *vault) error {
	before, err := v.store.Inventory()
	if err == nil {
		err = v.store.WantInventory()
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	for {
		now, err := v.store.Inventory()
		switch {
		case err != nil:
			return err
		case now.Asked.After(before.Asked), now.Loaded.After(before.Loaded), now.Trouble != "":
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil // it stands in the catalogue: the next mount asks
		}
	}
}

func (i *inventorying) take(v *vault) error {
	file, err := os.Open(i.from)
	if err != nil {
		return wrong(fmt.Sprintf("the file %s cannot be read: %v", i.from, reason(err)), "").because(err)
	}
	defer func() { _ = file.Close() }() // only read
	_, err = v.store.Import(file)
	return err
}

func (i *inventorying) give(v *vault, stdout io.Writer) error {
	if i.to == "-" {
		return v.store.Export(stdout)
	}
	file, err := os.OpenFile(i.to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return wrong(fmt.Sprintf("the file %s cannot be made: %v", i.to, reason(err)), "").because(err)
	}
	return errors.Join(v.store.Export(file), file.Sync(), file.Close())
}

func (i *inventorying) showJobs(ctx context.Context, v *vault, w io.Writer) error {
	jobs, err := v.store.Jobs(ctx)
	if err != nil {
		return v.explain(ctx, err)
	}
	if i.json {
		return json.NewEncoder(w).Encode(jobs)
	}
	for _, j := range jobs {
		what := "inventory"
		if !j.Inventory {
			what = fmt.Sprintf("%s of %s", humanize.IBytes(uint64(max(j.Size, 0))), j.Archive)
		}
		fmt.Fprintf(w, "%-10s  %s  %-9s  %s\n", j.Status, j.Created.Local().Format(time.DateTime), j.Tier, what)
	}
	return nil
}

// describeInventory puts it into words.
func describeInventory(i glacier.Inventory, now time.Time) string {
	var b strings.Builder
	if i.Date.IsZero() {
		b.WriteString("No inventory yet.")
	} else {
		fmt.Fprintf(&b, "As of %s, %s: %s, %s", i.Date.Local().Format(time.DateTime), humanize.RelTime(i.Date, now, "ago", "ahead"),
			count(int(i.Archives), "archive", "archives"), humanize.IBytes(uint64(max(i.Bytes, 0))))
		if i.Unnamed > 0 {
			fmt.Fprintf(&b, ", %s without a name (see .unnamed)", humanize.Comma(i.Unnamed))
		}
		b.WriteString(".")
	}
	if !i.Asked.IsZero() {
		fmt.Fprintf(&b, "\nA new one was asked for at %s; it takes some hours, and is taken over by the next mount or command.", i.Asked.Local().Format(time.DateTime))
	}
	if i.Trouble != "" {
		b.WriteString("\n" + i.Trouble)
	}
	return b.String()
}

// newQuietLog shows warnings of a command that needs no mount.
func newQuietLog(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError})
}
