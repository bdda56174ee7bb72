package fs

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/thawfs/thawfs/fs/fstest/fsx"
)

// TestRandomOperations plays random operations on one file of a mount; every thousand or so
// the cache begins anew, so that what was written has to come from the store. FSX_OPS and
// FSX_SEED choose another run.
func TestRandomOperations(t *testing.T) {
	ops := 600_000
	if testing.Short() {
		ops = 10_000
	}
	if n, err := strconv.Atoi(os.Getenv("FSX_OPS")); err == nil {
		ops = n
	}
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("FSX_SEED"), 10, 64); err == nil {
		seed = n
	}
	onBothPaths(t, func(t *testing.T, pass bool) {
		m := mountPath(t, pass)
		calls := 0
		playApart(t, m.path("f"), seed, ops, func() {
			if calls++; calls%4 != 0 {
				m.drain()
				return
			}
			m.remount()
			m.passthrough.Store(m.passthrough.Load() && pass)
		})
	})
	t.Run("local disk", func(t *testing.T) { // the exerciser itself
		playApart(t, filepath.Join(t.TempDir(), "f"), seed, min(ops, 5_000), func() {})
	})
}

// playApart plays in a process of its own: one that maps a file which it serves itself stops
// for good when its memory is collected during a page fault.
func playApart(t *testing.T, path string, seed uint64, ops int, between func()) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "FS_TEST_FSX="+path, fmt.Sprint("FSX_SEED=", seed), fmt.Sprint("FSX_OPS=", ops))
	cmd.Stderr = testWriter{t}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		between()
		_, err := io.WriteString(in, "go on\n")
		must(t, err)
	}
	must(t, cmd.Wait())
}

// playHere is the other side of playApart.
func playHere(path string) error {
	seed, err := strconv.ParseUint(os.Getenv("FSX_SEED"), 10, 64)
	if err != nil {
		return err
	}
	ops, err := strconv.Atoi(os.Getenv("FSX_OPS"))
	if err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	return fsx.Play(fsx.Options{Path: path, Seed: seed, Ops: ops, Between: func() error {
		fmt.Println("between")
		_, err := in.ReadString('\n')
		return err
	}})
}
