package recall

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

const day = 24 * time.Hour

// Storage classes and tiers as S3 has them. Stores with other words are served too: they
// get the tier that was asked for, or none.
const (
	glacier     = "GLACIER"
	deepArchive = "DEEP_ARCHIVE"
	tiering     = "INTELLIGENT_TIERING"
	vault       = "VAULT" // of stores that archive everything and keep copies for a day

	expedited = "Expedited"
	standard  = "Standard"
	bulk      = "Bulk"
)

// A span is how long a restore takes: at least, at most.
type span struct{ least, most time.Duration }

// spans is the table in "Archive retrieval options" of the S3 user guide. Where it has no
// lower bound, half of the upper one stands: looking then is early enough.
var spans = map[string]map[string]span{
	glacier: {
		expedited: {time.Minute, 5 * time.Minute},
		standard:  {3 * time.Hour, 5 * time.Hour},
		bulk:      {5 * time.Hour, 12 * time.Hour},
	},
	vault: {
		expedited: {time.Minute, 5 * time.Minute},
		standard:  {3 * time.Hour, 5 * time.Hour},
		bulk:      {5 * time.Hour, 12 * time.Hour},
	},
	deepArchive: {
		standard: {6 * time.Hour, 12 * time.Hour},
		bulk:     {24 * time.Hour, 48 * time.Hour},
	},
	// Of objects in its Archive Access tier. Those in Deep Archive Access are as slow as
	// DEEP_ARCHIVE, but no state of an object tells them apart.
	tiering: {
		expedited: {time.Minute, 5 * time.Minute},
		standard:  {3 * time.Hour, 12 * time.Hour},
		bulk:      {5 * time.Hour, 48 * time.Hour},
	},
}

// usual is how long a restore takes where nobody knows better.
func usual(class, tier string) span {
	if s, ok := spans[class][tier]; ok {
		return s
	}
	return span{0, 12 * time.Hour}
}

// tierFor returns the tier to ask for: the one that is wanted, else what is good for one
// object or a whole tree. Expedited costs two hundred times as much and is never chosen.
func tierFor(class, wanted string, tree bool) (string, error) {
	if tiers := spans[class]; wanted != "" && tiers != nil && tiers[wanted] == (span{}) {
		return "", fmt.Errorf("%w: objects of class %s have no tier %q, but %s",
			backend.ErrInvalid, class, wanted, strings.Join(slices.Sorted(maps.Keys(tiers)), ", "))
	}
	switch {
	case wanted != "":
		return wanted, nil
	case spans[class] == nil:
		return "", nil
	case tree:
		return bulk, nil
	}
	return standard, nil
}

// daysFor leaves out what a class does not have: objects that INTELLIGENT_TIERING archived
// come back for good (S3 user guide, "Restoring objects from the S3 Intelligent-Tiering
// Archive Access and Deep Archive Access tiers"), and how long copies of a VAULT stay is not
// ours to say.
func daysFor(class string, wanted, usual int) int {
	if class == tiering || class == vault {
		return 0
	}
	if wanted != 0 {
		return max(wanted, 0)
	}
	return max(usual, 0)
}

// faster reports whether a is a faster tier than b; of words that are not known it is not
// said.
func faster(a, b string) bool {
	order := []string{bulk, standard, expedited}
	i, j := slices.Index(order, a), slices.Index(order, b)
	return i > j && j >= 0
}

// A RestoreTimer is a store that knows how long its restores take, better than the table.
type RestoreTimer interface {
	RestoreTime(class, tier string) (least, most time.Duration)
}

// pace remembers how long stores really took, where that is less than they say. It is
// guarded by Manager.mu and bounded by the number of buckets, classes and tiers.
type pace map[[3]string]time.Duration

// expectLocked is how long a restore of class and tier in the bucket of ref takes.
func (m *Manager) expectLocked(store backend.Store, ref backend.Ref, class, tier string) span {
	s := usual(class, tier)
	if t, ok := store.(RestoreTimer); ok {
		s.least, s.most = t.RestoreTime(class, tier)
	}
	if took, ok := m.pace[[3]string{ref.Bucket, class, tier}]; ok && took < s.least {
		s = span{took / 2, 2 * took}
	}
	return s
}

// expects is expectLocked for a store that is not open yet.
func (m *Manager) expects(ctx context.Context, ref backend.Ref, class, tier string) span {
	store, err := m.o.Open(ctx, ref.Bucket)
	if err != nil {
		return usual(class, tier)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.expectLocked(store, ref, class, tier)
}

// tookLocked notes how long a job of ours took, or had taken at most when it was seen.
func (m *Manager) tookLocked(j *job, now time.Time) {
	if r := &j.rec; !r.Foreign && r.Tier != "" {
		m.pace[[3]string{j.ref.Bucket, r.Class, r.Tier}] = now.Sub(j.born)
	}
}
