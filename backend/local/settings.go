package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// format is the version of the layout. A store of a higher one is refused.
const format = 1

// restoreTime is what a Restore takes where nobody said otherwise: long enough to watch,
// short enough to wait for.
const restoreTime = 15 * time.Second

// settings is the content of store.json.
type settings struct {
	Format      int           `json:"thawfs_local_store"`
	RestoreTime time.Duration `json:"restore_time_ns,omitempty"`
}

// isStore tells from the names in a directory whether it is a store, be it one whose
// creation was cut short: nothing else is there.
func isStore(names []string) bool {
	ours := []string{"buckets", "lock", "locks", "store.json", "tmp"}
	return slices.Contains(names, "store.json") ||
		!slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(ours, n) })
}

// loadSettings reads store.json, writes what o changes in it and returns the restore time
// in force. The caller holds the lock of the store.
func (s *Service) loadSettings(o Options) (time.Duration, error) {
	var set settings
	b, err := os.ReadFile(s.path("store.json"))
	if err == nil {
		err = json.Unmarshal(b, &set)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: store.json: %w", backend.ErrCorrupt, err)
	}
	if set.Format > format {
		return 0, fmt.Errorf("%w: the store has format %d, this thawfs knows %d", backend.ErrUnsupported, set.Format, format)
	}
	want := set
	want.Format = format
	if o.RestoreTime != 0 {
		want.RestoreTime = o.RestoreTime
	}
	if want != set {
		if err := s.disk.writeJSON(s.path("store.json"), s.path("tmp", "store.json"), want); err != nil {
			return 0, err
		}
	}
	if want.RestoreTime == 0 {
		return restoreTime, nil
	}
	return want.RestoreTime, nil
}
