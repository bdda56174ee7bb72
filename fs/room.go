package fs

import (
	iofs "io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What was read may be fetched again; what was written may not. So the cache leaves room on
// a disk for what waits for its upload: the kernel writes that by itself, and nobody could
// make room for it when the disk is full.

// cacheShare is how much of the space that is free, or holds cached data already, the cache
// may take: two fifths. The spool takes half of what is free unless it is told another size.
const cacheShare = 0.4

// cacheLimit is size, in bytes, or what the disk below dir can spare for cached data.
func cacheLimit(dir string, size int64) int64 {
	free, ok := freeBytes(dir)
	if !ok || size <= 0 {
		return size
	}
	have := int64(0)
	_ = filepath.WalkDir(dir, func(_ string, d iofs.DirEntry, err error) error { // a rough figure will do
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			have += info.Size()
		}
		return nil
	})
	return min(size, int64(float64(free+have)*cacheShare))
}

// spoolDefault is half of what is free on the disk below dir, in bytes.
func spoolDefault(dir string) int64 {
	if free, ok := freeBytes(dir); ok {
		return free / 2
	}
	return 10 << 30
}

// freeBytes is what is free on the disk that dir is on, or will be on.
func freeBytes(dir string) (int64, bool) {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil {
		parent := filepath.Dir(dir)
		if parent == dir {
			return 0, false
		}
		dir = parent
	}
	return int64(st.Bavail) * st.Bsize, true
}
