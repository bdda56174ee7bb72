package fs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/thawfs/thawfs/backend"
)

// An exchange gives two names each other's file or directory (RENAME_EXCHANGE). It is three
// renames, each as whole as any: of the first to a temporary name, of the second to the
// first's, and from the temporary name to the second's. The nodes go along with each, so
// that who knows them notices nothing; the kernel holds both directories locked, and
// lookups that it sends all the same wait (swaps). What an exchange needs to be finished
// after a crash is in a file of its own until it is done.
type exchange struct {
	Bucket   string
	From, To string // keys, without a "/" at the end
	Temp     string // the key on the way
	FromDir  bool   // what was at From is a directory
	ToDir    bool
}

// exchange carries out RENAME_EXCHANGE for a rename that was planned as any.
func (r *renaming) exchange(ctx context.Context) error {
	switch {
	case !r.replaces:
		return backend.ErrNotExist
	case r.from == r.to:
		return nil
	}
	x, comp := r.fs.newExchange(r)
	if x.FromDir && strings.HasPrefix(x.To, x.From+"/") || x.ToDir && strings.HasPrefix(x.From, x.To+"/") {
		return syscall.EINVAL
	}
	if len(x.Temp) > maxKey-1 {
		return backend.ErrTooLong
	}
	r.stamp(ctx)
	back := &renaming{fs: r.fs, oldDir: r.newDir, oldName: r.newName, src: r.dst}
	back.stamp(ctx)
	there, other := r.oldDir.GetChild(r.oldName), r.newDir.GetChild(r.newName)
	steps := []*renaming{
		{oldDir: r.oldDir, newDir: r.oldDir, oldName: r.oldName, newComp: comp, src: r.src, child: there},
		{oldDir: r.newDir, newDir: r.oldDir, oldName: r.newName, newComp: r.src.comp, src: r.dst, child: other},
		{oldDir: r.oldDir, newDir: r.newDir, oldName: r.newName, newComp: r.dst.comp, src: r.src, child: there},
	}
	for i, move := range x.moves() {
		steps[i].fs, steps[i].swaps = r.fs, true
		steps[i].from, steps[i].to = move[0], move[1]
	}
	return r.fs.swaps.run(x, func() error { return runSteps(context.WithoutCancel(ctx), steps) })
}

// runSteps renames step by step. If the second fails the first is taken back, so that all is
// as it was.
func runSteps(ctx context.Context, steps []*renaming) error {
	for i, s := range steps {
		err := s.again(ctx)
		if err == nil {
			continue
		}
		if i == 1 {
			undo := *steps[0]
			undo.from, undo.to, undo.newComp, undo.moved = undo.to, undo.from, steps[1].newComp, false
			err = errors.Join(err, undo.again(ctx))
		}
		return err
	}
	return nil
}

// again renames what has been renamed a moment ago: the object is another one by now.
func (r *renaming) again(ctx context.Context) error {
	if r.src.dir {
		return r.dir(ctx)
	}
	store, err := r.fs.stores.open(ctx, r.from.Bucket)
	if err != nil {
		return err
	}
	if r.src.obj, err = r.fs.object(ctx, store, r.from); err != nil {
		return err
	}
	return r.file(ctx)
}

// moves are the three renames as pairs of names, those of directories with a "/" at the end.
func (x exchange) moves() [3][2]backend.Ref {
	ref := func(key string, dir bool) backend.Ref {
		if dir {
			key += "/"
		}
		return backend.Ref{Bucket: x.Bucket, Key: key}
	}
	return [3][2]backend.Ref{
		{ref(x.From, x.FromDir), ref(x.Temp, x.FromDir)},
		{ref(x.To, x.ToDir), ref(x.From, x.ToDir)},
		{ref(x.Temp, x.FromDir), ref(x.To, x.FromDir)},
	}
}

func (f *FS) newExchange(r *renaming) (x exchange, comp string) {
	at, _ := r.oldDir.ref()
	to, _ := r.newDir.ref()
	comp = fmt.Sprintf("%%thaw-exchange-%x", f.swaps.next(hashIno(r.from)))
	return exchange{
		Bucket: at.Bucket, From: at.Key + r.src.comp, To: to.Key + r.dst.comp, Temp: at.Key + comp,
		FromDir: r.src.dir, ToDir: r.dst.dir,
	}, comp
}

// swapTable knows the exchanges under way.
type swapTable struct {
	dir string // where they are noted

	mu   sync.Mutex
	last uint64                        // guarded by mu
	busy map[backend.Ref]chan struct{} // by both names; closed at the end. Guarded by mu
}

// next is a number that no exchange has had, on whatever mount.
func (t *swapTable) next(seed uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	return seed ^ uint64(os.Getpid())<<40 ^ t.last
}

// run notes x, does it, and forgets it. One that failed in the middle stays noted.
func (t *swapTable) run(x exchange, do func() error) error {
	path := filepath.Join(t.dir, filepath.Base(x.Temp)+".json")
	note, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := writeDurably(path, note); err != nil {
		return err
	}
	over := make(chan struct{})
	defer close(over)
	names := []backend.Ref{{Bucket: x.Bucket, Key: x.From}, {Bucket: x.Bucket, Key: x.To}}
	t.mu.Lock()
	for _, n := range names {
		t.busy[n] = over
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, n := range names {
			delete(t.busy, n)
		}
	}()
	if err := do(); err != nil {
		return err
	}
	return os.Remove(path)
}

// wait returns when no exchange of the name ref, without a "/" at the end, is under way.
func (t *swapTable) wait(ctx context.Context, ref backend.Ref) {
	t.mu.Lock()
	over := t.busy[ref]
	t.mu.Unlock()
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// writeDurably makes a file whose content survives a power cut when it returns.
func writeDurably(path string, content []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = cmpErr(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return cmpErr(dir.Sync(), dir.Close())
}

// finishExchanges ends what a crash has left half done. It waits for the renames that the
// queue has taken up again; a store that is away leaves the rest to the next start.
func (f *FS) finishExchanges(ctx context.Context) {
	notes, err := filepath.Glob(filepath.Join(f.swaps.dir, "*.json"))
	if err != nil || len(notes) == 0 {
		return
	}
	if f.queue.WaitMoves(ctx) != nil {
		return
	}
	for _, path := range notes {
		if err := f.finishExchange(ctx, path); err != nil {
			f.log.Warn("an exchange of two names is not finished", slog.String("path", path), slog.Any("err", err))
		}
	}
}

func (f *FS) finishExchange(ctx context.Context, path string) error {
	note, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var x exchange
	if err := json.Unmarshal(note, &x); err != nil {
		return errors.Join(err, os.Remove(path)) // torn: nothing had begun
	}
	moves := x.moves()
	begun, err := f.exists(ctx, moves[2][0])
	if err != nil {
		return err
	}
	var left [][2]backend.Ref
	if begun {
		f.log.Info("exchange of two names is finished", slog.String("key", x.From), slog.String("to", x.To))
		left = moves[2:]
		if second, err := f.exists(ctx, moves[1][1]); err != nil {
			return err
		} else if !second {
			left = moves[1:]
		}
	}
	for _, move := range left {
		if err := f.moveRef(ctx, move[0], move[1]); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// exists reports whether there is an object, or something below what ends in "/".
func (f *FS) exists(ctx context.Context, ref backend.Ref) (bool, error) {
	store, err := f.stores.open(ctx, ref.Bucket)
	if err != nil {
		return false, err
	}
	if ref.Key[len(ref.Key)-1] == '/' {
		_, err = f.directory(ctx, store, ref)
	} else {
		_, err = f.object(ctx, store, ref)
	}
	if isNotExist(err) {
		return false, nil
	}
	return err == nil, err
}

// moveRef renames in the store and the queue, when no node can know the name.
func (f *FS) moveRef(ctx context.Context, from, to backend.Ref) error {
	defer f.entries.DropDir(to)
	defer f.entries.DropDir(from)
	if from.Key[len(from.Key)-1] == '/' {
		return f.queue.RenameTree(ctx, from.Bucket, from.Key, to.Key)
	}
	store, err := f.stores.open(ctx, from.Bucket)
	if err != nil {
		return err
	}
	obj, err := f.object(ctx, store, from)
	if err != nil {
		return err
	}
	return f.queue.Rename(ctx, from, to, obj)
}
