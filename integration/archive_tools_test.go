package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs/recall"
	"github.com/thawfs/thawfs/integration/servers"
)

// readers are programs that copy the file $D/$F into the directory $O, as $F. needs are those
// that a machine may lack.
var readers = []struct {
	name, needs, script string
}{
	{"cat", "", `cat "$D/$F" > "$O/$F"`},
	{"cp", "", `cp "$D/$F" "$O/"`},
	{"cp sparse", "", `cp --sparse=always "$D/$F" "$O/"`},
	{"cp -a", "", `cp -a "$D/$F" "$O/"`},
	{"tar", "tar", `tar -C "$D" -cf "$O/t" "$F"; e=$?; tar -C "$O" -xf "$O/t"; exit $e`},
	{"tar -S", "tar", `tar -C "$D" -cSf "$O/t" "$F"; e=$?; tar -C "$O" -xf "$O/t"; exit $e`},
	{"bsdtar", "bsdtar", `bsdtar -C "$D" -cf "$O/t" "$F"; e=$?; bsdtar -C "$O" -xf "$O/t"; exit $e`},
	{"rsync", "rsync", `rsync "$D/$F" "$O/"`},
	{"rsync -S", "rsync", `rsync -S "$D/$F" "$O/"`},
	{"dd", "", `dd if="$D/$F" of="$O/$F" bs=64k status=none`},
	{"dd sparse", "", `dd if="$D/$F" of="$O/$F" bs=4k conv=sparse status=none`},
	{"cmp", "", `cmp "$D/$F" "$WANT" && cp "$WANT" "$O/$F"`},
	{"python", "python3", `python3 -c 'import sys; open(sys.argv[2], "wb").write(open(sys.argv[1], "rb").read())' "$D/$F" "$O/$F"`},
	{"mmap", "python3", `python3 -c '
import mmap, sys
with open(sys.argv[1], "rb") as f:
    b = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]
open(sys.argv[2], "wb").write(b)' "$D/$F" "$O/$F"`},
}

// holey is content with holes, which a program may be led to find where there are none.
func holey() []byte {
	return slices.Concat(noise(1, 200_000), make([]byte, 300_000), noise(2, 50_000))
}

// TestArchivedTools lets programs read what is not there, and what has come back. Either they
// say that they have failed or they have the right bytes: zeros, never.
func TestArchivedTools(t *testing.T) {
	for _, tt := range []struct {
		state string
		takes time.Duration
		r     recall.Options
		reads bool
	}{
		{"archived", never, recall.Options{Policy: recall.ExplicitOnly}, false},
		{"restoring", never, recall.Options{}, false},
		{"restored", 10 * time.Millisecond, recall.Options{Policy: recall.ExplicitOnly}, true},
	} {
		t.Run(tt.state, func(t *testing.T) {
			onShelves(t, tt.takes, func(t *testing.T, s *shelf) {
				m := mountCold(t, s, policy(tt.r))
				for i := range readers {
					m.freeze(fmt.Sprintf("file%d", i), holey())
				}
				for i := range readers {
					if tt.state != "archived" {
						must(t, m.setXattr(fmt.Sprintf("file%d", i), "restore", ""))
					}
				}
				for i := range readers {
					name := fmt.Sprintf("file%d", i)
					if tt.reads {
						m.wantState(name, backend.Restored)
					}
					m.tryReader(i, name, tt.reads)
					if want := map[bool]int{false: 1, true: 0}[tt.state == "archived"]; s.paid(m.ref(name)) != want {
						t.Errorf("%s: %d restores were paid for, want %d", readers[i].name, s.paid(m.ref(name)), want)
					}
				}
			})
		})
	}
}

// tryReader runs one of the readers and looks at what it leaves.
func (m *coldMount) tryReader(i int, name string, works bool) {
	m.t.Helper()
	r := readers[i]
	if r.needs != "" {
		servers.Tool(m.t, r.needs)
	}
	out, want := m.t.TempDir(), filepath.Join(m.t.TempDir(), "want")
	must(m.t, os.WriteFile(want, holey(), 0o600))
	said, err := try(m.t, "/", "env", "D="+m.dir, "F="+name, "O="+out, "WANT="+want, "sh", "-c", r.script)
	got, readErr := os.ReadFile(filepath.Join(out, name))
	switch {
	case works && (err != nil || !bytes.Equal(got, holey())):
		m.t.Errorf("%s: %v: %s; copied %d bytes, %v", r.name, err, said, len(got), readErr)
	case !works && err == nil:
		m.t.Errorf("%s ended well", r.name)
	case !works && len(got) > 0:
		m.t.Errorf("%s left %d bytes, %d of them zero", r.name, len(got), bytes.Count(got, []byte{0}))
	case !works && !strings.Contains(said, "emporarily unavailable") && !strings.Contains(said, "No data available"):
		m.t.Errorf("%s does not say why: %s", r.name, said)
	}
}

const stubs = 10_000

// TestArchivedStorm walks over an archive with what people and machines walk with. Nothing of it
// begins a restore but reading, and a guard stops that.
func TestArchivedStorm(t *testing.T) {
	t.Parallel()
	s := localShelf(t, never)
	m := mountCold(t, s)
	fill(m)
	m.walk("find", `test $(find . -type f -size +0 -newermt 2001-01-01 | wc -l) = 10000`)
	var wg sync.WaitGroup
	for name, script := range map[string]string{ // all at once: the machine may be slow
		"du":       `du -s . > /dev/null && test $(du -s --apparent-size -B1 . | cut -f1) -gt 1000000`,
		"ls -lR":   `test $(ls -lR | grep -c ' file') = 10000`,
		"file":     `find . -type f -print0 | xargs -0 file > /dev/null`,
		"tar":      `tar cf - . 2> /dev/null | cat > /dev/null`,
		"updatedb": servers.Tool(t, "updatedb") + ` -l 0 -o ` + t.TempDir() + `/db -U "$PWD" --prunefs '' --prunepaths ''`,
		// It sets O_NONBLOCK for what it finds below its arguments.
		"grep -r": `! grep -r 'no such text' . 2> /dev/null`,
	} {
		wg.Go(func() { m.walk(name, script) })
	}
	wg.Wait()
	for _, job := range m.Recall().Jobs() {
		t.Fatalf("%s began to restore %v", job.By, job.Ref)
	}

	out, err := try(t, m.dir, "sh", "-c", "find . -type f -print0 | xargs -0 grep 'no such text'")
	if err == nil || !strings.Contains(out, "Disk quota exceeded") {
		t.Errorf("grep: %v: %s", err, tail(out))
	}
	if jobs := len(m.Recall().Jobs()); jobs != 20 {
		t.Errorf("grep began %d restores, want 20", jobs)
	}
	lines := m.log.with("recalls refused")
	if len(lines) != 1 {
		t.Fatalf("that was logged %d times", len(lines))
	}
	for _, word := range []string{"grep", "20 restores within 10s", "thawfs restore"} {
		if !strings.Contains(lines[0], word) {
			t.Errorf("the log does not say %q: %s", word, lines[0])
		}
	}
}

// fill puts small archived objects behind the mount's back, many at once.
func fill(m *coldMount) {
	m.t.Helper()
	var wg sync.WaitGroup
	for d := range 20 {
		wg.Go(func() {
			for i := range stubs / 20 {
				m.freeze(fmt.Sprintf("dir%d/file%d", d, i), []byte(cold[:200]))
			}
		})
	}
	wg.Wait()
}

// walk runs a script at the top of the mount; it must end well.
func (m *coldMount) walk(name, script string) {
	m.t.Helper()
	began := time.Now()
	if out, err := try(m.t, m.dir, "sh", "-c", script); err != nil {
		m.t.Errorf("%s: %v: %s", name, err, tail(out))
	}
	m.t.Logf("%s took %v", name, time.Since(began))
}
