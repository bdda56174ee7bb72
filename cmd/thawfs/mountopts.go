package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// mountOptions is the value of -o: a list as mount(8), mount.fuse and fstab pass it. Each
// option sets the flag that is its equal, in the order of the command line: the last wins.
// sloppy lets unknown ones pass, as mount -s wants.
type mountOptions struct {
	flags  *pflag.FlagSet
	sloppy bool
	seen   []string
}

// aliases are the words of mount(8) and of other FUSE file systems for our flags. Besides
// them every long flag is an option of the same name, with _ or -.
var aliases = map[string]struct{ flag, value string }{
	"ro":                  {"read-only", "true"},
	"rw":                  {"read-only", "false"},
	"sync":                {"sync", "true"},
	"async":               {"sync", "false"},
	"debug":               {"log-level", "debug"},
	"url":                 {"endpoint", ""},
	"endpoint_url":        {"endpoint", ""},
	"public_bucket":       {"anonymous", "true"},
	"no_sign_request":     {"anonymous", "true"},
	"use_cache":           {"cache-dir", ""},
	"fsname":              {"", ""},
	"subtype":             {"", ""},
	"default_permissions": {"", ""},
}

// ignored are options for mount(8), systemd or the kernel that mean nothing to us, and those
// that FUSE mounts have anyway.
var ignored = []string{
	"_netdev", "auto", "noauto", "nofail", "fail", "user", "users", "nouser", "owner", "group", "defaults",
	"exec", "noexec", "suid", "nosuid", "dev", "nodev",
	"atime", "noatime", "relatime", "norelatime", "strictatime", "lazytime", "nolazytime", "diratime", "nodiratime",
	"dirsync", "iversion", "noiversion", "mand", "nomand", "silent", "loud", "nonempty", "comment",
}

// Set applies one list.
func (m *mountOptions) Set(list string) error {
	for _, item := range splitOptions(list) {
		if err := m.apply(item); err != nil {
			return err
		}
	}
	m.seen = append(m.seen, list)
	return nil
}

func (m *mountOptions) String() string { return strings.Join(m.seen, ",") }
func (m *mountOptions) Type() string   { return "OPT,..." }

func (m *mountOptions) apply(item string) error {
	name, value, given := strings.Cut(item, "=")
	if name == "" || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || slices.Contains(ignored, name) {
		return nil
	}
	if name == "umask" || name == "fmask" || name == "dmask" {
		return m.mask(name, value)
	}
	flag := strings.ReplaceAll(name, "_", "-")
	if a, ok := aliases[name]; ok {
		flag = a.flag
		if a.value != "" {
			value, given = a.value, true
		}
	}
	if flag == "" {
		return nil
	}
	f := m.flags.Lookup(flag)
	switch {
	case f == nil || flag == "options" || flag == "help":
		if m.sloppy {
			return nil
		}
		return fmt.Errorf("option %q is not known%s", name, m.suggest(name))
	case !given && f.NoOptDefVal == "":
		return fmt.Errorf("option %q needs a value, as in %s=VALUE", name, name)
	case !given:
		value = f.NoOptDefVal
	}
	if err := m.flags.Set(flag, value); err != nil {
		return fmt.Errorf("option %q: %w", name, cause(err))
	}
	return nil
}

// cause is what a flag's value said, without pflag's words around it.
func cause(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err
		}
		err = inner.Unwrap()
	}
}

// mask takes permissions away from the default ones.
func (m *mountOptions) mask(name, value string) error {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("option %q: %q is no mask: write octal permissions such as 022", name, value)
	}
	if name != "dmask" {
		err = m.flags.Set("file-mode", strconv.FormatUint(0o666&^n, 8))
	}
	if name != "fmask" && err == nil {
		err = m.flags.Set("dir-mode", strconv.FormatUint(0o777&^n, 8))
	}
	return err
}

// suggest finds the option that is spelled most alike.
func (m *mountOptions) suggest(name string) string {
	known := slices.Clone(ignored)
	for a := range aliases {
		known = append(known, a)
	}
	m.flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "options" && f.Name != "help" {
			known = append(known, strings.ReplaceAll(f.Name, "-", "_"))
		}
	})
	if best, ok := similar(strings.ReplaceAll(name, "-", "_"), known); ok {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return "; see thawfs mount --help"
}

// splitOptions splits at commas. A comma or backslash that belongs to a value has a backslash
// before it.
func splitOptions(list string) []string {
	var items []string
	var item strings.Builder
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && i+1 < len(list) && (list[i+1] == ',' || list[i+1] == '\\'):
			i++
			item.WriteByte(list[i])
		case c == ',':
			items = append(items, item.String())
			item.Reset()
		default:
			item.WriteByte(c)
		}
	}
	return append(items, item.String())
}
