package writeback

import (
	"context"
	"errors"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// uploadsBusyLocked reports whether some upload is still to be aborted.
func (q *Queue) uploadsBusyLocked() bool {
	for _, u := range q.uploads {
		if u.abort {
			return true
		}
	}
	return false
}

// sweepUploads aborts the uploads that are not wanted any more.
func (q *Queue) sweepUploads() {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		q.mu.Lock()
		u, wait := q.nextAbortLocked(time.Now())
		q.mu.Unlock()
		if u != nil {
			q.abortUpload(u)
			continue
		}
		timer.Reset(wait)
		select {
		case <-q.sweep:
		case <-timer.C:
		case <-q.ctx.Done():
			return
		}
	}
}

func (q *Queue) nextAbortLocked(now time.Time) (*upload, time.Duration) {
	wait := idle
	for _, u := range q.uploads {
		if !u.abort || u.busy || u.users > 0 {
			continue
		}
		d := u.due.Sub(now)
		if q.health.down() {
			d = max(d, retryFirst)
		}
		if d <= 0 {
			u.busy = true
			return u, 0
		}
		wait = min(wait, d)
	}
	return nil, wait
}

// abortTime bounds the requests to get rid of one upload.
const abortTime = time.Minute

func (q *Queue) abortUpload(u *upload) {
	ctx, cancel := context.WithTimeout(q.ctx, abortTime)
	defer cancel()
	err := q.tryAbort(ctx, u)
	q.mu.Lock()
	u.busy = false
	if err != nil && (transient(err) || ctx.Err() != nil) {
		u.due = time.Now().Add(backoff(u.fails))
		u.fails++
		q.mu.Unlock()
		return
	}
	q.mu.Unlock()
	if err != nil {
		q.o.Log.Warn("upload cannot be aborted; the store may keep its parts", "key", u.ref.String(), "err", err)
	}
	q.dropUpload(u)
}

func (q *Queue) tryAbort(ctx context.Context, u *upload) error {
	store, err := q.store(ctx, u.ref.Bucket)
	if err != nil {
		return err
	}
	pu, ok := store.raw.(backend.PartUploader)
	if !ok {
		return backend.ErrUnsupported
	}
	if u.id == "" {
		return q.abortUnknown(ctx, u.ref, pu)
	}
	if err := pu.Abort(ctx, u.name()); err != nil {
		return err
	}
	return stillThere(ctx, u, pu)
}

// stillThere is an error if the store lists an upload that was aborted. Parts that were on their
// way then may be stored all the same, and have to be aborted again (S3 API, AbortMultipartUpload).
func stillThere(ctx context.Context, u *upload, pu backend.PartUploader) error {
	for up, err := range pu.Uploads(ctx, u.ref.Key) {
		switch {
		case errors.Is(err, backend.ErrUnsupported):
			return nil
		case err != nil:
			return err
		case up.Key == u.ref.Key && up.ID == u.id:
			return errBusyUpload
		}
	}
	return nil
}

// abortUnknown aborts the uploads of ref that we do not know. One of them may be ours, begun
// without an answer. If another client is uploading to the very same key, it begins again.
func (q *Queue) abortUnknown(ctx context.Context, ref backend.Ref, pu backend.PartUploader) error {
	known := map[string]bool{}
	q.mu.Lock()
	for _, u := range q.uploads {
		known[u.id] = true
	}
	q.mu.Unlock()
	for up, err := range pu.Uploads(ctx, ref.Key) {
		switch {
		case err != nil:
			return err
		case up.Key != ref.Key || known[up.ID]:
			continue
		}
		if err := pu.Abort(ctx, up); err != nil {
			return err
		}
	}
	return nil
}

// errBusyUpload ends an attempt while the remains of an earlier one are being cleared away.
var errBusyUpload = errors.Join(backend.ErrUnavailable, errors.New("an earlier upload is being aborted"))

// sweepKey clears uploads of ref away of which we have no id, before another is begun: later
// they could not be told apart.
func (q *Queue) sweepKey(ctx context.Context, ref backend.Ref, pu backend.PartUploader) error {
	q.mu.Lock()
	var mine []*upload
	for _, u := range q.uploads {
		if u.ref != ref || u.id != "" {
			continue
		}
		if u.busy || !u.abort {
			q.mu.Unlock()
			return errBusyUpload
		}
		mine = append(mine, u)
	}
	for _, u := range mine {
		u.busy = true
	}
	q.mu.Unlock()
	if len(mine) == 0 {
		return nil
	}
	err := q.abortUnknown(ctx, ref, pu)
	q.mu.Lock()
	for _, u := range mine {
		u.busy = false
	}
	q.mu.Unlock()
	if err != nil {
		return err
	}
	for _, u := range mine {
		q.dropUpload(u)
	}
	return nil
}
