package writeback

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

// A modelFile is what a file must be, as its users see it.
type modelFile struct {
	data string
	attr string
}

// A modelOpen is a file that somebody writes.
type modelOpen struct {
	f    *File
	key  string // "" once unlinked or replaced
	data string // as it is now
	sure bool   // committed since the last write
}

// machine drives a queue by random operations and compares it with a map. It stands in a
// bubble: hours of back-off pass at once.
type machine struct {
	t     *rapid.T
	w     *queueTest
	shelf *shelf
	dir   string
	files map[string]modelFile
	open  []*modelOpen
	n     int
	rnd   *rand.Rand
	down  bool // no request succeeds
	wild  bool // some fail
	bare  bool
}

func TestModel(t *testing.T) {
	if testing.Short() { // the same stories each time; long runs look for new ones
		for name, value := range map[string]string{"rapid.seed": "7", "rapid.nofailfile": "true"} {
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		powers := rapid.SampledFrom([]string{"all", "all", "all", "no conditions", "none"}).Draw(rt, "powers")
		steps := rapid.SliceOfN(rapid.IntRange(0, 999), 1, 60).Draw(rt, "steps")
		failed := false
		synctest.Test(t, func(t *testing.T) {
			m := &machine{
				t: rt, shelf: newShelf(), dir: t.TempDir(), files: map[string]modelFile{},
				rnd: rand.New(rand.NewPCG(seed, 0)),
			}
			m.shelf.plain, m.bare = powers == "no conditions", powers == "none"
			m.start(t)
			defer func() {
				if r := recover(); r != nil {
					failed = true
					m.w.crash()
					t.Logf("seed %d, steps %v: %v\n%s", seed, steps, r, debug.Stack())
				}
			}()
			for _, s := range steps {
				m.step(t, s)
			}
			m.finish()
		})
		if failed {
			rt.FailNow()
		}
	})
}

func (m *machine) start(t *testing.T) {
	m.w = openIn(t, m.dir, m.shelf, quiet, func(o *Options) {
		if m.bare {
			o.Open = func(context.Context, string) (backend.Store, error) { return bare{m.shelf}, nil }
		}
	})
	m.w.Start()
}

// fail ends the run; it must not leave the bubble.
func (m *machine) fail(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (m *machine) ok(err error) {
	if err != nil {
		m.fail("%v", err)
	}
}

func (m *machine) key() string { return fmt.Sprintf("d%d/k%d", m.rnd.IntN(3), m.rnd.IntN(4)) }

func (m *machine) some() (string, bool) {
	if len(m.files) == 0 {
		return "", false
	}
	keys := slices.Sorted(maps.Keys(m.files))
	return keys[m.rnd.IntN(len(keys))], true
}

// seen is the object that a caller would see.
func (m *machine) seen(key string) backend.Object {
	if p, ok := m.w.Find(ref(key)); ok {
		return p.Object
	}
	m.shelf.mu.Lock()
	defer m.shelf.mu.Unlock()
	return m.shelf.objects[key].Object
}

func (m *machine) step(t *testing.T, s int) {
	m.n++
	switch n := s % 20; {
	case n < 4:
		m.openFile()
	case n < 8:
		m.writeSome()
	case n < 11:
		m.commit()
	case n < 12:
		m.put()
	case n < 13:
		m.setAttrs()
	case n < 14:
		m.remove()
	case n < 15:
		m.rename()
	case n < 16:
		m.renameTree()
	case n < 17:
		time.Sleep(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
	case n < 18:
		m.weather()
	case n < 19:
		m.syncOne()
	default:
		m.crash(t)
	}
	m.compare()
}

func (m *machine) text() string {
	n := m.rnd.IntN(100)
	if m.rnd.IntN(3) == 0 {
		n = m.rnd.IntN(700)
	}
	return text(byte(m.n), n)
}

func (m *machine) attr() string { return fmt.Sprint(m.n) }

func (m *machine) openFile() {
	if len(m.open) > 4 {
		return
	}
	key := m.key()
	old, exists := m.files[key]
	o := OpenOptions{Base: m.seen(key), Truncate: !exists || m.rnd.IntN(2) == 0, Attrs: attrsOf("open")}
	if !o.Truncate {
		o.ReadBase = m.w.storeReader("b", o.Base)
	}
	f, err := m.w.OpenFile(ref(key), o)
	m.ok(err)
	mo := &modelOpen{f: f, key: key, data: old.data, sure: true}
	for _, other := range m.open {
		if other.key == key {
			mo.data, mo.sure = other.data, other.sure // shared
		}
	}
	if o.Truncate {
		mo.data, mo.sure = "", false
	}
	m.open = append(m.open, mo)
	m.share(mo)
	if !exists { // as a file system would: the name is there at once
		m.commitFile(mo)
	}
}

// share gives all who have the same file open its content.
func (m *machine) share(mo *modelOpen) {
	for _, other := range m.open {
		if other.f == mo.f {
			other.data, other.sure = mo.data, mo.sure
		}
	}
}

func (m *machine) writeSome() {
	if len(m.open) == 0 {
		return
	}
	mo := m.open[m.rnd.IntN(len(m.open))]
	if m.rnd.IntN(4) == 0 {
		size := m.rnd.IntN(600)
		m.ok(mo.f.Truncate(context.Background(), int64(size)))
		mo.data = (mo.data + strings.Repeat("\x00", size))[:size]
	} else {
		data := m.text()
		off := m.rnd.IntN(len(mo.data) + 40)
		_, err := mo.f.WriteAt([]byte(data), int64(off))
		m.ok(err)
		if len(data) > 0 {
			grown := []byte(mo.data + strings.Repeat("\x00", max(0, off+len(data)-len(mo.data))))
			copy(grown[off:], data)
			mo.data = string(grown)
		}
	}
	mo.sure = false
	m.share(mo)
}

func (m *machine) commitFile(mo *modelOpen) {
	m.ok(mo.f.Commit(attrsOf(m.attr())))
	mo.sure = true
	m.share(mo)
	if mo.key != "" {
		m.files[mo.key] = modelFile{mo.data, m.attr()}
	}
}

func (m *machine) commit() {
	if len(m.open) == 0 {
		return
	}
	i := m.rnd.IntN(len(m.open))
	mo := m.open[i]
	m.commitFile(mo)
	if m.rnd.IntN(3) > 0 {
		m.ok(mo.f.Close())
		m.open = slices.Delete(m.open, i, i+1)
	}
}

// unname takes the name of key from who has it open.
func (m *machine) unname(key, to string) {
	for _, mo := range m.open {
		if mo.key == key {
			mo.key = to
		}
	}
}

func (m *machine) put() {
	key, data := m.key(), text(byte(m.n), m.rnd.IntN(40))
	m.ok(m.w.Put(ref(key), []byte(data), attrsOf(m.attr()), m.seen(key)))
	m.unname(key, "")
	m.files[key] = modelFile{data, m.attr()}
}

func (m *machine) setAttrs() {
	if key, ok := m.some(); ok {
		m.ok(m.w.SetAttrs(ref(key), m.seen(key), attrsOf(m.attr())))
		m.files[key] = modelFile{m.files[key].data, m.attr()}
	}
}

func (m *machine) remove() {
	if key, ok := m.some(); ok {
		m.ok(m.w.Delete(ref(key), m.seen(key)))
		delete(m.files, key)
		m.unname(key, "")
	}
}

func (m *machine) rename() {
	from, ok := m.some()
	to := m.key()
	if !ok || m.down || to == from {
		return
	}
	if m.stormy(m.w.Rename(context.Background(), ref(from), ref(to), m.seen(from))) {
		return
	}
	m.unname(to, "")
	m.unname(from, to)
	m.files[to] = m.files[from]
	delete(m.files, from)
}

func (m *machine) renameTree() {
	from, to := fmt.Sprintf("d%d/", m.rnd.IntN(3)), fmt.Sprintf("d%d/", m.rnd.IntN(3))
	if from == to || m.down {
		return
	}
	for key := range m.files {
		if strings.HasPrefix(key, to) {
			return
		}
	}
	if m.stormy(m.w.RenameTree(context.Background(), "b", from, to)) {
		return
	}
	for key, f := range maps.Clone(m.files) {
		if rest, ok := strings.CutPrefix(key, from); ok {
			delete(m.files, key)
			m.files[to+rest] = f
			m.unname(key, to+rest)
		}
	}
}

// stormy reports whether a rename gave up because requests failed again and again. Nothing
// has changed then.
func (m *machine) stormy(err error) bool {
	if errors.Is(err, backend.ErrUnavailable) && m.wild {
		return true
	}
	m.ok(err)
	return false
}

// weather changes how reliable the store is.
func (m *machine) weather() {
	m.down, m.wild = false, false
	switch m.rnd.IntN(4) {
	case 0:
		m.down = true
		m.shelf.setFail(func(string, string, bool) error { return backend.ErrUnavailable })
	case 1, 2:
		m.wild = true
		rnd := rand.New(rand.NewPCG(m.rnd.Uint64(), 0))
		m.shelf.setFail(oneByOne(func(_, _ string, done bool) error {
			if rnd.IntN(5) == 0 {
				return backend.ErrUnavailable
			}
			return nil
		}))
	default:
		m.shelf.setFail(nil)
	}
	m.shelf.mu.Lock()
	m.shelf.delay = time.Duration(m.rnd.IntN(3)) * 100 * time.Millisecond
	m.shelf.mu.Unlock()
}

func (m *machine) syncOne() {
	if len(m.open) == 0 || m.down {
		return
	}
	mo := m.open[m.rnd.IntN(len(m.open))]
	m.commitFile(mo)
	m.ok(mo.f.Sync(context.Background()))
	if mo.key == "" {
		return
	}
	if got, ok := m.shelf.content(mo.key); !ok || got != mo.data {
		m.fail("after Sync the store holds %q = %.40q (%v), want %.40q", mo.key, got, ok, mo.data)
	}
}

// crash kills the process. Files that were being written without a Commit may have their
// newer content: what was written to a file that is pending is not taken back.
func (m *machine) crash(t *testing.T) {
	for _, mo := range m.open {
		if !mo.sure {
			m.commitFile(mo)
		}
	}
	m.w.crash()
	m.open = nil
	m.start(t)
}

// compare looks at every name through the queue, with the store behind it.
func (m *machine) compare() {
	synctest.Wait()
	want := maps.Clone(m.files)
	for _, mo := range m.open {
		if mo.key != "" {
			f := want[mo.key]
			f.data = mo.data
			want[mo.key] = f
		}
	}
	got := map[string]bool{}
	for p := range m.w.List("b", "", "") {
		if !p.Gone {
			got[p.Ref.Key] = true
			m.compareFile(p, want)
		} else if _, ok := want[p.Ref.Key]; ok {
			m.fail("%q is gone, want it", p.Ref.Key)
		}
	}
	m.shelf.mu.Lock()
	objects := maps.Clone(m.shelf.objects)
	m.shelf.mu.Unlock()
	for key, h := range objects {
		if _, pending := m.w.Find(ref(key)); pending {
			continue
		}
		got[key] = true
		if f, ok := want[key]; !ok || string(h.data) != f.data {
			m.fail("the store holds %q = %.40q, want %.40q, %v", key, h.data, f.data, ok)
		}
	}
	for key := range want {
		if !got[key] {
			m.fail("%q is missing", key)
		}
	}
}

func (m *machine) compareFile(p Pending, want map[string]modelFile) {
	f, ok := want[p.Ref.Key]
	if !ok {
		m.fail("%q is pending, want nothing", p.Ref.Key)
	}
	if p.Object.Size != int64(len(f.data)) {
		m.fail("%q has %d bytes, want %d", p.Ref.Key, p.Object.Size, len(f.data))
	}
	if p.File == nil || m.down {
		return
	}
	// Reading takes time, in which the file may be sent and handed over: only Reader holds it.
	file, ok, err := m.w.Reader(p.Ref)
	m.ok(err)
	if !ok {
		return
	}
	defer func() { m.ok(file.Close()) }()
	buf := make([]byte, len(f.data)+1)
	n, err := file.ReadAt(context.Background(), buf, 0)
	if errors.Is(err, backend.ErrUnavailable) {
		return
	}
	m.ok(err)
	if string(buf[:n]) != f.data {
		m.fail("%q reads %.40q, want %.40q", p.Ref.Key, buf[:n], f.data)
	}
}

// finish drains and compares the store with the model.
func (m *machine) finish() {
	for _, mo := range m.open {
		m.commitFile(mo)
		m.ok(mo.f.Close())
	}
	m.shelf.setFail(nil)
	m.ok(m.w.Drain(context.Background()))
	time.Sleep(time.Minute) // files that were open when they were sent are looked at again
	synctest.Wait()
	for key, f := range m.files {
		h := m.shelf.all()[key]
		if string(h.data) != f.data || h.Meta["mtime"] != f.attr {
			m.fail("in the end %q = %.40q, %v, want %.40q, %s", key, h.data, h.Meta, f.data, f.attr)
		}
	}
	if len(m.shelf.all()) != len(m.files) {
		m.fail("in the end the store holds %v, want %v", slices.Sorted(maps.Keys(m.shelf.all())), slices.Sorted(maps.Keys(m.files)))
	}
	if n := m.shelf.orphans(); n > 0 {
		m.fail("%d uploads are left", n)
	}
	m.w.Queue.mu.Lock()
	if len(m.w.entries)+len(m.w.files)+len(m.w.held)+len(m.w.moves)+len(m.w.writers)+len(m.w.Queue.uploads) > 0 || m.w.staged != 0 || m.w.running != 0 {
		m.w.Queue.mu.Unlock()
		m.fail("left over: %d files, %d writers, %d bytes%s", len(m.w.files), len(m.w.writers), m.w.staged, m.w.dump())
	}
	m.w.Queue.mu.Unlock()
	m.ok(m.w.Close(context.Background()))
	if m.w.lost() > 0 {
		m.fail("%d files in lost+found", m.w.lost())
	}
}
