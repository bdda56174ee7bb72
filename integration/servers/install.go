package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// A program is a server's executable in the cache.
type program struct {
	name, version string
	file          string // executable, relative to its directory in the cache; of Debian's, where it is
	patience      string // what a first build takes on two idle cores
	build         func(ctx context.Context, b *builder) error

	debian []string // packages that it takes
	needs  []string // files by which they are known to be there
}

// programs are pinned: a test that fails tomorrow shall have failed for our change.
var programs = []program{
	{
		name: "minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c", file: "minio", patience: "about 4 minutes",
		build: goInstall("github.com/minio/minio"),
	},
	{
		name: "versitygw", version: "v1.8.0", file: "versitygw", patience: "about a minute",
		build: goInstall("github.com/versity/versitygw/cmd/versitygw"),
	},
	{
		name: "moto", version: "5.2.5", file: "venv/bin/moto_server", patience: "about a minute",
		build: pipInstall("moto[server]", "moto_server"),
	},
	{name: "swift", version: "2.30", file: systemPython, debian: swiftPackages, needs: swiftFiles},
	{
		name: "keystone", version: "22-" + keystoneRevision, file: "facts.json", patience: "about a minute",
		build:  makeKeystone,
		debian: slices.Concat(swiftPackages, keystonePackages), needs: slices.Concat(swiftFiles, keystoneFiles),
	},
}

// Install builds what is missing of the named programs, of all if none is named, and installs
// the Debian packages that Tool knows. It tells its progress to out.
func Install(ctx context.Context, out io.Writer, names ...string) error {
	for _, name := range names {
		if _, known := packages[name]; !known && !slices.ContainsFunc(programs, func(p program) bool { return p.name == name }) {
			return fmt.Errorf("no program named %q", name)
		}
	}
	var failed []error
	for _, p := range programs {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		path, err := p.get(ctx, out)
		if err == nil {
			fmt.Fprintf(out, "%-12s %s\n", p.name, path)
		}
		failed = append(failed, err)
	}
	for _, tool := range toolNames() {
		if len(names) > 0 && !slices.Contains(names, tool) {
			continue
		}
		path, err := findTool(ctx, tool, out)
		if err == nil {
			fmt.Fprintf(out, "%-12s %s\n", tool, path)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// executable returns the path of the named program, building it first if need be.
func executable(ctx context.Context, name string, out io.Writer) (string, error) {
	for _, p := range programs {
		if p.name == name {
			return p.get(ctx, out)
		}
	}
	return "", fmt.Errorf("no server named %q", name)
}

// get returns the executable, building it first if it is not there.
func (p program) get(ctx context.Context, out io.Writer) (string, error) {
	missing := func(path string) bool { return !exists(path) }
	if slices.ContainsFunc(p.needs, missing) {
		if err := debian(ctx, out, p.debian...); err != nil {
			return "", fmt.Errorf("install %s: %w", p.name, err)
		}
		if i := slices.IndexFunc(p.needs, missing); i >= 0 {
			return "", fmt.Errorf("the Debian packages of %s were installed and hold no %s", p.name, p.needs[i])
		}
	}
	if p.build == nil {
		return p.file, nil
	}
	cache, err := Dir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, p.name+"-"+p.version)
	path, whole := filepath.Join(dir, p.file), filepath.Join(dir, "whole")
	if exists(whole) && exists(path) {
		return path, nil
	}
	err = locked(p.name+"-"+p.version, func() error {
		if exists(whole) && exists(path) {
			return nil // another process built it while this one waited
		}
		return p.fill(ctx, dir, path, whole, out)
	})
	if err != nil {
		return "", fmt.Errorf("build %s %s: %w\nto try again with a look at it: go run ./integration/servers/cmd/servers install %s", p.name, p.version, err, p.name)
	}
	return path, nil
}

// fill builds into dir and marks it as whole at the end. It builds in place: a Python
// environment cannot be moved.
func (p program) fill(ctx context.Context, dir, path, whole string, out io.Writer) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b := &builder{name: p.name, version: p.version, dir: dir, out: out}
	b.say("%s is not in %s: building it, once (%s)", p.name, filepath.Dir(dir), p.patience)
	if err := p.build(ctx, b); err != nil {
		return err
	}
	if !exists(path) {
		return fmt.Errorf("the build made no %s", path)
	}
	return os.WriteFile(whole, nil, 0o644)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
