package fs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs/recall"
)

// A bringer fetches objects whose restored copies end soon (backend.Fetcher) into the disk
// cache as soon as they can be read, whoever asked for them: they were paid for. A file
// that is half there when the process ends is gone on with by the next one.
type bringer struct {
	fs    *FS
	dir   string
	slots chan struct{} // holds a token for each fetch under way

	life context.Context // ended by close
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	closed  bool                 // guarded by mu
	running map[backend.Ref]bool // guarded by mu
}

const (
	bringWide = 2              // fetches at once, each in parallel ranges
	bringKeep = 72 * time.Hour // how long what was not finished is of use
)

func newBringer(f *FS, dir string) (*bringer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > bringKeep {
			_ = os.Remove(filepath.Join(dir, e.Name())) // its copy has ended
		}
	}
	b := &bringer{fs: f, dir: dir, slots: make(chan struct{}, bringWide), running: map[backend.Ref]bool{}}
	b.life, b.end = context.WithCancel(context.Background())
	return b, nil
}

// close stops what is under way and waits for it.
func (b *bringer) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.end()
	b.work.Wait()
}

// resume goes on with what the last process was told is readable.
func (b *bringer) resume(jobs []recall.Job) {
	for _, j := range jobs {
		if j.Phase == recall.Restored {
			b.bring(j.Ref)
		}
	}
}

// bring begins to fetch ref, unless that is under way.
func (b *bringer) bring(ref backend.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.running[ref] {
		return
	}
	b.running[ref] = true
	b.work.Go(func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.running, ref)
		}()
		select {
		case b.slots <- struct{}{}:
		case <-b.life.Done():
			return
		}
		defer func() { <-b.slots }()
		if err := b.fetch(ref); err != nil && b.life.Err() == nil {
			b.fs.log.Warn("a restored copy is not in the cache; it can be read while it lasts",
				slog.String("key", ref.String()), slog.Any("err", err))
		}
	})
}

// fetch brings one object into the cache, if its store is a Fetcher and it is not there.
func (b *bringer) fetch(ref backend.Ref) error {
	store, err := b.fs.stores.open(b.life, ref.Bucket)
	if err != nil {
		return err
	}
	fetcher, ok := store.(backend.Fetcher)
	if !ok {
		return nil
	}
	obj, err := store.Head(b.life, ref.Key)
	if err != nil || obj.State != backend.Restored || obj.Size > b.fs.o.CacheSize || b.fs.blocks.Whole(ref, obj) {
		return err
	}
	path := b.path(ref, obj)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = fetcher.Fetch(b.life, obj, file, nil)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = b.fs.blocks.Adopt(path, ref, obj)
	}
	if b.life.Err() == nil {
		_ = os.Remove(path) // it is the cache's by now, or of no use
	}
	return err
}

// path is where a version is brought to.
func (b *bringer) path(ref backend.Ref, obj backend.Object) string {
	sum := sha256.Sum256([]byte(ref.Bucket + "\x00" + ref.Key + "\x00" + obj.ETag))
	return filepath.Join(b.dir, hex.EncodeToString(sum[:16]))
}
