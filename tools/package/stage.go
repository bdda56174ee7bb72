package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const docs = "usr/share/doc/thawfs"

// put writes a file of the stage.
func (j *job) put(path string, content []byte, mode os.FileMode) error {
	to := filepath.Join(j.stage, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, mode)
}

// fill puts everything into the stage that needs no thought.
func (j *job) fill() error {
	for from, to := range map[string]string{
		j.binary: "usr/bin/thawfs",
		filepath.Join(j.root, "tools/package/thawfs@.service"): "usr/lib/systemd/system/thawfs@.service",
		filepath.Join(j.root, "tools/package/thawfs.toml"):     docs + "/examples/thawfs.toml",
		filepath.Join(j.root, "tools/package/logrotate"):       docs + "/examples/logrotate",
		filepath.Join(j.root, "README.md"):                     docs + "/README.md",
		filepath.Join(j.root, "cmd/thawfs/CHANGELOG.md"):       docs + "/CHANGELOG.md",
		filepath.Join(j.root, "fs/SEMANTICS.md"):               docs + "/SEMANTICS.md",
		filepath.Join(j.root, "cmd/thawfs/METRICS.md"):         docs + "/METRICS.md",
		filepath.Join(j.root, "cmd/thawfs/RECIPES.md"):         docs + "/RECIPES.md",
		filepath.Join(j.root, "cmd/thawfs/grafana.json"):       docs + "/grafana.json",
		filepath.Join(j.root, "LICENSE"):                       docs + "/copyright",
	} {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if from == j.binary {
			mode = 0o755
		}
		if err := j.put(to, b, mode); err != nil {
			return err
		}
	}
	if err := j.completions(); err != nil {
		return err
	}
	return j.manual()
}

// completions are made by the program itself.
func (j *job) completions() error {
	for shell, path := range map[string]string{
		"bash": "usr/share/bash-completion/completions/thawfs",
		"zsh":  "usr/share/zsh/site-functions/_thawfs",
		"fish": "usr/share/fish/vendor_completions.d/thawfs.fish",
	} {
		out, err := j.thawfs("completion", shell)
		if err != nil {
			return err
		}
		if err := j.put(path, out, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manual has the program write its pages, compressed as packages have them.
func (j *job) manual() error {
	dir, err := os.MkdirTemp("", "thawfs-man")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary files
	if _, err := j.thawfs("man", dir); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 10 {
		return fmt.Errorf("only %d pages of the manual were made (%v)", len(pages), err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression) // without a name and a time
		if err != nil {
			return err
		}
		if _, err := z.Write(text); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if err := j.put("usr/share/man/man1/"+filepath.Base(page)+".gz", b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) thawfs(args ...string) ([]byte, error) {
	path, err := filepath.Abs(j.binary)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = "thawfs"
	cmd.Stderr = os.Stderr
	return cmd.Output()
}
