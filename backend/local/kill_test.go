package local_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

func open(t *testing.T, dir string, o local.Options) (*local.Service, backend.Store) {
	t.Helper()
	s, err := local.New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateBucket(t.Context(), "bucket"); err != nil && !errors.Is(err, backend.ErrExist) {
		t.Fatal(err)
	}
	st, err := s.Open(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

// TestKilledProcessLosesNothing kills processes amid changes, some while another one goes
// on. What they were told is done must be there, whole, and what was half done must leave
// no trace.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	open(t, dir, local.Options{NoSync: true})
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		stays, dies := startChild(t, dir, fmt.Sprintf("stays%d", round)), startChild(t, dir, fmt.Sprintf("dies%d", round))
		var wg sync.WaitGroup
		wg.Go(func() { stays.follow(t, 400) })
		dies.follow(t, 100+rng.IntN(200))
		dies.kill(t)
		_, st := open(t, dir, local.Options{NoSync: true}) // collects beside a living process
		dies.verify(t, st)
		wg.Wait()
		stays.kill(t)
		_, st = open(t, dir, local.Options{NoSync: true})
		stays.verify(t, st)
		dies.verify(t, st)
		noGarbage(t, dir, st)
	}
}

// noGarbage fails if there is a blob that no object needs, or a dead session.
func noGarbage(t *testing.T, dir string, st backend.Store) {
	t.Helper()
	need := map[string]bool{}
	walk(t, filepath.Join(dir, "buckets", "bucket", "keys"), func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(b), `"blob":"`); ok {
			id, _, _ := strings.Cut(after, `"`)
			need[id] = true
		}
	})
	blobs := filepath.Join(dir, "buckets", "bucket", "blobs")
	groups, err := os.ReadDir(blobs)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		ids, err := os.ReadDir(filepath.Join(blobs, g.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if !need[id.Name()] {
				t.Errorf("blob %s is garbage", id.Name())
			}
			delete(need, id.Name())
		}
	}
	for id := range need {
		t.Errorf("blob %s is missing", id)
	}
	for e, err := range st.List(t.Context(), "", "", backend.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := get(st, e.Key); err != nil {
			t.Errorf("%s: %v", e.Key, err)
		}
	}
}

func walk(t *testing.T, root string, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			f(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestConditionsHoldAmongProcesses lets processes race: each raises a counter by
// conditional puts, and none of the raises may be lost.
func TestConditionsHoldAmongProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	_, st := open(t, dir, local.Options{NoSync: true})
	put(t, st, "counter", "0")
	var children []*exec.Cmd
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childName+"=counter")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, cmd)
	}
	for _, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if got, err := get(st, "counter"); got != fmt.Sprint(3*raises) || err != nil {
		t.Errorf("counter = %q, %v, want %d", got, err, 3*raises)
	}
}
