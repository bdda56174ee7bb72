package blocks

import (
	"fmt"
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

// keep puts an object on the disk.
func (b *bench) keep(key string, n int) backend.Object {
	b.t.Helper()
	obj, _ := b.put(key, n)
	f, err := b.cache.Fill(b.ctx, b.store, ref(key), obj)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.t.Fatal(err)
	}
	return obj
}

func (b *bench) mustHold(key string, obj backend.Object, bytes int64, pinned bool) {
	b.t.Helper()
	if n, p := b.cache.Held(ref(key), obj); n != bytes || p != pinned {
		b.t.Errorf("Held(%q) = %d, %t, want %d, %t", key, n, p, bytes, pinned)
	}
	b.settle() // the disk writer may hold what it has just written
	if err := b.cache.invariants(); err != nil {
		b.t.Error(err)
	}
}

func TestPinnedStaysWhateverElseIsRead(t *testing.T) {
	b := newBench(t, Options{Capacity: 16 << 20})
	const size = 3 << 20
	obj := b.keep("pinned", size)
	if err := b.cache.Pin(ref("pinned")); err != nil {
		t.Fatal(err)
	}
	crowd := func() {
		t.Helper()
		for i := range 8 {
			b.keep(fmt.Sprintf("other %d", i), 4<<20)
		}
		if b.cache.Stats().Evictions == 0 {
			t.Fatal("nothing was evicted: the test proves nothing")
		}
		b.mustHold("pinned", obj, size, true)
	}
	crowd()
	b.reopen()
	crowd()
	if st := b.cache.Stats(); st.Pinned < size || st.Pinned > size+1<<20 {
		t.Errorf("Stats().Pinned = %d, want about %d", st.Pinned, size)
	}
	b.cache.Clear()
	b.mustHold("pinned", obj, size, true)
	if err := b.cache.Unpin(ref("pinned")); err != nil {
		t.Fatal(err)
	}
	b.mustHold("pinned", obj, size, false)
	b.cache.Clear()
	b.mustHold("pinned", obj, 0, false)
	b.reopen()
	b.mustHold("pinned", obj, 0, false)
}

func TestPinFollowsTheNewestVersion(t *testing.T) {
	b := newBench(t, Options{})
	if err := b.cache.Pin(ref("key")); err != nil {
		t.Fatal(err)
	}
	old := b.keep("key", 1<<20)
	b.mustHold("key", old, 1<<20, true)
	obj := b.keep("key", 2<<20)
	b.mustHold("key", old, 1<<20, false)
	b.mustHold("key", obj, 2<<20, true)
	b.reopen()
	b.mustHold("key", obj, 2<<20, true)
	b.cache.Forget(ref("key"))
	b.mustHold("key", obj, 0, true) // the name is; what comes back is kept again
}

func TestPinsDoNotGoBeyondTheCapacity(t *testing.T) {
	b := newBench(t, Options{Capacity: 16 << 20})
	obj := b.keep("a", 10<<20)
	if err := b.cache.Pin(ref("a"), ref("b")); err != nil {
		t.Fatal(err)
	}
	big, _ := b.put("b", 10<<20)
	if f, err := b.cache.Fill(b.ctx, b.store, ref("b"), big); err == nil {
		_ = f.Close()
		t.Error("Fill beyond what pins leave: no error")
	}
	b.mustHold("a", obj, 10<<20, true)
}

func TestCapacityCanBeChanged(t *testing.T) {
	b := newBench(t, Options{Capacity: 64 << 20})
	for i := range 8 {
		b.keep(fmt.Sprint(i), 4<<20)
	}
	if err := b.cache.SetCapacity(16 << 20); err != nil {
		t.Fatal(err)
	}
	if st := b.cache.Stats(); st.Capacity != 16<<20 || st.Bytes > 17<<20 {
		t.Errorf("after SetCapacity(16 MiB): %d bytes of %d", st.Bytes, st.Capacity)
	}
	if err := b.cache.SetCapacity(64 << 20); err != nil {
		t.Fatal(err)
	}
	b.store.ResetCounts()
	obj := b.keep("new", 30<<20)
	b.mustHold("new", obj, 30<<20, false)
	if n := b.store.Count(backendtest.OpGet); n == 0 {
		t.Error("nothing was fetched")
	}
}
