package s3

import (
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// FuzzRestoreHeader feeds the header that tells of a restored copy. Whatever a server writes
// there, an object of an archive is only readable if the header says so.
func FuzzRestoreHeader(f *testing.F) {
	for _, v := range []string{
		"", `ongoing-request="true"`, `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`,
		`ongoing-request='false', expiry-date='Fri, 21 Dec 2099 00:00:00 +0000', more="x"`, `ongoing-request=`, `"`,
	} {
		f.Add(v, "GLACIER", "")
		f.Add(v, "INTELLIGENT_TIERING", "ARCHIVE_ACCESS")
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, v, class, tier string) {
		state, until := headState(class, v, tier, now)
		ongoing, expires := parseRestore(v)
		switch {
		case !archive(class) && tier == "":
			if state != backend.Online {
				t.Errorf("an object that is not archived is %v", state)
			}
		case state == backend.Restored:
			if ongoing != "false" || !until.Equal(expires) || !until.IsZero() && !until.After(now) {
				t.Errorf("%q is taken for a copy until %v", v, until)
			}
		case state == backend.Online:
			t.Errorf("%q: an archived object is online", v)
		case !until.IsZero():
			t.Errorf("%q: %v until %v", v, state, until)
		}
	})
}

// FuzzContentRange feeds the header that tells which bytes an answer holds. What is taken for an
// answer to [off, off+n) lies there.
func FuzzContentRange(f *testing.F) {
	for _, v := range []string{"", "bytes 0-9/100", "bytes 0-9/*", "bytes */100", "bytes 5-4/10", "bytes 0-99999999999999999999/1"} {
		f.Add(int64(0), int64(10), v, int64(10))
	}
	f.Fuzz(func(t *testing.T, off, n int64, v string, length int64) {
		if off < 0 || n < -1 || n == 0 || length < 0 {
			return // never asked for, and never told by net/http
		}
		got, err := answered(off, n, v, &length)
		if err == nil && (got < 0 || n > 0 && got > n || got != length) {
			t.Errorf("answered(%d, %d, %q, %d) = %d", off, n, v, length, got)
		}
	})
}
