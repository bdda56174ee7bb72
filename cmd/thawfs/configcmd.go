package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config COMMAND",
		Short: "Check the configuration, import remotes",
		Long: `Named remotes and options stand in ~/.config/thawfs/config.toml, and for all
users in /etc/thawfs.toml. Keys are the long flags of thawfs mount:

  cache-size = "50G"

  [remotes.photos]
  source = "s3://photos"
  profile = "backup"
  storage-class-rule = ["*.raw=GLACIER", "old/**=DEEP_ARCHIVE"]

A flag counts more than the environment (THAWFS_CACHE_SIZE), that more than the
remote, that more than the rest of the file.`,
		Example: `  thawfs config check
  thawfs config import --write
  thawfs mount photos:2024 /mnt/photos`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCommand(), configImportCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [flags]",
		Short: "Find mistakes in the configuration",
		Long: `Reads the configuration as a mount does, and says what is in it. Nothing is
asked of the stores: thawfs doctor NAME: does that.`,
		Example: `  thawfs config check
  thawfs config check --config /tmp/new.toml`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(path)
			if err != nil {
				return err
			}
			return c.describe(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().Var(text{&path, "FILE"}, "config", "instead of the files of user and system")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// describe says what is configured, without secrets.
func (c *config) describe(w io.Writer, asJSON bool) error {
	type remote struct {
		Name   string `json:"name"`
		Source string `json:"source"`
		File   string `json:"file"`
	}
	files, remotes := []string{}, []remote{}
	for _, f := range c.files {
		files = append(files, f.path)
	}
	for _, name := range c.names() {
		for _, f := range c.files {
			if r, ok := f.remotes[name]; ok {
				remotes = append(remotes, remote{name, r[keySource].(string), f.path})
				break
			}
		}
	}
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Files   []string `json:"files"`
			Remotes []remote `json:"remotes"`
		}{files, remotes})
	}
	if len(files) == 0 {
		_, err := fmt.Fprintf(w, "There is no configuration; it would be in %s.\n", strings.Join(defaultConfigs(), " or "))
		return err
	}
	fmt.Fprintf(w, "%s: no mistakes found.\n", strings.Join(files, ", "))
	for _, r := range remotes {
		fmt.Fprintf(w, "  %-16s %s\n", r.Name+":", r.Source)
	}
	return nil
}
