package integration

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/servers"
)

// Requests are money: what programs do with the files of one directory takes no more of them
// than it must. Beside the files there are the bucket and the indexes of attributes.
func TestRequestsOfTools(t *testing.T) {
	t.Parallel()
	const files = 60
	c := newCounter(t, servers.MinIO(t))
	m := mount(t, openS3(t, c.S3), func(o *fs.Options) { o.TTL, o.NegativeTTL = time.Hour, time.Hour }) // however slow the machine is
	must(t, os.Mkdir(m.path("d"), 0o755))
	must(t, m.Drain(t.Context()))
	c.take()

	content := map[string]string{}
	for i := range files {
		name := fmt.Sprintf("f%03d", i)
		content[name] = strings.Repeat(name, 100+i)
		must(t, os.WriteFile(m.path("d", name), []byte(content[name]), 0o644))
	}
	must(t, m.Drain(t.Context()))
	takesAtMost(t, "writing files", c.take(), map[string]int{"put": files + 1, "list": 1, "head": 1})

	m.remount()
	c.take()
	to := t.TempDir()
	run(t, m.dir, "cp", "-r", m.path("d"), to)
	takesAtMost(t, "cp -r", c.take(), map[string]int{"get": files + 2, "list": 2, "head": 2})
	for name, want := range content {
		got, err := os.ReadFile(to + "/d/" + name)
		if must(t, err); string(got) != want {
			t.Errorf("cp -r made %s %d bytes, want %d", name, len(got), len(want))
		}
	}

	run(t, m.dir, "ls", "-l", m.path("d"))
	takesAtMost(t, "ls -l again", c.take(), map[string]int{})

	run(t, m.dir, "rm", "-rf", m.path("d"))
	must(t, m.Drain(t.Context()))
	takesAtMost(t, "rm -rf", c.take(), map[string]int{"delete": 2, "list": 1, "head": 1})
}

// takesAtMost fails if something took more requests of a kind than allowed.
func takesAtMost(t *testing.T, what string, got, allowed map[string]int) {
	t.Helper()
	t.Logf("%s took %v", what, got)
	over := maps.Clone(got)
	maps.DeleteFunc(over, func(kind string, n int) bool { return n <= allowed[kind] })
	if len(over) > 0 {
		t.Errorf("%s took %v, want at most %v", what, got, allowed)
	}
}
