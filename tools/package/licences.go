package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// licence is what a module is under.
type licence struct {
	id   string // SPDX
	text []byte
}

// allowed are the licences that a binary under Apache-2.0 can be joined with.
func allowed() []string {
	return []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "Unlicense", "Zlib"}
}

// licences lists the modules of the binary and the text of each licence. A licence that is not known,
// or not allowed, is an error.
func (j *job) licences() error {
	var list, texts bytes.Buffer
	fmt.Fprintln(&list, "The program holds these modules besides its own, which is under Apache-2.0:")
	fmt.Fprintln(&list)
	for _, m := range j.built.modules {
		l, err := j.licenceOf(m)
		if err != nil {
			return fmt.Errorf("licence of %s: %w", m.Path, err)
		}
		fmt.Fprintf(&list, "%-14s %s %s\n", l.id, m.Path, m.Version)
		fmt.Fprintf(&texts, "\n%s\n%s %s: %s\n%s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, l.id, strings.Repeat("=", 80), bytes.TrimSpace(l.text))
	}
	list.Write(texts.Bytes())
	return j.put(docs+"/LICENCES", list.Bytes(), 0o644)
}

// licenceOf reads the licence file of a module.
func (j *job) licenceOf(m *debug.Module) (licence, error) {
	dir, err := j.sourceOf(m)
	if err != nil {
		return licence{}, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return licence{}, err
	}
	var texts []byte
	var ids []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "UNLICENSE") && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return licence{}, err
		}
		texts = append(append(texts, text...), '\n')
		for _, match := range licensecheck.Scan(text).Match {
			if !slices.Contains(ids, match.ID) {
				ids = append(ids, match.ID)
			}
		}
	}
	if len(ids) == 0 {
		return licence{}, fmt.Errorf("no licence is recognized in %s", dir)
	}
	for _, id := range ids {
		if !slices.Contains(allowed(), id) {
			return licence{}, fmt.Errorf("%s is not among those that are allowed", id)
		}
	}
	return licence{strings.Join(ids, " AND "), texts}, nil
}

// sourceOf is the directory of a module's source.
func (j *job) sourceOf(m *debug.Module) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", m.Path+"@"+m.Version)
	cmd.Dir = j.root
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	var at struct{ Dir string }
	return at.Dir, json.Unmarshal(out, &at)
}
