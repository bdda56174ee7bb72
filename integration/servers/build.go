package servers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	tellEvery = 10 * time.Second // between two lines of progress
	tailLines = 25               // of a failed command's output that are told
)

// A builder runs the commands that make one program and tells how far they are.
type builder struct {
	name, version, dir string
	out                io.Writer
}

func (b *builder) say(format string, args ...any) {
	fmt.Fprintf(b.out, "servers: "+format+"\n", args...)
}

// goInstall builds a main package with the Go tool, as its own module pins its dependencies.
func goInstall(pkg string) func(context.Context, *builder) error {
	return func(ctx context.Context, b *builder) error {
		env := append(
			without(os.Environ(), "GOFLAGS", "GOBIN", "GOOS", "GOARCH", "GOWORK", "CGO_ENABLED"),
			"GOBIN="+b.dir, "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=",
		)
		return b.run(ctx, env, "go", "install", "-v", "-trimpath", "-ldflags=-s -w", pkg+"@"+b.version)
	}
}

// pipInstall makes a Python environment that holds the one package, never one that happens to
// be installed.
func pipInstall(pkg, script string) func(context.Context, *builder) error {
	return func(ctx context.Context, b *builder) error {
		env := without(os.Environ(), "PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV")
		venv := filepath.Join(b.dir, "venv")
		if err := b.run(ctx, env, "python3", "-m", "venv", venv); err != nil {
			// Debian keeps ensurepip in a package of its own.
			if debian(ctx, b.out, "python3-venv") != nil {
				return err
			}
			if err := b.run(ctx, env, "/usr/bin/python3", "-m", "venv", "--clear", venv); err != nil {
				return err
			}
		}
		err := b.run(ctx, env, filepath.Join(venv, "bin", "python"), "-m", "pip", "install",
			"--disable-pip-version-check", "--no-input", "--progress-bar=off", pkg+"=="+b.version)
		if err != nil {
			return err
		}
		// Its first start compiles hundreds of modules: here instead of in a test.
		return b.run(ctx, env, filepath.Join(venv, "bin", script), "--help")
	}
}

// run runs one command, politely, and tells the end of its output if it fails.
func (b *builder) run(ctx context.Context, env []string, argv ...string) error {
	begin := time.Now()
	p := &progress{b: b, begin: begin, told: begin}
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10"}, argv...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.dir, env, p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, p.tail())
	}
	return nil
}

// progress counts the lines of a command's output and keeps the last of them.
type progress struct {
	b           *builder
	begin, told time.Time
	lines       int
	last        [][]byte
	partial     []byte
}

func (p *progress) Write(data []byte) (int, error) {
	p.partial = append(p.partial, data...)
	for {
		line, rest, ok := bytes.Cut(p.partial, []byte("\n"))
		if !ok {
			break
		}
		p.lines++
		p.last = append(p.last, bytes.Clone(line))
		if len(p.last) > tailLines {
			p.last = p.last[1:]
		}
		p.partial = append(p.partial[:0], rest...)
	}
	if time.Since(p.told) > tellEvery && len(p.last) > 0 {
		p.told = time.Now()
		p.b.say("%s: step %d, %s: %.60s", p.b.name, p.lines, time.Since(p.begin).Round(time.Second), p.last[len(p.last)-1])
	}
	return len(data), nil
}

func (p *progress) tail() []byte {
	return bytes.Join(append(p.last, p.partial), []byte("\n"))
}

// without returns env less the named variables.
func without(env []string, names ...string) []string {
	var kept []string
next:
	for _, e := range env {
		for _, name := range names {
			if strings.HasPrefix(e, name+"=") {
				continue next
			}
		}
		kept = append(kept, e)
	}
	return kept
}
