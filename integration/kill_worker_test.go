package integration

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/thawfs/thawfs/backend"
)

// killFile is a file as a user sees it.
type killFile struct {
	data string
	mode uint32
}

func (f killFile) differs(want killFile) string {
	n := 0
	for n < min(len(f.data), len(want.data)) && f.data[n] == want.data[n] {
		n++
	}
	return fmt.Sprintf("%d bytes, mode %04o; want %d bytes, mode %04o; they differ from byte %d on",
		len(f.data), f.mode, len(want.data), want.mode, n)
}

// modeOf is the mode of an object, in the dialect of s3fs.
func modeOf(o backend.Object) uint32 {
	n, _ := strconv.ParseUint(o.Meta["mode"], 10, 32) // 0 if there is none
	return uint32(n) & 0o777
}

// A killOp is one thing that a worker does.
type killOp struct {
	verb    string // save, append, patch, chmod, unlink, rename
	key, to string
	data    string
	off     int64
	mode    uint32
	fsync   bool
}

// apply does o to the files.
func (o killOp) apply(files map[string]killFile) {
	old, exists := files[o.key]
	mode := old.mode
	if !exists {
		mode = o.mode
	}
	switch o.verb {
	case "save":
		files[o.key] = killFile{o.data, mode}
	case "append":
		files[o.key] = killFile{old.data + o.data, mode}
	case "patch":
		files[o.key] = killFile{old.data[:o.off] + o.data + old.data[int(o.off)+len(o.data):], mode}
	case "chmod":
		files[o.key] = killFile{old.data, o.mode}
	case "unlink":
		delete(files, o.key)
	case "rename":
		files[o.to] = old
		delete(files, o.key)
	}
}

// killWorker works in a directory of its own.
type killWorker struct {
	k     *killing
	name  string
	files map[string]killFile // as acknowledged, by key
	doubt *killOp             // was under way when the process died
	rnd   *rand.Rand
	done  int
	past  []string // what was done last, for who has to find out
}

func newKillWorker(k *killing, i int, rnd *rand.Rand) *killWorker {
	return &killWorker{k: k, name: fmt.Sprintf("w%d", i), files: map[string]killFile{}, rnd: rnd}
}

func (w *killWorker) path(key string) string { return w.k.v.o.Dir + "/" + key }

// work does one thing after the other until the process is killed.
func (w *killWorker) work() {
	if err := os.Mkdir(w.path(w.name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		w.failed(killOp{verb: "mkdir", key: w.name}, err)
		return
	}
	for !w.k.killing.Load() {
		o := w.choose()
		w.doubt = &o
		w.past = append(w.past[max(0, len(w.past)-40):], o.String())
		if err := w.do(o); err != nil {
			w.failed(o, err)
			return
		}
		o.apply(w.files)
		w.doubt = nil
		w.done++
	}
}

// failed takes note of an error, which is none if the process was killed.
func (w *killWorker) failed(o killOp, err error) {
	if !w.k.killing.Load() {
		w.k.t.Errorf("%s %s: %v", o.verb, o.key, err)
	}
}

func (w *killWorker) choose() killOp {
	names := []string{"a", "b", "c", "d", "e", "f"}
	key := func() string { return w.name + "/" + names[w.rnd.IntN(len(names))] }
	o := killOp{verb: "save", key: key(), mode: 0o644, fsync: w.rnd.IntN(12) == 0}
	n := w.rnd.IntN(20_000)
	switch w.rnd.IntN(60) {
	case 0:
		n = 18<<20 + w.rnd.IntN(20<<20) // in parts
	case 1, 2, 3, 4:
		n = w.rnd.IntN(2 << 20)
	}
	if len(w.files) > 0 {
		keys := slices.Sorted(maps.Keys(w.files))
		some := keys[w.rnd.IntN(len(keys))]
		old := w.files[some]
		switch w.rnd.IntN(12) {
		case 0, 1:
			o.verb, o.key, n = "append", some, w.rnd.IntN(5000)
		case 2, 3:
			if len(old.data) > 100 {
				n = min(len(old.data), 5000) / 2
				o.verb, o.key, o.off = "patch", some, int64(w.rnd.IntN(len(old.data)-n))
			}
		case 4:
			o.verb, o.key, o.mode = "chmod", some, []uint32{0o600, 0o640, 0o755}[w.rnd.IntN(3)]
		case 5:
			o.verb, o.key = "unlink", some
		case 6, 7:
			if to := key(); to != some {
				o.verb, o.key, o.to = "rename", some, to
			}
		}
	}
	if o.verb == "save" || o.verb == "append" || o.verb == "patch" {
		o.data = killText(w.rnd.Uint64(), n)
	}
	return o
}

// killText is n bytes that say where they are from, none of them zero.
func killText(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(b) // never fails
	for i := range b {
		b[i] |= 1
	}
	return string(b)
}

func (w *killWorker) do(o killOp) error {
	path := w.path(o.key)
	switch o.verb {
	case "save":
		return w.write(o, path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	case "append":
		return w.write(o, path, os.O_WRONLY|os.O_APPEND)
	case "patch":
		return w.write(o, path, os.O_RDWR)
	case "chmod":
		return os.Chmod(path, os.FileMode(o.mode))
	case "unlink":
		return os.Remove(path)
	}
	return os.Rename(path, w.path(o.to))
}

func (w *killWorker) write(o killOp, path string, flags int) error {
	f, err := os.OpenFile(path, flags, os.FileMode(o.mode))
	if err != nil {
		return err
	}
	if o.verb == "patch" {
		_, err = f.WriteAt([]byte(o.data), o.off)
	} else {
		_, err = io.Copy(f, onlyReader{strings.NewReader(o.data)}) // in pieces
	}
	if err == nil && o.fsync {
		if err = f.Sync(); err == nil {
			w.stored(o)
		}
	}
	if w.rnd.IntN(3) == 0 { // a child of a shell, say, that ends just now
		dup, dupErr := unix.Dup(int(f.Fd()))
		if dupErr != nil {
			return errors.Join(err, dupErr, f.Close())
		}
		go func() { _ = unix.Close(dup) }() // nobody has written by it
	}
	return errors.Join(err, f.Close())
}

// stored checks what fsync has just promised.
func (w *killWorker) stored(o killOp) {
	after := maps.Clone(w.files)
	o.apply(after)
	data, err := fetch(w.k.t.Context(), w.k.store, o.key)
	if err != nil || data != after[o.key].data {
		again, _ := fetch(w.k.t.Context(), w.k.store, o.key) // to tell a store that is late from one that has it not
		w.k.t.Errorf("after fsync the store's %s has %d bytes, %v, and then %d; want %d (killing: %v). Before that: %s",
			o.key, len(data), err, len(again), len(after[o.key].data), w.k.killing.Load(), strings.Join(w.past, "\n    "))
	}
}

type onlyReader struct{ io.Reader }

// settle looks at what the worker was doing when the process died, and at everything else.
func (w *killWorker) settle() {
	w.k.t.Helper()
	seen, err := w.look()
	if err != nil {
		w.k.t.Errorf("%s after a kill: %v", w.name, err)
		return
	}
	o := w.doubt
	w.doubt = nil
	if maps.Equal(seen, w.files) {
		return
	}
	if o != nil {
		after := maps.Clone(w.files)
		o.apply(after)
		if maps.Equal(seen, after) || o.halfDone(seen, w.files, after) {
			w.files = seen
			return
		}
	}
	defer func() { w.k.t.Logf("before that: %s", strings.Join(w.past, "\n    ")) }()
	for key, f := range w.files {
		if got, ok := seen[key]; got != f || !ok {
			inStore, err := fetch(w.k.t.Context(), w.k.store, key)
			again, readErr := os.ReadFile(w.path(key))
			w.k.t.Logf("%s: the store has %d bytes, %v; another look sees %d, %v", key, len(inStore), err, len(again), readErr)
		}
		if got, ok := seen[key]; !ok {
			w.k.t.Errorf("%s is lost, while doing %s", key, o)
		} else if got != f {
			w.k.t.Errorf("%s: %s, while doing %s", key, got.differs(f), o)
		}
	}
	for key, f := range seen {
		if _, ok := w.files[key]; !ok {
			w.k.t.Errorf("%s is there, %d bytes, while doing %s", key, len(f.data), o)
		}
	}
}

func (o *killOp) String() string {
	if o == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s %s %s of %d bytes at %d", o.verb, o.key, o.to, len(o.data), o.off)
}

// halfDone reports whether seen is what a process that was killed can have made of before, on
// its way to after: a file that was being written is as far as it had come.
func (o *killOp) halfDone(seen, before, after map[string]killFile) bool {
	got, want, old := seen[o.key], after[o.key], before[o.key]
	seen, after = maps.Clone(seen), maps.Clone(after)
	delete(seen, o.key)
	delete(after, o.key)
	if !maps.Equal(seen, after) || got.mode != want.mode {
		return false
	}
	switch o.verb {
	case "save":
		return strings.HasPrefix(want.data, got.data)
	case "append":
		return strings.HasPrefix(want.data, got.data) && len(got.data) >= len(old.data)
	case "patch":
		n := int(o.off)
		for n < len(want.data) && n < len(got.data) && got.data[n] == want.data[n] {
			n++
		}
		return len(got.data) == len(old.data) && got.data[:n] == want.data[:n] && got.data[n:] == old.data[n:]
	}
	return false
}

// look reads the worker's directory.
func (w *killWorker) look() (map[string]killFile, error) {
	names, err := os.ReadDir(w.path(w.name))
	if errors.Is(err, os.ErrNotExist) {
		return map[string]killFile{}, nil
	}
	seen := map[string]killFile{}
	for _, d := range names {
		path := w.path(w.name + "/" + d.Name())
		data, rerr := os.ReadFile(path)
		info, serr := os.Stat(path)
		if err = errors.Join(err, rerr, serr); err != nil {
			return nil, err
		}
		if int64(len(data)) != info.Size() {
			w.k.t.Logf("%s: read %d bytes, stat says %d", path, len(data), info.Size())
		}
		seen[w.name+"/"+d.Name()] = killFile{string(data), uint32(info.Sys().(*syscall.Stat_t).Mode) & 0o777}
	}
	return seen, err
}
