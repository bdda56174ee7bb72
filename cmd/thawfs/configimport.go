package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
)

func configImportCommand() *cobra.Command {
	i := &importing{}
	cmd := &cobra.Command{
		Use:   "import [flags] [FILE...]",
		Short: "Make remotes of what other tools have configured",
		Long: `Reads the profiles of ~/.aws/config, the remotes of rclone.conf, the aliases of
~/.mc/config.json and the clouds of clouds.yaml, or FILEs of these names, and
prints remotes for the configuration. Keys of AWS profiles stay where they are;
those of rclone and mc are taken along. With --write they are added to the file
of the user (mode 0600), but for names that are there already.`,
		Example: `  thawfs config import
  thawfs config import --write ~/.config/rclone/rclone.conf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			i.stdout, i.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return i.run(args)
		},
	}
	cmd.Flags().BoolVar(&i.write, "write", false, "add them to the configuration")
	return cmd
}

// importing is one `thawfs config import`.
type importing struct {
	write          bool
	stdout, stderr io.Writer
}

// imported is a remote that another tool knows.
type imported struct {
	name string
	from string // the file
	keys map[string]any
}

func (i *importing) run(files []string) error {
	asked := len(files) > 0
	if !asked {
		files = foreignConfigs()
	}
	var all []imported
	for _, path := range files {
		remotes, err := i.read(path)
		if errors.Is(err, os.ErrNotExist) && !asked {
			continue
		}
		if err != nil {
			return wrong(fmt.Sprintf("%s cannot be imported: %v", path, reason(err)), "").because(err)
		}
		all = append(all, remotes...)
	}
	if len(all) == 0 {
		return wrong("nothing to import was found", "Looked for: "+strings.Join(files, ", "))
	}
	if i.write {
		return i.add(all)
	}
	text, err := tomlOf(all, isTerminal(i.stdout))
	if err == nil {
		_, err = i.stdout.Write(text)
	}
	return err
}

// foreignConfigs are where other tools keep theirs.
func foreignConfigs() []string {
	home, _ := os.UserHomeDir() // without one nothing is found
	config, err := os.UserConfigDir()
	if err != nil {
		config = filepath.Join(home, ".config")
	}
	or := func(env, path string) string {
		if v := os.Getenv(env); v != "" {
			return v
		}
		return path
	}
	return []string{
		or("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config")),
		or("RCLONE_CONFIG", filepath.Join(config, "rclone", "rclone.conf")),
		filepath.Join(home, ".mc", "config.json"),
		or("OS_CLIENT_CONFIG_FILE", filepath.Join(config, "openstack", "clouds.yaml")),
	}
}

// read tells the kind of a file by its name.
func (i *importing) read(path string) ([]imported, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	parse := importAWS
	switch ext := filepath.Ext(path); {
	case ext == ".conf":
		parse = importRclone
	case ext == ".json":
		parse = importMC
	case ext == ".yaml" || ext == ".yml":
		parse = importClouds
	}
	remotes, skipped, err := parse(b)
	for _, s := range skipped {
		fmt.Fprintf(i.stderr, "%s: left out %s\n", path, s)
	}
	for n := range remotes {
		remotes[n].from = path
		remotes[n].name = remoteName(remotes[n].name)
	}
	return remotes, err
}

// remoteName makes a name that a remote can have.
func remoteName(name string) string {
	name = strings.Map(func(r rune) rune {
		if checkRemoteName("x"+string(r)) != "" {
			return '-'
		}
		return r
	}, name)
	if name = strings.Trim(name[:min(len(name), 60)], "."); checkRemoteName(name) != "" {
		name += "-1"
	}
	return name
}

// add appends what is new to the configuration of the user.
func (i *importing) add(all []imported) error {
	path := os.Getenv(configEnv)
	if path == "" {
		path = defaultConfigs()[0]
	}
	has := map[string]map[string]any{}
	old, err := os.ReadFile(path)
	if err == nil {
		f, err := readConfig(path)
		if err != nil {
			return err
		}
		has = f.remotes
	} else if !errors.Is(err, os.ErrNotExist) {
		return wrong(fmt.Sprintf("the configuration %s cannot be read: %v", path, reason(err)), "").because(err)
	}
	var added []imported
	for _, r := range all {
		if has[r.name] != nil {
			fmt.Fprintf(i.stderr, "%s is there already\n", r.name)
			continue
		}
		has[r.name] = r.keys
		added = append(added, r)
	}
	if len(added) == 0 {
		return nil
	}
	text, err := tomlOf(added, false)
	if err != nil {
		return err
	}
	if len(old) > 0 {
		text = append(append(bytes.TrimRight(old, "\n"), "\n\n"...), text...)
	}
	if err := replaceFile(path, text); err != nil {
		return wrong(fmt.Sprintf("the configuration %s cannot be written: %v", path, reason(err)), "").because(err)
	}
	for _, r := range added {
		fmt.Fprintf(i.stdout, "%s: added, from %s\n", r.name, r.from)
	}
	return nil
}

// replaceFile writes a file that only its owner can read, whole or not at all.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config-*.toml") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// tomlOf writes remotes as the configuration has them, without secrets if hide is set.
func tomlOf(all []imported, hide bool) ([]byte, error) {
	var b bytes.Buffer
	for n, r := range all {
		if n > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# from %s\n[remotes.%s]\n", r.from, tomlKey(r.name))
		keys := maps.Clone(r.keys)
		if hide {
			for _, k := range []string{keySecret, keyToken} {
				if keys[k] != nil {
					keys[k] = "***"
				}
			}
		}
		order := slices.Sorted(maps.Keys(keys))
		slices.SortStableFunc(order, func(x, y string) int { return btoi(y == keySource) - btoi(x == keySource) })
		for _, k := range order {
			line, err := toml.Marshal(map[string]any{k: keys[k]})
			if err != nil {
				return nil, err
			}
			b.Write(line)
		}
	}
	return b.Bytes(), nil
}

// tomlKey quotes a name with dots in it.
func tomlKey(name string) string {
	if strings.Contains(name, ".") {
		return quote(name)
	}
	return name
}
