package blocks

import (
	"testing"

	"github.com/thawfs/thawfs/backend/backendtest"
)

func TestPrefetchBringsASmallObjectOnce(t *testing.T) {
	b := newBench(t, Options{})
	obj, data := b.put("key", 300_000)
	for range 3 {
		if !b.cache.Prefetch(b.store, ref("key"), obj) {
			t.Fatal("Prefetch of a small object = false")
		}
	}
	r := b.reader("key", obj)
	b.want(r, data, 0, len(data))
	r.Close()
	b.settle()
	if !b.cache.Prefetch(b.store, ref("key"), obj) {
		t.Error("Prefetch of what is on disk = false")
	}
	if n, m := b.store.Count(backendtest.OpGet), b.store.BytesRead(); n != 1 || m != int64(len(data)) {
		t.Errorf("an object fetched ahead and read took %d GETs of %d bytes, want 1 of %d", n, m, len(data))
	}
}

func TestPrefetchLeavesAlone(t *testing.T) {
	b := newBench(t, Options{Memory: leastMemory})
	large, _ := b.put("large", leastRange+1)
	empty, _ := b.put("empty", 0)
	for key, taken := range map[string]bool{"large": b.cache.Prefetch(b.store, ref("large"), large), "empty": b.cache.Prefetch(b.store, ref("empty"), empty)} {
		if taken {
			t.Errorf("Prefetch of the %s object = true", key)
		}
	}
	if n := b.store.Count(backendtest.OpGet); n != 0 {
		t.Errorf("%d GETs, want none", n)
	}
	// More than the memory holds: it does not wait, and readers still come through.
	hold := make(chan struct{})
	b.store.Inject(backendtest.Fault{Op: backendtest.OpGet, Hold: hold, Times: -1})
	refused := 0
	for i := range 2 * leastMemory / granuleSize {
		key := "k" + string(rune('a'+i))
		obj, _ := b.put(key, 1000)
		if !b.cache.Prefetch(b.store, ref(key), obj) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("Prefetch took more than the memory")
	}
	close(hold)
	obj, data := b.put("read", 1000)
	r := b.reader("read", obj)
	defer r.Close()
	b.want(r, data, 0, len(data))
}
