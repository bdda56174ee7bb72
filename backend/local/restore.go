package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// keepTime is how long a restored copy stays readable where nobody said otherwise.
const keepTime = 24 * time.Hour

// Restore implements backend.Restorer. What needs no Restore is left alone; one that is
// done already makes the copy stay opts.Keep from now.
func (s *store) Restore(ctx context.Context, key string, opts backend.RestoreOptions) error {
	return s.wrap("restore", key, s.restore(ctx, key, opts))
}

func (s *store) restore(ctx context.Context, key string, opts backend.RestoreOptions) error {
	if opts.Keep < 0 || !slices.Contains([]string{"", "Expedited", "Standard", "Bulk"}, opts.Tier) {
		return fmt.Errorf("%w: tier %q, keep %v", backend.ErrInvalid, opts.Tier, opts.Keep)
	}
	if opts.Keep == 0 {
		opts.Keep = keepTime
	}
	if err := firstOf(ctx.Err(), checkKey(key)); err != nil {
		return err
	}
	if err := s.thaw(key, opts.Keep); err != nil {
		return err
	}
	return s.svc.disk.syncBelow(s.keys, filepath.Dir(recordPath(s.keys, key)))
}

// thaw notes in the record of key when it will be readable.
func (s *store) thaw(key string, keep time.Duration) error {
	unlock, err := s.svc.locks.lock(s.name, key)
	if err != nil {
		return err
	}
	defer unlock()
	path := recordPath(s.keys, key)
	rec, err := readRecord(path)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	switch state, _ := rec.state(now); state {
	case backend.Online, backend.Restoring:
		return nil
	case backend.Restored:
		rec.Thaw = &thaw{Ready: rec.Thaw.Ready, Until: now.Add(keep)}
	default:
		ready := now.Add(s.svc.restore)
		rec.Thaw = &thaw{Ready: ready, Until: ready.Add(keep)}
	}
	temp := s.svc.session.temp()
	defer os.Remove(temp) // gone if it was renamed
	line, err := rec.line()
	if err == nil {
		err = s.svc.disk.writeFile(temp, line, rec.inline)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	return err
}

// requestTime is more than it takes a request to get here, if the disk is not overwhelmed.
const requestTime = 200 * time.Millisecond

// RestoreTime tells how long a restore takes here, whatever the class and tier, counted from
// before it is sent: who looks at the earliest time shall find it done.
func (s *store) RestoreTime(class, tier string) (least, most time.Duration) {
	return s.svc.restore + requestTime, s.svc.restore + 2*requestTime
}
