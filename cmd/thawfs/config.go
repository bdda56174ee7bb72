package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// A configuration file is TOML. Its keys are the long flags of `thawfs mount`; tables below
// remotes name sources, with flags of their own:
//
//	cache-size = "50G"
//
//	[remotes.photos]
//	source = "s3://photos"
//	profile = "backup"
//
//	[remotes.attic]
//	source = "s3://"
//	endpoint = "https://s3.example.com"
//	access-key-id = "..."           # only in a file that nobody else can read
//	secret-access-key = "..."
//
// What is set in several places counts as in the first of: -o and flags, the environment
// (THAWFS_CACHE_SIZE), the remote, the rest of the file; --config FILE, else the file of the
// user before that of the system.

const systemConfig = "/etc/thawfs.toml"

// configEnv names the file as --config does.
const configEnv = "THAWFS_CONFIG"

// config is what the files say, the first one counting most.
type config struct {
	files []configFile
}

type configFile struct {
	path    string
	keys    map[string]any            // of all mounts
	remotes map[string]map[string]any // by name; source among them
}

// Keys of a remote besides flags.
const (
	keySource = "source"
	keyAccess = "access-key-id"
	keySecret = "secret-access-key"
	keyToken  = "session-token"
)

// notInFiles are flags that belong to a single call.
func notInFiles() []string { return []string{"options", "help", "config", "foreground"} }

// loadConfig reads the file that path names; without one those of user and system, if they
// are there.
func loadConfig(path string) (*config, error) {
	if path == "" {
		path = os.Getenv(configEnv)
	}
	c := &config{}
	paths := []string{path}
	if path == "" {
		paths = defaultConfigs()
	}
	for _, p := range paths {
		f, err := readConfig(p)
		if path == "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, *f)
	}
	return c, nil
}

// defaultConfigs are the files of user and system.
func defaultConfigs() []string {
	if dir, err := os.UserConfigDir(); err == nil {
		return []string{filepath.Join(dir, "thawfs", "config.toml"), systemConfig}
	}
	return []string{systemConfig}
}

func readConfig(path string) (*configFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Sprintf("the configuration %s cannot be read: %v", path, reason(err)), "").because(err)
	}
	f := &configFile{path: path, keys: map[string]any{}, remotes: map[string]map[string]any{}}
	if err := toml.Unmarshal(b, &f.keys); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, col := at.Position()
			return nil, usage(fmt.Sprintf("%s:%d:%d: %s", path, row, col, strings.TrimPrefix(at.Error(), "toml: ")), "Values are written as in key = \"text\", key = 5 or key = true.")
		}
		return nil, usage(path+": "+err.Error(), "")
	}
	if err := f.takeRemotes(); err != nil {
		return nil, err
	}
	return f, f.check()
}

func (f *configFile) takeRemotes() error {
	all, ok := f.keys["remotes"].(map[string]any)
	if !ok && f.keys["remotes"] != nil {
		return f.problem("remotes is a table", "Write [remotes.NAME] above the keys of a remote.")
	}
	delete(f.keys, "remotes")
	for name, v := range all {
		keys, ok := v.(map[string]any)
		if !ok {
			return f.problem("remotes."+name+" is a table", "Write [remotes."+name+"] above the keys of the remote.")
		}
		f.remotes[name] = keys
	}
	return nil
}

func (f *configFile) problem(what, do string) *problem { return usage(f.path+": "+what, do) }

// check finds unknown keys, values that cannot be, and secrets that others can read.
func (f *configFile) check() error {
	for _, key := range slices.Sorted(maps.Keys(f.keys)) {
		if p := f.checkKey("", key, f.keys[key], nil); p != nil {
			return p
		}
	}
	secrets := false
	for _, name := range slices.Sorted(maps.Keys(f.remotes)) {
		if p := checkRemoteName(name); p != "" {
			return f.problem("remotes."+name+": "+p, "Choose another name.")
		}
		for _, key := range slices.Sorted(maps.Keys(f.remotes[name])) {
			secrets = secrets || key == keySecret || key == keyToken
			if p := f.checkKey("remotes."+name+".", key, f.remotes[name][key], remoteKeys()); p != nil {
				return p
			}
		}
		source, _ := f.remotes[name][keySource].(string)
		if source == "" {
			return f.problem("remotes."+name+" has no source", `Write one such as source = "s3://BUCKET".`)
		}
		if dir, ok := strings.CutPrefix(source, "local:"); ok && !strings.HasPrefix(dir, "/") && !strings.HasPrefix(dir, "~/") {
			return f.problem("remotes."+name+": the directory "+dir+" is not an absolute one", "Write it from the root on: local:/...")
		}
		if _, err := parseSource(source); err != nil {
			p := asProblem(err)
			return f.problem("remotes."+name+": "+p.What, p.Do)
		}
	}
	if info, err := os.Stat(f.path); secrets && err == nil && info.Mode().Perm()&0o077 != 0 {
		return f.problem("others can read it, and it holds secrets", "Keep them out with: chmod 600 "+shellQuote(f.path))
	}
	return nil
}

func remoteKeys() []string { return []string{keySource, keyAccess, keySecret, keyToken} }

// checkRemoteName says why a name cannot be one.
func checkRemoteName(name string) string {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}
	switch {
	case strings.ContainsFunc(name, odd) || strings.Trim(name, ".") == "" || len(name) > 64:
		return "a name has up to 64 letters, digits, -, _ and ."
	case slices.Contains([]string{"s3", "local", "swift", "glacier", "all", "http", "https"}, strings.ToLower(name)):
		return "the name stands for something else"
	}
	return ""
}

// checkKey tries a value with a flag of its own. also are keys besides flags.
func (f *configFile) checkKey(in, key string, v any, also []string) *problem {
	if slices.Contains(also, key) {
		if _, ok := v.(string); !ok {
			return f.problem(in+key+" is a text", "Write it as "+key+` = "..."`)
		}
		return nil
	}
	flags := flagsOf(newOptions())
	flag := flags.Lookup(key)
	if flag == nil || slices.Contains(notInFiles(), key) {
		return f.problem("the key "+in+key+" is not known", suggestKey(key, flags, also))
	}
	if err := setFlag(flags, key, v); err != nil {
		return f.problem(in+key+": "+cause(err).Error(), "")
	}
	return nil
}

func suggestKey(key string, flags *pflag.FlagSet, also []string) string {
	known := slices.Clone(also)
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notInFiles(), f.Name) {
			known = append(known, f.Name)
		}
	})
	if near, ok := similar(strings.ReplaceAll(key, "_", "-"), known); ok {
		return "Did you mean " + near + "?"
	}
	return "Keys are the long flags of: thawfs mount --help"
}

// flagsOf registers the flags of a mount.
func flagsOf(o *options) *pflag.FlagSet {
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	o.mountFlags(flags)
	return flags
}

// setFlag gives a flag the value of a key: a list is given one by one.
func setFlag(flags *pflag.FlagSet, key string, v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, item := range list {
		switch item.(type) {
		case string, bool, int64, float64:
		default:
			return errors.New("a value is a text, a number, true or false")
		}
		if err := flags.Set(key, fmt.Sprint(item)); err != nil {
			return err
		}
	}
	return nil
}

// names are those of all remotes.
func (c *config) names() []string {
	all := map[string]bool{}
	for _, f := range c.files {
		for name := range f.remotes {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// remote is the table of a remote, in the first file that has it.
func (c *config) remote(name string) (map[string]any, bool) {
	for _, f := range c.files {
		if r, ok := f.remotes[name]; ok {
			return r, true
		}
	}
	return nil, false
}

// apply sets what the command line has left open: from the environment, the remote (nil: none),
// the files.
func (c *config) apply(flags *pflag.FlagSet, remote map[string]any) error {
	layers := []map[string]any{fromEnvironment(flags), remote}
	for _, f := range c.files {
		layers = append(layers, f.keys)
	}
	for i, layer := range layers {
		given := map[string]bool{}
		flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
		for key, v := range layer {
			if given[key] || slices.Contains(remoteKeys(), key) {
				continue
			}
			if err := setFlag(flags, key, v); err != nil {
				if i == 0 {
					return usage(envName(key)+": "+cause(err).Error(), "")
				}
				return usage(key+": "+cause(err).Error(), "")
			}
		}
	}
	return nil
}

// fromEnvironment are the flags that the environment sets.
func fromEnvironment(flags *pflag.FlagSet) map[string]any {
	set := map[string]any{}
	flags.VisitAll(func(f *pflag.Flag) {
		if v, ok := os.LookupEnv(envName(f.Name)); ok && !slices.Contains(notInFiles(), f.Name) {
			set[f.Name] = v
		}
	})
	return set
}

func envName(flag string) string {
	return "THAWFS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
