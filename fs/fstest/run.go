package fstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Runner takes one Target through a story.
type Runner struct {
	target Target
	calls  Calls
	model  *Model
	look   bool
	files  [Slots]File
	broken bool // faults befall the next step
	// waits says that nothing is sent before a drain; sending that what waits is being sent
	// all the same, since a new mount began.
	waits, sending bool
}

// Run executes s on a new t, with users that make these calls, and says where the mount or
// the store were not what they must be. At the end everything is closed, drained and looked
// at by a mount with an empty cache.
func Run(ctx context.Context, t Target, calls Calls, s Story) error {
	umask, err := processUmask()
	if err != nil {
		return err
	}
	r := &Runner{target: t, calls: calls, model: NewModel(umask), look: s.Look, waits: s.Delay >= time.Minute}
	defer r.closeFiles()
	for i, op := range s.Ops {
		if err := r.step(ctx, op); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, op, err)
		}
	}
	t.Heal()
	for _, op := range []Op{{Verb: Look}, {Verb: Fresh}, {Verb: Look}} {
		if err := r.step(ctx, op); err != nil {
			return fmt.Errorf("at the end, %s: %w", op, err)
		}
	}
	if err := r.thawAll(ctx); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if err := r.step(ctx, Op{Verb: Look}); err != nil {
		return fmt.Errorf("at the end, when all is thawed: %w", err)
	}
	return nil
}

func (r *Runner) step(ctx context.Context, op Op) error {
	err := r.do(ctx, op)
	if r.broken && op.Verb != Break {
		r.target.Heal()
		r.broken = false
	}
	if err == nil && r.look && op.Verb != Break && op.Verb != Look {
		err = r.compare()
	}
	return err
}

func (r *Runner) do(ctx context.Context, op Op) error {
	switch op.Verb {
	case Put, Delete:
		return r.stranger(ctx, op)
	case Archive, Thaw, Lapse:
		return r.shelve(ctx, op)
	case Wait, Drain, Remount, Fresh, Crash, Look, Break:
		return r.machine(ctx, op)
	case Read:
		return r.read(op)
	}
	if !onHandle(op.Verb) {
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	return r.user(op)
}

func onHandle(v Verb) bool {
	return v == Close || v == Write || v == Read || v == Resize || v == Fsync
}

// user does op on mount and model and compares what they return.
func (r *Runner) user(op Op) error {
	before, cold := r.model, r.model.wants(op)
	if r.broken || len(cold) > 0 {
		before = r.model.clone()
	}
	if r.skips(op) {
		return nil
	}
	far := op.Verb != Rename && slices.ContainsFunc(cold, func(f *file) bool { return f.far })
	want := r.model.Apply(op)
	r.model.note()
	got := errnoOf(r.call(op))
	switch {
	case want == 0 && len(cold) > 0 && r.model.unreadable(got):
		if r.model = before; op.Verb == Open {
			r.model.close(op.H)
		}
		return nil
	case got == 0 && want == 0 && far:
		return errors.New("it went well, though the bytes are archived and were never here")
	case got == want:
		return nil
	case r.broken && got != 0:
		return r.afterFault(op, before, got)
	}
	return fmt.Errorf("got %s, want %s", name(got), name(want))
}

// skips reports whether op asks for what nothing is promised of.
func (r *Runner) skips(op Op) bool {
	if op.Verb != Setxattr && op.Verb != Rmxattr {
		return false
	}
	at, errno := r.model.tree().find(op.Path, true)
	return errno == 0 && at.node != nil && at.node.dir
}

// afterFault finds out whether an operation that failed because of the store was done or
// not: it must be one of the two.
func (r *Runner) afterFault(op Op, before *Model, got syscall.Errno) error {
	r.target.Heal()
	after := r.model
	for _, m := range []*Model{before, after} {
		if op.Verb == Open || op.Verb == Close {
			m.close(op.H)
		}
	}
	seen, err := walk(r.target.Dir())
	if err != nil {
		return fmt.Errorf("after %s because of a fault: %w", name(got), err)
	}
	errBefore, errAfter := before.Compare(seen), after.Compare(seen)
	switch {
	case errBefore == nil:
		r.model = before
	case errAfter == nil:
		r.model = after
	default:
		return fmt.Errorf("after %s because of a fault it is neither as before (%w) nor done (%w)", name(got), errBefore, errAfter)
	}
	return nil
}

func name(errno syscall.Errno) string {
	if errno == 0 {
		return "success"
	}
	return fmt.Sprintf("%q", errno.Error())
}

// call makes the system call of op.
func (r *Runner) call(op Op) error {
	path := r.path(op.Path)
	switch op.Verb {
	case Open:
		return r.open(op, path)
	case Save:
		return r.save(op, path)
	case Close, Write, Resize, Fsync:
		return r.callHandle(op)
	case Truncate:
		return r.calls.Truncate(path, op.Off)
	case Unlink:
		return r.calls.Unlink(path)
	case Mkdir:
		return r.calls.Mkdir(path, op.Mode)
	case Rmdir:
		return r.calls.Rmdir(path)
	case Rename:
		return r.calls.Rename(path, r.path(op.To))
	case Symlink:
		return r.calls.Symlink(op.To, path)
	case Chmod:
		return r.calls.Chmod(path, op.Mode)
	case Utimes:
		return r.calls.Utimes(path, time.Unix(0, op.Off))
	case Setxattr:
		return r.calls.Setxattr(path, op.To, []byte(pattern(op.Fill, 0, op.N)))
	case Rmxattr:
		return r.calls.Removexattr(path, op.To)
	}
	return fmt.Errorf("%q is no operation of a user", op.Verb)
}

func (r *Runner) path(p string) string { return filepath.Join(r.target.Dir(), p) }

func (r *Runner) open(op Op, path string) error {
	if f := r.files[op.H]; f != nil {
		r.files[op.H] = nil
		if err := f.Close(); err != nil {
			return err
		}
	}
	flags, err := openFlags(op.Flags)
	if err != nil {
		return err
	}
	f, err := r.calls.Open(path, flags, defaultFileMode)
	if err != nil {
		return err
	}
	if r.model.handles[op.H] == nil { // a directory
		return f.Close()
	}
	r.files[op.H] = f
	return nil
}

func (r *Runner) save(op Op, path string) error {
	f, err := r.calls.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, defaultFileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(pattern(op.Fill, 0, op.N)), 0)
	return errors.Join(err, f.Close())
}

func (r *Runner) callHandle(op Op) error {
	f := r.files[op.H]
	if f == nil {
		return nil
	}
	switch op.Verb {
	case Close:
		r.files[op.H] = nil
		return f.Close()
	case Resize:
		return f.Truncate(op.Off)
	case Fsync:
		return f.Sync()
	}
	return r.write(op, f)
}

func (r *Runner) write(op Op, f File) (err error) {
	if op.N == 0 {
		return nil
	}
	if h := r.model.handles[op.H]; h.append {
		off := max(int64(len(h.f.now.data))-op.N, 0) // the model has it already
		_, err = f.Write([]byte(pattern(op.Fill, off, op.N)))
	} else {
		_, err = f.WriteAt([]byte(pattern(op.Fill, op.Off, op.N)), op.Off)
	}
	return err
}

// read compares what an open file shows with what it must show.
func (r *Runner) read(op Op) error {
	h, f := r.model.handles[op.H], r.files[op.H]
	if h == nil || f == nil {
		return nil
	}
	buf := make([]byte, op.N)
	n, err := f.ReadAt(buf, op.Off)
	got, want := string(buf[:n]), h.f.now.data
	want = want[min(op.Off, int64(len(want))):min(op.Off+op.N, int64(len(want)))]
	errno := syscall.Errno(0)
	if n < len(want) || !h.read {
		errno = errnoOf(err)
	}
	switch {
	case !h.read && op.N > 0 && errno != syscall.EBADF:
		return fmt.Errorf("read of a file open for writing: %w", err)
	case !h.read:
		return nil
	case errno != 0 && r.broken, errno == syscall.ESTALE && h.f.lost:
		return nil
	case errno == syscall.ETIMEDOUT && h.f.now.cold == archived:
		return nil
	case got != want:
		return fmt.Errorf("read %s (%w)", differ(got, want), err)
	}
	return nil
}

// closeFiles closes what is open without a look at the results.
func (r *Runner) closeFiles() {
	for i, f := range r.files {
		if f != nil {
			_ = f.Close() // the story is over
		}
		r.files[i] = nil
	}
}

// closeAll closes what is open as users would.
func (r *Runner) closeAll() error { return r.closeThose(func(*file) bool { return true }) }

func (r *Runner) closeThose(which func(*file) bool) error {
	for i, h := range r.model.handles {
		if h != nil && which(h.f) {
			if err := r.user(Op{Verb: Close, H: i}); err != nil {
				return fmt.Errorf("close %d: %w", i, err)
			}
		}
	}
	return nil
}

// compare looks at the whole tree, with a store that is well.
func (r *Runner) compare() error {
	r.target.Heal()
	seen, err := walk(r.target.Dir())
	if err != nil {
		return err
	}
	return r.model.Compare(seen)
}

// processUmask reads the umask without changing it.
func processUmask() (uint32, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(status), "\nUmask:")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	if !ok {
		return 0, errors.New("/proc/self/status has no umask")
	}
	umask, err := strconv.ParseUint(value, 8, 32)
	return uint32(umask), err
}
