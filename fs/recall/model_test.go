package recall

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
)

// An auditor is the store's bookkeeper: it counts what restores find when they arrive.
type auditor struct {
	backendtest.Full
	mu    sync.Mutex
	found map[backend.State]int
}

func (s *auditor) Restore(ctx context.Context, key string, o backend.RestoreOptions) error {
	obj, err := s.Head(ctx, key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.found[obj.State]++
	s.mu.Unlock()
	return s.Full.Restore(ctx, key, o)
}

func (s *auditor) count(state backend.State) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found[state]
}

// A story is a random sequence of what users, other mounts, the network and time do.
type story struct {
	*world
	raw      backendtest.Full // the store behind the auditor, for what others do
	audit    *auditor
	rnd      *rand.Rand
	faults   bool            // some were injected
	touched  map[string]bool // keys that others have changed: seen when a copy ends or is opened
	released map[string]func()
	size     int // of the last object; all differ, and so do their ETags
	log      []string
}

// TestRandomStories needs nothing but -run and -seed to tell a story again.
func TestRandomStories(t *testing.T) {
	first, n := uint64(time.Now().UnixNano()), 20
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range uint64(n) {
		t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tell(t, first+i) })
		})
	}
}

var seed = flag.Uint64("seed", 0, "of the one random story to tell again")

func tell(t *testing.T, seed uint64) {
	w := newWorld(t, restoreTime, func(o *Options) { o.DayObjects = 15 })
	s := &story{world: w, rnd: rand.New(rand.NewPCG(seed, 0)), touched: map[string]bool{}, released: map[string]func(){}}
	must(t, w.Close())
	inner, err := w.o.Open(t.Context(), bucket)
	must(t, err)
	s.raw = w.store
	s.audit = &auditor{Full: inner.(backendtest.Full), found: map[backend.State]int{}}
	outer := backendtest.NewFaulty(s.audit)
	w.store = outer
	w.o.Open = func(context.Context, string) (backend.Store, error) { return outer, nil }
	w.start()
	defer func() {
		must(t, w.Close())
		if t.Failed() {
			for _, line := range s.log {
				t.Log(line)
			}
		}
	}()
	for range 60 {
		s.step()
		synctest.Wait()
		s.check()
	}
	s.rest()
}

func (s *story) say(format string, args ...any) {
	s.log = append(s.log, time.Now().Format("02 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (s *story) nextSize() int { s.size++; return s.size }

func (s *story) step() {
	key := fmt.Sprint("k", s.rnd.IntN(4))
	ref := backend.Ref{Bucket: bucket, Key: key}
	obj, err := s.raw.Head(s.t.Context(), key)
	if err != nil && s.rnd.IntN(4) > 0 {
		_, obj = s.archive(key, s.nextSize())
		s.say("archive %s", key)
	}
	switch s.rnd.IntN(14) {
	case 0, 1, 2, 3:
		s.openOne(ref, obj)
	case 4, 5:
		e := Explicit{Days: s.rnd.IntN(6), OverBudget: s.rnd.IntN(3) == 0}
		_, err := s.Request(s.t.Context(), ref, obj, e)
		s.say("request %s %+v: %v", key, e, err)
	case 6:
		s.touched[key] = true
		err := s.raw.Restore(s.t.Context(), key, backend.RestoreOptions{Keep: time.Duration(1+s.rnd.IntN(4)) * day})
		s.say("somebody else restores %s: %v", key, err)
	case 7:
		s.touched[key] = true
		class := []string{"GLACIER", "STANDARD", deepArchive}[s.rnd.IntN(3)]
		s.put(key, class, s.nextSize())
		s.say("replace %s by one of class %s", key, class)
	case 8:
		s.touched[key] = true
		must(s.t, s.raw.Delete(s.t.Context(), key))
		s.say("delete %s", key)
	case 9:
		s.restart()
		s.say("restart")
	case 10:
		s.hold(ref, obj)
	case 11:
		f := backendtest.Fault{Op: []backendtest.Op{backendtest.OpRestore, backendtest.OpHead}[s.rnd.IntN(2)], Skip: s.rnd.IntN(2), Late: s.rnd.IntN(2) == 0, Times: 1 + s.rnd.IntN(3)}
		s.store.Inject(f)
		s.faults = true
		s.say("fault %+v", f)
	default:
		d := []time.Duration{time.Second, time.Minute, time.Hour, 5 * time.Hour, 30 * time.Hour}[s.rnd.IntN(5)]
		s.say("sleep %v", d)
		pass(d)
	}
}

func (s *story) openOne(ref backend.Ref, obj backend.Object) {
	if obj.State.Readable() {
		return // as the file system does
	}
	by := Caller{UID: 1, Exe: fmt.Sprint("prog", s.rnd.IntN(2)), NonBlock: s.rnd.IntN(5) == 0}
	err := s.Open(s.t.Context(), ref, obj, by)
	s.say("open %s by %+v: %v", ref.Key, by, err)
	now, headErr := s.raw.Head(s.t.Context(), ref.Key)
	if err == nil && (headErr != nil || !now.State.Readable()) {
		s.t.Errorf("open %s succeeded, it is %v", ref.Key, now.State)
	}
	known := []error{backend.ErrArchived, ErrRefused, ErrFailed, backend.ErrNotExist, backend.ErrUnavailable, nil}
	for _, k := range known {
		if errors.Is(err, k) {
			return
		}
	}
	s.t.Errorf("open %s: %v is no error of Open", ref.Key, err)
}

func (s *story) hold(ref backend.Ref, obj backend.Object) {
	if release := s.released[ref.Key]; release != nil {
		release()
		delete(s.released, ref.Key)
		s.say("release %s", ref.Key)
		return
	}
	s.released[ref.Key] = s.Hold(ref, obj)
	s.say("hold %s, %v", ref.Key, obj.State)
}

// check holds after every step.
func (s *story) check() {
	if n := s.audit.count(backend.Restoring); n > 0 {
		s.t.Fatalf("%d restores were sent for what was on its way", n)
	}
	spentObjects := 0
	s.Manager.mu.Lock()
	for _, d := range s.guards.budget.days {
		spentObjects += d.Objects
	}
	recs := map[backend.Ref]record{}
	for ref, j := range s.jobs {
		if j.busy || j.gone || j.ref != ref || j.waiters != 0 {
			s.t.Errorf("nothing happens, and job is %+v", j)
		}
		if !j.rec.Foreign {
			recs[ref] = j.rec
		}
	}
	s.Manager.mu.Unlock()
	paid := s.audit.count(backend.Archived)
	if spentObjects < paid || !s.faults && spentObjects != paid {
		s.t.Fatalf("%d restores were paid for, the budget says %d", paid, spentObjects)
	}
	must(s.t, s.journal.commit())
	kept := map[backend.Ref]record{}
	must(s.t, s.journal.load(func(ref backend.Ref, r record) { kept[ref] = r }, func(string, spent) {}))
	if !reflect.DeepEqual(plain(s.t, recs), plain(s.t, kept)) {
		s.t.Fatalf("the journal has\n%+v\nwant\n%+v", plain(s.t, kept), plain(s.t, recs))
	}
}

// plain makes records comparable.
func plain(t *testing.T, recs map[backend.Ref]record) map[string]string {
	m := map[string]string{}
	for ref, r := range recs {
		text, err := json.Marshal(r)
		must(t, err)
		m[ref.Key] = string(text)
	}
	return m
}

// rest ends a story: when nothing fails any more, everything that was begun is done, and
// what is told of the objects is true.
func (s *story) rest() {
	s.store.Heal()
	pass(restoreTime + 2*time.Hour)
	s.check()
	for _, j := range s.Jobs() {
		obj, err := s.raw.Head(s.t.Context(), j.Ref.Key)
		switch {
		case j.Phase == Failed, j.Phase == Restored && s.touched[j.Ref.Key]:
		case j.Phase != Restored:
			s.t.Errorf("after hours of rest a job is %+v", j)
		case err != nil || obj.State != backend.Restored || !obj.Until.Equal(j.Until):
			s.t.Errorf("job is %+v, the object %v until %v, %v", j, obj.State, obj.Until, err)
		}
	}
	for _, release := range s.released {
		release()
	}
	pass(10 * day)
	if jobs := s.Jobs(); len(jobs) != 0 {
		s.t.Errorf("after ten days there are jobs: %+v", jobs)
	}
}
