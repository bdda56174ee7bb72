package writeback

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
)

// A disk is a file system in an image, whose power can fail.
type disk struct {
	t                *testing.T
	kind, image, dir string
}

func newDisk(t *testing.T, kind string) *disk {
	t.Helper()
	d := &disk{t: t, kind: kind, image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	size := map[string]int64{"ext4": 128 << 20, "xfs": 320 << 20}[kind] // bytes; xfs wants that much
	file, err := os.Create(d.image)
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	d.command(servers.Tool(t, "mkfs."+kind), "-q", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *disk) command(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (d *disk) mount() {
	d.t.Helper()
	d.command("mount", "-o", "loop", d.image, d.dir)
}

func (d *disk) unmount() {
	d.t.Helper()
	d.command("umount", d.dir)
}

const (
	shutdownIoctl   = 0x8004587d // FS_IOC_SHUTDOWN, of ext4, xfs and others
	withoutLogFlush = 2          // what was not written is lost, the file system's own log included
)

// cut is the end of all writing to the disk.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close() // only a handle
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdownIoctl, withoutLogFlush); err != nil {
		d.t.Fatalf("shutdown of %s: %v", d.kind, err)
	}
}

// TestPowerCut fails the power of the disk that the queue is on, under load. What was closed
// some seconds before is there, whole; of what came later no torn state is ever sent.
func TestPowerCut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can mount an image: run the tests as root")
	}
	for _, kind := range []string{"ext4", "xfs"} {
		rounds := 26
		if testing.Short() {
			if kind != "ext4" {
				continue // the same code; the image takes longer
			}
			rounds = 1
		}
		t.Run(kind, func(t *testing.T) {
			d, dir := newDisk(t, kind), t.TempDir()
			p := &powerTest{t: t, d: d, dir: dir, wb: filepath.Join(d.dir, "wb"), store: killStore(dir)}
			for round := range rounds {
				p.round(round)
			}
			t.Logf("%d power cuts, %d operations, %d files checked, %d in lost+found", rounds, p.ops, p.files, p.lost)
		})
	}
}

type powerTest struct {
	t                *testing.T
	d                *disk
	dir, wb          string
	store            backend.Store
	ops, files, lost int
}

func (p *powerTest) round(round int) {
	p.t.Helper()
	cmd := killCommand(p.dir, round, p.wb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := bufio.NewScanner(out).Scan()
	time.Sleep(1500*time.Millisecond + time.Duration(rand.IntN(2000))*time.Millisecond)
	if err := cmd.Process.Signal(unix.Signal(0)); err != nil || ended(cmd.Process.Pid) {
		p.t.Fatalf("the process ended before the cut: %v: %s", err, stderr.String())
	}
	p.d.cut()
	_ = cmd.Process.Kill() // it may have met the dead disk first
	_ = cmd.Wait()         // killed
	if !ready {
		p.t.Fatal("the process never began")
	}
	p.d.unmount()
	p.d.mount()
	damage := rewriteBoot(p.t, p.wb, true)
	q := killQueue(p.wb, false, p.store, io.Discard)
	q.Start()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	drained := q.Drain(ctx)
	stuck := map[string]bool{}
	for _, e := range q.Pending() {
		stuck[e.Ref.Key] = true
		if err := q.Delete(e.Ref, backend.Object{}); err != nil {
			p.t.Errorf("give up %s: %v", e.Ref, err)
		}
	}
	if err := q.Drain(ctx); err != nil {
		p.t.Errorf("the second Drain: %v", err)
	}
	p.check(round, stuck) // when the deletes are over: one between a Head and a Get would end the test
	if err := q.Close(ctx); err != nil {
		p.t.Errorf("Close: %v", err)
	}
	if p.t.Failed() {
		p.t.Fatalf("round %d: Drain: %v, damage %q", round, drained, damage)
	}
}

// ended reports whether a process is over, though nobody has waited for it.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// A past is what a key held.
type past struct {
	values []killFile // the first and every other one; zero: absent
	seq    uint64     // line of the journal by which the last was known; the largest number if it was not acknowledged
}

// contents are what any file held, or may have held for a moment: with a file that is changed in
// place, what was written follows on its last Commit, attributes and all.
type contents struct {
	whole   map[string]bool
	growing [][2]string // from, to
}

func (c *contents) possible(data string) bool {
	return c.whole[data] || slices.ContainsFunc(c.growing, func(g [2]string) bool {
		return len(data) > len(g[0]) && strings.HasPrefix(g[1], data)
	})
}

// check holds the store against what the workers of a round were told. What the group commit
// had covered must be there.
func (p *powerTest) check(round int, stuck map[string]bool) {
	p.t.Helper()
	pasts, states, synced := p.pasts(fmt.Sprintf("r%dw", round))
	names, err := os.ReadDir(filepath.Join(p.wb, "lost+found"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.lost = len(names)
	for key, h := range pasts {
		got, want := p.read(key), h.values[len(h.values)-1]
		worker := key[:strings.Index(key, "/")+1]
		switch quiet := h.seq <= synced; {
		case quiet && got != want:
			p.t.Errorf("%s is %s, want %s, which was on the disk (stuck: %v; next to it: %q)\n%s", key, got.brief(), want.brief(), stuck[key], p.copies(key), history(p.t, p.dir, worker))
		case !states.possible(got.Data):
			p.t.Errorf("%s is %s: no state that any file ever had\n%s", key, got.brief(), history(p.t, p.dir, worker))
		case quiet:
			p.files++
		}
	}
}

// copies are the conflict copies of key: they tell content that is lost from content that was
// sent under another name.
func (p *powerTest) copies(key string) (names []string) {
	p.t.Helper()
	for e, err := range p.store.List(p.t.Context(), key+".conflict-", "", backend.ListOptions{}) {
		if err != nil {
			p.t.Fatal(err)
		}
		names = append(names, e.Key)
	}
	return names
}

func (p *powerTest) read(key string) killFile {
	p.t.Helper()
	obj, err := p.store.Head(p.t.Context(), key)
	if err != nil {
		return killFile{}
	}
	body, err := p.store.Get(p.t.Context(), key, obj.ETag, 0, -1)
	if err != nil {
		p.t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	_ = body.Close() // read to the end
	if err != nil {
		p.t.Fatal(err)
	}
	return killFile{string(data), obj.Meta["mtime"]}
}

// pasts replays what the workers whose names begin with prefix did. states are all that any
// file was; synced is the last line of the journal that was on the disk for certain.
func (p *powerTest) pasts(prefix string) (pasts map[string]*past, states *contents, synced uint64) {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, "acks"))
	if err != nil {
		p.t.Fatal(err)
	}
	now := map[string]killFile{}
	pasts, states = map[string]*past{}, &contents{whole: map[string]bool{"": true}}
	mine := false
	for line := range strings.Lines(string(data)) {
		var o killOp
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			p.t.Fatal(err)
		}
		if o.Op == "synced" && mine {
			synced = o.Seq
		}
		if mine = mine || strings.HasPrefix(o.Worker, prefix); !mine || o.Op == "synced" {
			continue
		}
		p.replay(o, now, pasts, states)
	}
	return pasts, states, synced
}

func (p *powerTest) replay(o killOp, now map[string]killFile, pasts map[string]*past, states *contents) {
	after := maps.Clone(now)
	o.apply(after)
	for key := range both(now, after) {
		changed := now[key] != after[key]
		if !changed && key != o.Key && key != o.To {
			continue
		}
		h := pasts[key]
		if h == nil {
			h = &past{values: []killFile{{}}}
			pasts[key] = h
		}
		if changed {
			h.values = append(h.values, after[key])
			states.whole[after[key].Data] = true
			if o.Op == "append" {
				states.growing = append(states.growing, [2]string{now[key].Data, after[key].Data})
			}
		}
		h.seq = math.MaxUint64
		if o.Acked {
			h.seq = o.Seq
		}
	}
	if o.Acked {
		maps.Copy(now, after)
		maps.DeleteFunc(now, func(key string, _ killFile) bool { _, ok := after[key]; return !ok })
		p.ops++
	}
}

func both(a, b map[string]killFile) map[string]bool {
	keys := map[string]bool{}
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}
