package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

// A platter knows what of a directory tree would survive a power loss: what was fsynced.
type platter struct {
	root  string
	files map[uint64][]byte            // content at the last fsync, by inode
	dirs  map[uint64]map[string]uint64 // names and inodes at the last fsync, by inode
	links map[uint64]string            // targets of symbolic links, which need no fsync
	modes map[uint64]fs.FileMode
	pins  []*os.File // keep inode numbers from being used again
	check func()     // before each fsync
}

// A loss is how much of what was not fsynced is lost. File systems do as they please.
type loss int

const (
	allLost      loss = iota // names are as they were at the fsync of their directory
	removalsKept             // the same, but what was removed since is gone
	namesKept                // names are as they are now, unsynced files are empty
	numberOfLosses
)

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// fsync stands in for that of the disk.
func (p *platter) fsync(f *os.File) error {
	p.check()
	pin, err := os.Open(f.Name())
	if err != nil {
		return err
	}
	p.pins = append(p.pins, pin)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		p.files[inode(info)], err = os.ReadFile(f.Name())
		return err
	}
	p.dirs[inode(info)], err = p.names(f.Name())
	return err
}

func (p *platter) names(dir string) (map[string]uint64, error) {
	entries, err := os.ReadDir(dir)
	names := map[string]uint64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		names[e.Name()], p.modes[inode(info)] = inode(info), info.Mode()
		if info.Mode()&fs.ModeSymlink != 0 {
			p.links[inode(info)], _ = os.Readlink(filepath.Join(dir, e.Name()))
		}
	}
	return names, err
}

// image writes what survives of the directory from into the directory to.
func (p *platter) image(t *testing.T, from string, ino uint64, to string, l loss) {
	now, err := p.names(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	names := p.dirs[ino]
	if l == namesKept {
		names = now
	}
	for name, ino := range names {
		if _, there := now[name]; l == removalsKept && !there {
			continue
		}
		path := filepath.Join(to, name)
		switch mode := p.modes[ino]; {
		case mode.IsDir():
			err = os.Mkdir(path, 0o777)
			p.image(t, filepath.Join(from, name), ino, path, l)
		case mode&fs.ModeSymlink != 0:
			err = os.Symlink(p.links[ino], path)
		default:
			err = os.WriteFile(path, p.files[ino], 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A script changes a store and knows what each key must hold.
type script struct {
	t      *testing.T
	p      *platter
	st     *store
	keys   map[string]string // what was confirmed
	under  map[string]string // what is being changed; "" is absence
	points int               // how often the power failed
}

// TestPowerLossLosesNothing lets the power fail at every fsync of many changes, in several
// ways, and opens what is left.
func TestPowerLossLosesNothing(t *testing.T) {
	p := &platter{root: filepath.Join(t.TempDir(), "store"), files: map[uint64][]byte{}, dirs: map[uint64]map[string]uint64{}, links: map[uint64]string{}, modes: map[uint64]fs.FileMode{}, check: func() {}}
	t.Cleanup(func() {
		for _, f := range p.pins {
			_ = f.Close()
		}
	})
	svc := &Service{dir: p.root, limits: partLimits(backend.PartLimits{MinSize: 1}), disk: newDisk(true)}
	svc.disk.fsync = p.fsync
	err := svc.open(Options{})
	if err == nil {
		err = svc.CreateBucket(t.Context(), "bucket")
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, p: p, st: svc.store("bucket"), keys: map[string]string{}}
	p.check = s.check
	s.run()
	t.Logf("the power failed %d times", s.points)
}

func (s *script) run() {
	small, large := "small", strings.Repeat("large ", 5000)
	for _, content := range []string{small, large, large + "2", small + "2", "", large + "3", ""} {
		s.change("a/b/c", content, func() error { return s.put("a/b/c", content) })
	}
	for i, content := range []string{small, large} {
		src, to := fmt.Sprintf("src%d/k", i), fmt.Sprintf("copies/%d", i)
		s.change(src, content, func() error { return s.put(src, content) })
		for range 2 {
			s.change(to, content, func() error { return s.copy(src, to) })
		}
		s.change(src, "", func() error { return s.put(src, "") })
	}
	for i := range 3 {
		content := large + fmt.Sprint("assembled", i)
		s.change("parts/k", content, func() error { return s.assemble("parts/k", content) })
		s.change("parts/copy", content, func() error { return s.copy("parts/k", "parts/copy") })
	}
	s.change("parts/k", small, func() error { return s.put("parts/k", small) })
	s.change("parts/copy", "", func() error { return s.put("parts/copy", "") })
	s.changeAll(map[string]string{"copies/0": "", "copies/1": "", "absent": ""}, func() error {
		for _, err := range s.st.DeleteBatch(context.Background(), []string{"copies/0", "absent", "copies/1"}) {
			return err
		}
		return nil
	})
}

func (s *script) change(key, content string, do func() error) {
	s.changeAll(map[string]string{key: content}, do)
}

// changeAll makes a change and lets the power fail after it is confirmed.
func (s *script) changeAll(under map[string]string, do func() error) {
	s.under = under
	if err := do(); err != nil {
		s.t.Fatal(err)
	}
	s.under = nil
	maps.Copy(s.keys, under)
	maps.DeleteFunc(s.keys, func(_, content string) bool { return content == "" })
	s.check()
}

func (s *script) put(key, content string) error {
	if content == "" {
		return s.st.Delete(context.Background(), key)
	}
	_, err := s.st.Put(context.Background(), key, section(content), backend.PutOptions{})
	return err
}

func section(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

func (s *script) copy(from, to string) error {
	_, err := s.st.Copy(context.Background(), backend.Object{Key: from}, to, backend.CopyOptions{})
	return err
}

func (s *script) assemble(key, content string) error {
	ctx := context.Background()
	up, err := s.st.NewUpload(ctx, key, backend.PutOptions{})
	if err != nil {
		return err
	}
	var parts []backend.Part
	s.hasUpload(up, parts)
	for i, piece := range []string{"replaced", content[:100], content[100:]} {
		p, err := s.st.UploadPart(ctx, up, max(i, 1), section(piece), crc64nvme.Checksum([]byte(piece)))
		if err != nil {
			return err
		}
		if i > 0 {
			parts = append(parts, p)
		}
		s.hasUpload(up, append(parts, p))
	}
	_, err = s.st.Complete(ctx, up, parts, backend.PutOptions{})
	return err
}

// hasUpload fails unless a confirmed upload survives with its confirmed parts.
func (s *script) hasUpload(up backend.Upload, parts []backend.Part) {
	for l := range numberOfLosses {
		st := s.open(l)
		if _, err := st.findUpload(s.t.Context(), up); err != nil {
			s.t.Fatalf("loss %d: %v", l, err)
		}
		files, err := st.partFiles(up.ID)
		for _, p := range parts {
			if files[partID{p.Number, p.ETag}].Size != p.Size || err != nil {
				s.t.Fatalf("loss %d: part %+v is lost: %v, %v", l, p, files, err)
			}
		}
	}
}

// open opens what is left after a loss.
func (s *script) open(l loss) *store {
	dir := filepath.Join(s.t.TempDir(), "image")
	info, err := os.Stat(s.p.root)
	if err == nil {
		err = os.Mkdir(dir, 0o777)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.p.image(s.t, s.p.root, inode(info), dir, l)
	svc, err := New(dir, Options{NoSync: true})
	if err != nil {
		s.t.Fatalf("loss %d: %v", l, err)
	}
	return svc.store("bucket")
}

// check lets the power fail now, in every way: confirmed changes must be there, those under
// way wholly or not at all, and nothing else.
func (s *script) check() {
	s.points++
	for l := range numberOfLosses {
		if testing.Short() && loss(s.points)%numberOfLosses != l {
			continue // one way each time
		}
		st := s.open(l)
		want := map[string][]string{}
		for key, content := range s.keys {
			want[key] = append(want[key], content)
		}
		for key, content := range s.under {
			want[key] = append(want[key], content, s.keys[key])
		}
		for key, contents := range want {
			got, err := read(st, key)
			if err != nil || !slices.Contains(contents, got) {
				s.t.Fatalf("loss %d while %v were changed: %q holds %.20q, %v, want one of %.20q", l, slices.Collect(maps.Keys(s.under)), key, got, err, contents)
			}
		}
		for e, err := range st.List(s.t.Context(), "", "", backend.ListOptions{}) {
			if err != nil || want[e.Key] == nil {
				s.t.Fatalf("loss %d: List yields %q, %v", l, e.Key, err)
			}
		}
		if err := os.RemoveAll(st.svc.dir); err != nil {
			s.t.Fatal(err)
		}
	}
}

// read returns what key holds, "" if it is absent.
func read(st *store, key string) (string, error) {
	r, err := st.Get(context.Background(), key, "", 0, -1)
	if errors.Is(err, backend.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}
