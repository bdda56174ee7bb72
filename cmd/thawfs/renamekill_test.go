package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestKilledRenameOfATreeIsNeverHalfDone renames a directory of many stored files and kills the
// daemon somewhere on the way. Whoever lists sees all files under one of the two names: those
// who look while it goes on, and the next mount, which takes it up again.
func TestKilledRenameOfATreeIsNeverHalfDone(t *testing.T) {
	const files, open = 1000, 5
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	mnt := w.mount("local:store", "mnt", "--ttl", "1s")
	for i := range files {
		mustWrite(t, fmt.Sprintf("%s/bucket/a/d%d/f%d", mnt, i%10, i), fmt.Sprint(i))
	}
	w.must("umount", mnt)
	w.must("mount", "--ttl", "1s", "local:store", mnt)
	from, to := mnt+"/bucket/a", mnt+"/bucket/b"
	var held []*os.File
	for i := range open {
		f, err := os.Open(fmt.Sprintf("%s/d%d/f%d", from, i, i))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }() // of a mount that is dead
		held = append(held, f)
	}
	result := make(chan error, 1)
	go func() { result <- os.Rename(from, to) }()
	look := time.NewTimer(time.Duration(rnd.IntN(1500)) * time.Millisecond)
	for waiting := true; waiting; {
		select {
		case <-look.C:
			waiting = false
		case err := <-result:
			if err != nil {
				t.Errorf("rename: %v", err)
			}
			for i, f := range held {
				b := make([]byte, 10)
				if n, _ := f.ReadAt(b, 0); string(b[:n]) != fmt.Sprint(i) {
					t.Errorf("the open file %d reads %q after the rename", i, b[:n])
				}
			}
			waiting = false
		default:
			wholeTree(t, files, from, to)
		}
	}
	crash(t, w, mnt)
	w.must("mount", "--ttl", "1s", "local:store", mnt)
	wholeTree(t, files, from, to)
	w.must("umount", mnt)
	w.must("mount", "local:store", mnt)
	where := wholeTree(t, files, from, to)
	for i := range files {
		if b, err := os.ReadFile(fmt.Sprintf("%s/d%d/f%d", where, i%10, i)); err != nil || string(b) != fmt.Sprint(i) {
			t.Fatalf("file %d is %q, %v", i, b, err)
		}
	}
	w.must("umount", mnt)
}

// wholeTree fails unless all files are below one of two names, and returns that.
func wholeTree(t *testing.T, files int, names ...string) string {
	t.Helper()
	var whole string
	for range 3 { // between two looks the rename may have happened
		var seen []string
		for _, name := range names {
			if n := countFiles(name); n == files {
				whole = name
			} else if n != 0 {
				seen = append(seen, fmt.Sprintf("%d below %s", n, name))
			}
		}
		if whole != "" && len(seen) == 0 {
			return whole
		}
		if len(seen) > 0 {
			t.Logf("looking again: %s", strings.Join(seen, ", "))
		}
	}
	t.Fatalf("the %d files are below neither of %q", files, names)
	return ""
}

func countFiles(dir string) (n int) {
	subs, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, sub := range subs {
		files, err := os.ReadDir(dir + "/" + sub.Name())
		if err == nil {
			n += len(files)
		}
	}
	return n
}
