package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs"
)

// mountFS shows service on j.mountpoint.
func (j *job) mountFS(service backend.Service, cacheDir string, log *slog.Logger) (*fs.Mount, error) {
	recall, err := j.recall.recall()
	if err != nil {
		return nil, err
	}
	return fs.NewMount(j.mountpoint, fs.Options{
		Service: service, Bucket: j.source.bucket, Prefix: j.source.prefix, Source: j.source.String(),
		CacheDir: cacheDir, CacheSize: int64(j.cacheSize), SpoolSize: int64(j.spoolSize), Memory: int64(j.memory),
		TTL:      max(j.ttl, time.Nanosecond), // 0 is the default there, and not at all here
		ReadOnly: j.readOnly, AllowOther: j.allowOther, SyncClose: j.syncClose, AskAll: j.askAll,
		NoIndex: j.noAttrIndex || j.source.scheme == "glacier", // a vault would archive each
		UID:     j.uid.id, GID: j.gid.id, FileMode: uint32(j.fileMode), DirMode: uint32(j.dirMode),
		Class: j.classes.choose, Recall: recall,
		Log: log, Debug: j.logLevel.value == "debug",
	})
}

// warm opens the bucket before a program waits for that. What is wrong a program will hear.
func (j *job) warm(ctx context.Context, m *fs.Mount) {
	if j.source.bucket == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	_, _ = m.Locate(ctx, "") // see above
}

// unmountFS takes m from the mount table; EBUSY if a program uses it.
func unmountFS(ctx context.Context, m *fs.Mount) error { return m.Unmount() }

func pendingOf(m *fs.Mount) pending {
	s := m.Queue().Stats()
	return pending{Files: s.Pending, Bytes: s.Bytes, Failed: s.Failed}
}
