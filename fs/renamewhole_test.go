package fs

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// TestRenamedTreeIsWholeAtAnyMoment renames a directory to and fro while others walk through
// it: by path, where ENOENT says that it has gone from there, and from a descriptor, which
// goes along.
func TestRenamedTreeIsWholeAtAnyMoment(t *testing.T) {
	m := mount(t)
	const files = 200
	for i := range files {
		m.put(fmt.Sprintf("a/d%d/f%d", i%10, i), "x", backend.Attrs{})
	}
	held, err := unix.Open(m.path("a"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(held) }() // only read
	var over atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer over.Store(true)
		var err error
		for i := 0; i < 6 && err == nil; i++ {
			names := []string{m.path("a"), m.path("b")}
			if i%2 == 1 {
				slices.Reverse(names)
			}
			err = os.Rename(names[0], names[1])
		}
		done <- err
	}()
	for !over.Load() {
		for _, name := range []string{"a", "b"} {
			if n, err := countBelow(m.path(name)); err == nil && n != files {
				t.Errorf("%d files below %s", n, name)
			} else if err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
		if n, err := countBelow(fmt.Sprintf("/proc/self/fd/%d/.", held)); n != files || err != nil {
			t.Errorf("%d files below the descriptor, %v", n, err)
		}
	}
	must(t, <-done)
}

func countBelow(dir string) (n int, err error) {
	subs, err := os.ReadDir(dir)
	for _, sub := range subs {
		var files []os.DirEntry
		if files, err = os.ReadDir(dir + "/" + sub.Name()); err != nil {
			break
		}
		n += len(files)
	}
	return n, err
}
