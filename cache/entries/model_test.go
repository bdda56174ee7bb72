package entries

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

// A model is a store that nobody else changes, with a Cache before it that is taught by
// answers which come late and in any order. Whatever the Cache then claims to know must be
// so, except of names whose change the Cache has not been told of yet.
type model struct {
	c       *Cache
	store   map[string]backend.Object
	version int
	told    []change     // confirmed by the store, the Cache not told
	answers []modelReply // given by the store, not handed in
}

// A modelReply is what the store said when it was asked; the key is that of a listing if dir.
type modelReply struct {
	key   string
	dir   bool
	s     Stamp
	obj   backend.Object
	found bool
	list  []backend.Entry
}

func modelKeys() []string {
	return []string{"a", "a/", "a/b", "a/b/c", "a/b/d", "a/b/", "a/e/f", "a/e/", "g", "g/", "g/h", "a//i"}
}

func modelDirs() []string { return []string{"", "a/", "a/b/", "a/e/", "g/", "a//"} }

func (m *model) change(t *rapid.T) {
	key := rapid.SampledFrom(modelKeys()).Draw(t, "key")
	if rapid.Bool().Draw(t, "remove") {
		delete(m.store, key)
		m.told = append(m.told, change{kind: changeRemove, ref: ref(key)})
		return
	}
	m.version++
	m.store[key] = object(key, fmt.Sprint("v", m.version))
	m.told = append(m.told, change{kind: changeSet, ref: ref(key), obj: m.store[key]})
}

func (m *model) tell(t *rapid.T) {
	if len(m.told) == 0 {
		return
	}
	ch := m.told[0]
	m.told = m.told[1:]
	if ch.kind == changeSet {
		m.c.Set(ch.ref, ch.obj)
	} else {
		m.c.Remove(ch.ref)
	}
}

func (m *model) ask(t *rapid.T) {
	r := modelReply{s: m.c.Stamp()}
	if r.dir = rapid.Bool().Draw(t, "dir"); r.dir {
		r.key = rapid.SampledFrom(modelDirs()).Draw(t, "level")
		r.list = m.list(r.key)
		if rapid.Bool().Draw(t, "bare") {
			for i := range r.list {
				r.list[i].Meta = nil
			}
		}
	} else {
		r.key = rapid.SampledFrom(modelKeys()).Draw(t, "key")
		r.obj, r.found = m.find(r.key)
	}
	m.answers = append(m.answers, r)
}

// survey asks for all levels and is answered at once.
func (m *model) survey(*rapid.T) {
	for _, level := range modelDirs() {
		m.c.LearnDir(ref(level), m.list(level), m.c.Stamp())
	}
}

func (m *model) answer(t *rapid.T) {
	if len(m.answers) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.answers)-1).Draw(t, "answer")
	r := m.answers[i]
	m.answers = slices.Delete(m.answers, i, i+1)
	switch {
	case r.dir:
		m.c.LearnDir(ref(r.key), r.list, r.s)
	case r.found:
		m.c.Learn(ref(r.key), r.obj, r.s)
	default:
		m.c.LearnAbsent(ref(r.key), r.s)
	}
}

// find is what there is of a key: of a directory without a marker the bare object.
func (m *model) find(key string) (backend.Object, bool) {
	if obj, ok := m.store[key]; ok {
		return obj, true
	}
	for k := range m.store {
		if strings.HasSuffix(key, "/") && strings.HasPrefix(k, key) {
			return backend.Object{Key: key}, true
		}
	}
	return backend.Object{}, false
}

func (m *model) drop(t *rapid.T) {
	if !rapid.Bool().Draw(t, "really") {
		return
	}
	if rapid.Bool().Draw(t, "dir") {
		m.c.DropDir(ref(rapid.SampledFrom(modelDirs()).Draw(t, "level")))
	} else {
		m.c.Drop(ref(rapid.SampledFrom(modelKeys()).Draw(t, "key")))
	}
}

func (m *model) list(level string) []backend.Entry {
	byKey := map[string]backend.Entry{}
	for key, obj := range m.store {
		if !strings.HasPrefix(key, level) {
			continue
		}
		if e, prefix := shown(level, key); prefix {
			byKey[e] = backend.Entry{Object: backend.Object{Key: e}, Prefix: true}
		} else {
			byKey[e] = backend.Entry{Object: obj}
		}
	}
	var list []backend.Entry
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		list = append(list, byKey[key])
	}
	return list
}

func (m *model) check(t *rapid.T) {
	m.c.invariants(t)
	untold := func(match func(key string) bool) bool {
		return slices.ContainsFunc(m.told, func(ch change) bool { return match(ch.ref.Key) })
	}
	for _, key := range modelKeys() {
		got, found, known := m.c.Get(ref(key))
		want, exists := m.find(key)
		if !known || untold(func(k string) bool { return k == key || strings.HasSuffix(key, "/") && strings.HasPrefix(k, key) }) {
			continue
		}
		if found != exists || got.ETag != want.ETag || found && !maps.Equal(got.Meta, want.Meta) {
			t.Fatalf("Get(%q) = %+v, %v; the store has %+v, %v", key, got, found, want, exists)
		}
	}
	for _, level := range modelDirs() {
		got, known := m.c.Dir(ref(level))
		if !known || untold(func(k string) bool { return strings.HasPrefix(k, level) }) {
			continue
		}
		same := func(a, b backend.Entry) bool { return a.Key == b.Key && a.Prefix == b.Prefix && a.ETag == b.ETag }
		if want := m.list(level); !slices.EqualFunc(got, want, same) {
			t.Fatalf("Dir(%q) = %v; the store has %v", level, got, want)
		}
	}
}

func TestTheCacheIsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := New(Options{Capacity: rapid.SampledFrom([]int{8, 20, 1000}).Draw(t, "capacity")})
		if err != nil {
			t.Fatal(err)
		}
		m := &model{c: c, store: map[string]backend.Object{}}
		// Drop makes ignorant, and so is seldom.
		steps := []func(*rapid.T){m.change, m.change, m.tell, m.tell, m.tell, m.ask, m.ask, m.ask, m.answer, m.answer, m.answer, m.answer, m.survey, m.drop}
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, len(steps)-1), 200, 300).Draw(t, "steps") {
			steps[step](t)
			m.check(t)
		}
	})
}

// Many callers at once, for the race detector; what the last change of each name left is true.
func TestConcurrentUse(t *testing.T) {
	c := newCache(t, Options{Capacity: 200, Path: t.TempDir() + "/attrs.db"})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 2000 {
				key := fmt.Sprintf("d%d/%d/%d", rnd.IntN(2), worker, rnd.IntN(30))
				s := c.Stamp()
				switch rnd.IntN(8) {
				case 0:
					c.Learn(ref(key), object(key, "v1"), s)
				case 1:
					c.LearnAbsent(ref(key), s)
				case 2, 3:
					c.Set(ref(key), object(key, "v2"))
				case 4:
					c.Remove(ref(key))
				case 5:
					c.LearnDir(ref(levelOf(key)), entries(key), s)
				case 6:
					c.Dir(ref(levelOf(key)))
					c.Complete(ref(key), listed(key, "v1"))
					c.Get(ref(key))
				case 7:
					if rnd.IntN(50) == 0 {
						c.DropDir(ref(levelOf(key)))
					}
					c.Drop(ref(key))
				}
			}
			last := fmt.Sprint("last", worker)
			c.Set(ref(last), object(last, "v3"))
			if obj, found, known := c.Get(ref(last)); known && (!found || obj.ETag != "v3") {
				t.Errorf("Get(%q) = %+v, %v", last, obj, found)
			}
		})
	}
	wg.Wait()
	c.invariants(t)
}
