package blocks

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// What is pinned stays on disk until it is unpinned or forgotten. Pins are of names: of a name
// that is pinned the newest version is kept that came to the disk. They are in a file of
// their own, beside the index, with a hash a line.

const pinsName = "pins"

// pins are the names whose versions are not evicted.
type pins struct {
	path string
	refs map[uint64]bool // guarded by disk.mu
}

// loadPins reads the file of an earlier run. One that is damaged loses the lines that are.
func loadPins(dir string) (*pins, error) {
	p := &pins{path: filepath.Join(dir, pinsName), refs: map[uint64]bool{}}
	b, err := os.ReadFile(p.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		var ref uint64
		if _, err := fmt.Sscanf(line, "%016x\n", &ref); err == nil {
			p.refs[ref] = true
		}
	}
	return p, nil
}

// Pin keeps what is on disk of refs, and what comes there, out of eviction's reach. It is
// remembered over restarts. What is not on disk it does not fetch: Fill does.
func (c *Cache) Pin(refs ...backend.Ref) error {
	if c.disk == nil {
		return errDisabled
	}
	return c.disk.setPins(refs, true)
}

// Unpin ends what Pin began.
func (c *Cache) Unpin(refs ...backend.Ref) error {
	if c.disk == nil {
		return nil
	}
	return c.disk.setPins(refs, false)
}

func (d *disk) setPins(refs []backend.Ref, pin bool) error {
	d.journal.io.Lock() // one at a time
	defer d.journal.io.Unlock()
	d.mu.Lock()
	changed := false
	for _, r := range refs {
		ref := refHash(r)
		if d.pins.refs[ref] == pin {
			continue
		}
		changed = true
		if pin {
			d.pins.refs[ref] = true
		} else {
			delete(d.pins.refs, ref)
		}
		d.keepNewestLocked(ref)
	}
	b := d.pins.text()
	d.mu.Unlock()
	if !changed {
		return nil
	}
	return d.pins.write(b)
}

// keepNewestLocked brings the versions of a name in line with whether it is pinned: older ones
// than the newest are of no more use.
func (d *disk) keepNewestLocked(ref uint64) {
	var newest *version
	for _, v := range d.byRef[ref] {
		if newest == nil || v.gen > newest.gen {
			newest = v
		}
	}
	for _, v := range d.byRef[ref] {
		d.keepLocked(v, v == newest && d.pins.refs[ref])
	}
}

// keepLocked takes v from eviction, or gives it back.
func (d *disk) keepLocked(v *version, keep bool) {
	if v.kept == keep {
		return
	}
	if keep {
		d.pinLocked(v)
		v.kept = true
		return
	}
	v.kept = false
	d.unpinLocked(v)
}

func (p *pins) text() []byte {
	var b []byte
	for _, ref := range slices.Sorted(maps.Keys(p.refs)) {
		b = fmt.Appendf(b, "%016x\n", ref)
	}
	return b
}

// write replaces the file.
func (p *pins) write(b []byte) error {
	next := p.path + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return fmt.Errorf("remember pins: %w", err)
	}
	return os.Rename(next, p.path)
}

// Clear drops everything but what is pinned. Readers that need it again fetch it again.
func (c *Cache) Clear() {
	c.memory.shrink()
	if c.disk == nil {
		return
	}
	d := c.disk
	d.mu.Lock()
	all := slices.DeleteFunc(slices.Collect(maps.Values(d.versions)), func(v *version) bool { return v.kept })
	d.mu.Unlock()
	for _, v := range all {
		d.remove(v)
	}
	d.flush()
}

// SetCapacity changes how many bytes may be on disk, and evicts what is beyond.
func (c *Cache) SetCapacity(bytes int64) error {
	if c.disk == nil || bytes <= 0 {
		return errDisabled
	}
	d := c.disk
	d.mu.Lock()
	d.capacity, d.policy.capacity = bytes, bytes
	d.mu.Unlock()
	d.log.Info("cache size set", slog.Int64("n", bytes))
	if !d.reserve(0) {
		return errNoRoom
	}
	d.flush()
	return nil
}

// Held tells how many bytes of the version obj of ref are on disk, and whether it is pinned.
func (c *Cache) Held(ref backend.Ref, obj backend.Object) (bytes int64, pinned bool) {
	if c.disk == nil {
		return 0, false
	}
	d := c.disk
	s := sourceOf(ref, obj)
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.versions[s.id]
	if v == nil {
		return 0, d.pins.refs[s.ref]
	}
	return min(v.valid*granuleSize, v.size), v.kept
}

// pinned is what pins keep, in bytes.
func (d *disk) pinnedBytes() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.versions {
		if v.kept {
			n += v.alloc
		}
	}
	return n
}
