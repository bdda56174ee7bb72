package fs

import (
	"os/exec"
	"strings"
	"testing"
)

// A child that held the connection would keep the mount of a dead process hanging.
func TestChildrenDoNotInheritTheConnection(t *testing.T) {
	mount(t)
	out, err := exec.CommandContext(t.Context(), "ls", "-l", "/proc/self/fd").CombinedOutput()
	must(t, err)
	if strings.Contains(string(out), "/dev/fuse") {
		t.Errorf("a child has it:\n%s", out)
	}
}
