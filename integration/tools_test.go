package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
	"github.com/thawfs/thawfs/integration/servers"
)

func isExist(err error) bool { return errors.Is(err, backend.ErrExist) }

// sourceTree is a tree of more than 10,000 real files, with symbolic links.
func sourceTree(t *testing.T) string {
	t.Helper()
	src := filepath.Join(goroot(t), "src")
	n := 0
	must(t, filepath.WalkDir(src, func(path string, d os.DirEntry, err error) error { n++; return err }))
	if n < 10_000 {
		t.Fatalf("%s has only %d files", src, n)
	}
	return src
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// smallTree makes a tree with what trees have: links, modes, odd names, empty things.
func smallTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a", "b c", "empty dir"), 0o755))
	for i, name := range []string{"plain.txt", "a/exe", "a/b c/ü ñ 漢字", "a/b c/-dash", "a/b c/quote'\"$", "a/#hash%41+&=?"} {
		must(t, os.WriteFile(filepath.Join(dir, name), noise(byte(i), 1000*i*i), []os.FileMode{0o644, 0o755, 0o600}[i%3]))
	}
	must(t, os.WriteFile(filepath.Join(dir, "a", "empty"), nil, 0o400))
	must(t, os.WriteFile(filepath.Join(dir, "a", "big"), noise(99, 40<<20), 0o644))
	must(t, os.Symlink("../plain.txt", filepath.Join(dir, "a", "link")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	when := time.Unix(1_500_000_000, 987_654_321)
	must(t, os.Chtimes(filepath.Join(dir, "a", "exe"), when, when))
	return dir
}

func TestCopyTree(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		src := sourceTree(t)
		run(t, "/", "cp", "-a", src, m.path("src"))
		m.remount()
		run(t, "/", "diff", "-r", "--no-dereference", src, m.path("src"))
		sameTree(t, src, m.path("src"))
		run(t, "/", "rm", "-rf", m.path("src"))
		m.remount()
		if left, err := os.ReadDir(m.dir); err != nil || len(left) != 0 {
			t.Errorf("after rm -rf: %v, %v", left, err)
		}
	})
}

func TestTar(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		src := smallTree(t)
		archive := m.path("tree.tar")
		run(t, src, "tar", "--format=posix", "-cf", archive, ".")
		must(t, os.Mkdir(m.path("out"), 0o755))
		m.remount()
		run(t, m.path("out"), "tar", "xpf", archive)
		m.remount()
		sameTree(t, src, m.path("out"))
		back := t.TempDir()
		run(t, back, "sh", "-c", fmt.Sprintf("tar --format=posix -cSf - -C %s . | tar xpf -", m.path("out")))
		sameTree(t, src, back)
	})
}

func TestRsyncTwice(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		src := smallTree(t)
		run(t, "/", "rsync", "-a", src+"/", m.path("copy")+"/")
		sameTree(t, src, m.path("copy"))
		again := func(when string) {
			if out := run(t, "/", "rsync", "-ai", src+"/", m.path("copy")+"/"); strings.TrimSpace(out) != "" {
				t.Errorf("the second rsync %s transferred:\n%s", when, out)
			}
		}
		again("at once")
		m.remount()
		again("after a remount")
		if out := run(t, "/", "rsync", "-aic", src+"/", m.path("copy")+"/"); strings.TrimSpace(out) != "" {
			t.Errorf("checksums differ:\n%s", out)
		}
		must(t, os.WriteFile(filepath.Join(src, "a", "big"), append(noise(99, 40<<20), "tail"...), 0o644))
		run(t, "/", "rsync", "-a", "--inplace", "--no-whole-file", src+"/", m.path("copy")+"/")
		m.remount()
		sameTree(t, src, m.path("copy"))
	})
}

func TestGit(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		origin := t.TempDir()
		run(t, origin, "sh", "-c", "git init -q . && cp -a "+filepath.Join(goroot(t), "src", "net")+" . && git add . && git commit -qm one")
		run(t, m.dir, "git", "clone", "-q", origin, "clone")
		clone := m.path("clone")
		run(t, clone, "sh", "-c", "echo two > two && git add two && git commit -qm two && git checkout -qb branch && git mv net/http moved && git commit -qam three")
		run(t, clone, "git", "gc", "-q")
		run(t, clone, "git", "fsck", "--full", "--strict")
		m.remount()
		run(t, clone, "git", "fsck", "--full", "--strict")
		if out := run(t, clone, "git", "status", "--porcelain"); out != "" {
			t.Errorf("after a remount git sees changes:\n%s", out)
		}
		run(t, clone, "git", "push", "-q", origin, "branch")
	})
}

func TestSqlite(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		for _, mode := range []string{"delete", "wal"} {
			db := m.path(mode + ".db")
			run(t, m.dir, "sqlite3", db, "pragma journal_mode="+mode+"; create table t(i integer primary key, s text);")
			for i := range 5 {
				run(t, m.dir, "sqlite3", db, fmt.Sprintf("begin; with recursive n(i) as (select %d union all select i+1 from n where i < %d) insert into t select i, hex(randomblob(200)) from n; commit;", i*1000, i*1000+999))
			}
			run(t, m.dir, "sqlite3", db, "delete from t where i % 7 = 0; vacuum;")
			m.remount()
			if out := run(t, m.dir, "sqlite3", db, "pragma integrity_check; select count(*) from t;"); out != "ok\n4285\n" {
				t.Errorf("%s: %q", mode, out)
			}
		}
	})
}

// TestEditorSave saves as vim does: write a new file, rename the old one away, rename the
// new one in, remove the backup.
func TestEditorSave(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		file := m.path("notes.txt")
		must(t, os.WriteFile(file, []byte("one\n"), 0o640))
		for i := range 20 {
			text := fmt.Appendf(nil, "version %d\n", i)
			must(t, os.Rename(file, file+"~"))
			f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
			must(t, err)
			_, err = f.Write(text)
			must(t, err)
			if i%3 == 0 {
				must(t, f.Sync())
			}
			must(t, f.Close())
			must(t, os.Chmod(file, 0o640))
			must(t, os.Remove(file+"~"))
			got, err := os.ReadFile(file)
			must(t, err)
			if string(got) != string(text) {
				t.Fatalf("after save %d: %q", i, got)
			}
		}
		m.remount()
		entries, err := os.ReadDir(m.dir)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("left over: %v", entries)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != "version 19\n" {
			t.Errorf("after a remount: %q, %v", got, err)
		}
	})
}

func TestRestic(t *testing.T) {
	onMounts(t, func(t *testing.T, m *mounted) {
		src, repo := smallTree(t), m.path("repo")
		run(t, src, "restic", "init", "-q", "-r", repo)
		run(t, src, "restic", "backup", "-q", "-r", repo, ".")
		must(t, os.WriteFile(filepath.Join(src, "new"), noise(7, 3<<20), 0o644))
		run(t, src, "restic", "backup", "-q", "-r", repo, ".")
		m.remount()
		run(t, src, "restic", "check", "-q", "--read-data", "-r", repo)
		out := t.TempDir()
		run(t, src, "restic", "restore", "-q", "-r", repo, "latest", "--target", out)
		sameTree(t, src, out)
		run(t, src, "restic", "forget", "-q", "-r", repo, "--keep-last", "1", "--prune")
		m.remount()
		run(t, src, "restic", "check", "-q", "--read-data", "-r", repo)
	})
}

func TestTwoMounts(t *testing.T) {
	t.Parallel()
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			service := d.open(t)
			short := func(o *fs.Options) { o.TTL, o.NegativeTTL = time.Second, time.Second }
			one, two := mount(t, service, short), mount(t, service, short)
			src := smallTree(t)
			run(t, "/", "cp", "-a", src, one.path("tree"))
			run(t, "/", "sync", one.path("tree", "a", "big"))
			one.remount()
			sameTree(t, src, two.path("tree"))
			must(t, os.WriteFile(two.path("tree", "plain.txt"), []byte("changed by two"), 0o644))
			must(t, os.RemoveAll(two.path("tree", "a")))
			two.remount()
			time.Sleep(1100 * time.Millisecond) // the time to live that is promised
			got, err := os.ReadFile(one.path("tree", "plain.txt"))
			if err != nil || string(got) != "changed by two" {
				t.Errorf("one reads %q, %v", got, err)
			}
			if _, err := os.Stat(one.path("tree", "a")); !os.IsNotExist(err) {
				t.Errorf("one still sees what two removed: %v", err)
			}
		})
	}
}

func TestHugeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("5 GiB through the upload and back take minutes: make test-slow runs it")
	}
	m := mount(t, openS3(t, servers.MinIO(t)))
	file, sum := m.path("huge"), filepath.Join(t.TempDir(), "sum")
	run(t, "/", "sh", "-c", "openssl enc -aes-128-ctr -pass pass:thaw -nosalt < /dev/zero 2>/dev/null | head -c 5G | tee "+file+" | sha256sum > "+sum)
	want, err := os.ReadFile(sum)
	must(t, err)
	m.remount()
	if got := run(t, "/", "sh", "-c", "sha256sum < "+file); got != string(want) {
		t.Errorf("read back %s, want %s", got, want)
	}
}
