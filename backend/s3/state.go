package s3

import (
	"net/http"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/thawfs/thawfs/backend"
)

// archive reports whether objects of a class need a restore. GLACIER_IR does not, and a class
// that is not known is taken for one that can be read: the GET will tell.
func archive(class string) bool {
	return class == string(types.StorageClassGlacier) || class == string(types.StorageClassDeepArchive)
}

// headState tells from the headers of an answer to HEAD whether the bytes can be read. restore
// is x-amz-restore; tier is x-amz-archive-status, by which INTELLIGENT_TIERING shows the
// objects it has archived. The storage class stays an archive's while a restored copy exists.
func headState(class, restore, tier string, now time.Time) (backend.State, time.Time) {
	if !archive(class) && tier == "" {
		return backend.Online, time.Time{}
	}
	ongoing, until := parseRestore(restore)
	switch {
	case ongoing == "true":
		return backend.Restoring, time.Time{}
	case ongoing == "false" && (until.IsZero() || until.After(now)):
		return backend.Restored, until
	}
	// Never asked for, or the copy has served its time: S3 may remove it any moment.
	return backend.Archived, time.Time{}
}

// answeredAt is when an answer was given, by the clock of the server: the end of a copy is a time
// of that clock, and ours may be wrong by days without anybody noticing.
func answeredAt(answer middleware.Metadata) time.Time {
	if t, ok := awsmiddleware.GetServerTime(answer); ok && !t.IsZero() {
		return t
	}
	return time.Now()
}

// parseRestore reads x-amz-restore:
//
//	ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"
//
// S3's user guide shows it in single quotes too, versitygw sends it empty, and fields may
// follow that are not known.
func parseRestore(v string) (ongoing string, until time.Time) {
	return field(v, "ongoing-request"), parseTime(field(v, "expiry-date"))
}

// field finds name="value" with either sort of quotes or none.
func field(v, name string) string {
	_, rest, found := strings.Cut(v, name)
	if !found {
		return ""
	}
	rest = strings.TrimLeft(rest, " =")
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		value, _, _ := strings.Cut(rest[1:], rest[:1])
		return strings.TrimSpace(value)
	}
	value, _, _ := strings.Cut(rest, ",")
	return strings.Trim(value, ` "'`)
}

// parseTime reads a date as HTTP has it, also with the zone by offset; the zero time if it is
// none.
func parseTime(v string) time.Time {
	if t, err := http.ParseTime(v); err == nil {
		return t.UTC()
	}
	if t, err := time.Parse(time.RFC1123Z, v); err == nil {
		return t.UTC()
	}
	return time.Time{}
}

// listState tells the same from an entry of a listing. Servers that do not know of
// RestoreStatus there show restored objects as archived; HEAD is right.
func listState(class string, r *types.RestoreStatus, now time.Time) (backend.State, time.Time) {
	switch {
	case class == string(types.StorageClassIntelligentTiering):
		return backend.Unknown, time.Time{} // a listing does not name the tier (S3 user guide)
	case !archive(class):
		return backend.Online, time.Time{}
	case r == nil:
		return backend.Archived, time.Time{}
	case r.IsRestoreInProgress != nil && *r.IsRestoreInProgress:
		return backend.Restoring, time.Time{}
	case r.RestoreExpiryDate != nil && r.RestoreExpiryDate.After(now):
		return backend.Restored, r.RestoreExpiryDate.UTC()
	}
	return backend.Archived, time.Time{}
}
