package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestRecipes runs the shell of RECIPES.md line by line, with mountpoints and stores of its own.
func TestRecipes(t *testing.T) {
	doc, err := os.ReadFile("RECIPES.md")
	if err != nil {
		t.Fatal(err)
	}
	recipes := regexp.MustCompile("(?s)\n## ([^\n]+)\n.*?```(sh|fstab)\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	if len(recipes) < 4 {
		t.Fatalf("found %d recipes", len(recipes))
	}
	for _, r := range recipes {
		t.Run(r[1], func(t *testing.T) {
			w := newWorld(t, "RESTIC_PASSWORD=x")
			store := w.path("store")
			createBucket(t, store, "backup")
			createBucket(t, store, "photos")
			w.config("[remotes.backup]\nsource = \"local:" + store + "#backup\"\n[remotes.photos]\nsource = \"local:" + store +
				"#photos\"\nstorage-class-rule = [\"*.raw=GLACIER\"]\n")
			mustWrite(t, w.path("home", "documents", "one.raw"), strings.Repeat("text", 10_000))
			mnt := w.mkdir("mnt")
			for _, name := range []string{"backup", "photos", "second"} {
				w.ends(w.mkdir("mnt", name))
			}
			script := strings.ReplaceAll(r[3], "/mnt/", mnt+"/")
			if r[2] == "fstab" {
				t.Setenv("HOME", w.path("home"))
				t.Setenv("XDG_CONFIG_HOME", "")
				f := strings.Fields(script)
				j, _, err := helperJob([]string{f[0], f[1], "-o", f[3]}, io.Discard)
				if err != nil || f[2] != "thawfs" || j.source.bucket != "photos" || !j.allowOther || j.cacheSize != 50e9 {
					t.Errorf("the line of fstab: %v, %+v", err, j)
				}
				return
			}
			bin := w.mkdir("bin")
			if err := os.WriteFile(bin+"/thawfs", []byte("#!/bin/sh\nexec "+shellQuote(self0(t))+" \"$@\"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-euc", script)
			cmd.Dir = w.dir
			cmd.Env = append(w.env, "PATH="+bin+":"+os.Getenv("PATH"))
			o := finish(t, cmd)
			if o.code != 0 {
				t.Fatalf("exit %d\n%s\n%s%s", o.code, o.stdout, o.stderr, w.logs())
			}
			for recipe, want := range map[string]string{"Cost control": "GLACIER", "Many machines on one bucket": "news\n"} {
				if r[1] == recipe && !strings.Contains(o.stdout, want) {
					t.Errorf("printed %q, want it to hold %q", o.stdout, want)
				}
			}
		})
	}
}

// self0 is the program under test.
func self0(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
