package main

import (
	"debug/buildinfo"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// binary is what a program knows of itself.
type binary struct {
	version string // without the v, as in 1.2.0 or 0.0.0-20261128130000-0123456789ab
	arch    string // of Go
	modules []*debug.Module
}

func readBinary(path string) (*binary, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s is not a program of Go: %w", path, err)
	}
	b := &binary{version: strings.TrimPrefix(info.Main.Version, "v")}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if set["CGO_ENABLED"] != "0" {
		return nil, fmt.Errorf("%s is not static: build it with CGO_ENABLED=0", path)
	}
	if b.arch = set["GOARCH"]; b.version == "" || b.version == "(devel)" {
		b.version = "0.0.0"
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.modules = append(b.modules, m)
	}
	slices.SortFunc(b.modules, func(x, y *debug.Module) int { return strings.Compare(x.Path, y.Path) })
	return b, nil
}
