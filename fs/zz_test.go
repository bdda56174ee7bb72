package fs

import (
	"fmt"
	"os"
	"testing"

	"github.com/thawfs/thawfs/backend"
)

func zcount(dir string) (n int, log string) {
	subs, err := os.ReadDir(dir)
	if err != nil {
		return -1, err.Error()
	}
	for _, sub := range subs {
		files, err := os.ReadDir(dir + "/" + sub.Name())
		if err != nil {
			log += fmt.Sprint(sub.Name(), err, " ")
		}
		log += fmt.Sprint(sub.Name(), ":", len(files), " ")
		n += len(files)
	}
	return n, log
}

func TestZZ(t *testing.T) {
	m := mount(t)
	for i := range 300 {
		m.put(fmt.Sprintf("a/d%d/f%d", i%10, i), "x", backend.Attrs{})
	}
	done := make(chan error, 1)
	go func() {
		for range 20 {
			if err := os.Rename(m.path("a"), m.path("b")); err != nil {
				done <- err
				return
			}
			if err := os.Rename(m.path("b"), m.path("a")); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			must(t, err)
			return
		default:
		}
		for _, d := range []string{"a", "b"} {
			if n, log := zcount(m.path(d)); n > 0 && n != 300 || n == 0 {
				t.Logf("%s: %d: %s", d, n, log)
			}
		}
	}
}
