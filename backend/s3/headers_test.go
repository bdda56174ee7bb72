package s3

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

func TestAnyMetadataValueSurvivesAsAHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`(=\?|UTF-8|\?B\?|\?=| |a|ü|\n)*`),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		).Draw(t, "value")
		encoded := encodeWord(v)
		if !plain(encoded) || encoded == "" || encoded[0] == ' ' || encoded[len(encoded)-1] == ' ' {
			t.Fatalf("encodeWord(%q) = %q, which is no header", v, encoded)
		}
		if got := decodeWord(encoded); got != v {
			t.Fatalf("decodeWord(encodeWord(%q)) = %q", v, got)
		}
	})
}

func TestMetadataOfOthersIsRead(t *testing.T) {
	for _, tt := range []struct{ wire, want string }{
		{"1700000000.5", "1700000000.5"},
		{"%7B%22user.a%22%3A%22Yg%3D%3D%22%7D", "%7B%22user.a%22%3A%22Yg%3D%3D%22%7D"}, // s3fs
		{"=?UTF-8?Q?sch=C3=B6n?=", "schön"},
		{"=?UTF-8?B?w7bDtg==?= =?UTF-8?B?w7Y=?=", "ööö"},
		{"what=?ever", "what=?ever"},
		{"=?x-unknown?B?w7Y=?=", "=?x-unknown?B?w7Y=?="},
		{"raw \xc3\xb6", "raw ö"},
	} {
		if got := decodeWord(tt.wire); got != tt.want {
			t.Errorf("decodeWord(%q) = %q, want %q", tt.wire, got, tt.want)
		}
	}
}

func TestFramingIsNoEncoding(t *testing.T) {
	for wire, want := range map[string]string{"gzip": "gzip", "aws-chunked": "", "aws-chunked, gzip": "gzip", "gzip,aws-chunked": "gzip"} {
		if got := readHeader(nil, &wire, nil, nil, nil, nil)["content-encoding"]; got != want {
			t.Errorf("content-encoding %q is read as %q, want %q", wire, got, want)
		}
	}
}

func TestStateInHeaders(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	until := time.Date(2026, 12, 21, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, class, restore, tier string
		want                       backend.State
		until                      time.Time
	}{
		{"standard", "STANDARD", "", "", backend.Online, time.Time{}},
		{"instant retrieval", "GLACIER_IR", "", "", backend.Online, time.Time{}},
		{"a class nobody knows", "COLDLINE", "", "", backend.Online, time.Time{}},
		{"never asked for", "GLACIER", "", "", backend.Archived, time.Time{}},
		{"deep", "DEEP_ARCHIVE", "", "", backend.Archived, time.Time{}},
		{"tiered, archived", "INTELLIGENT_TIERING", "", "DEEP_ARCHIVE_ACCESS", backend.Archived, time.Time{}},
		{"tiered, coming", "INTELLIGENT_TIERING", `ongoing-request="true"`, "ARCHIVE_ACCESS", backend.Restoring, time.Time{}},
		{"tiered, online", "INTELLIGENT_TIERING", "", "", backend.Online, time.Time{}},
		{"coming", "GLACIER", `ongoing-request="true"`, "", backend.Restoring, time.Time{}},
		{"coming, single quotes", "GLACIER", `ongoing-request='true'`, "", backend.Restoring, time.Time{}},
		{"coming, no quotes", "GLACIER", `ongoing-request = true`, "", backend.Restoring, time.Time{}},
		{"there", "GLACIER", `ongoing-request="false", expiry-date="Mon, 21 Dec 2026 00:00:00 GMT"`, "", backend.Restored, until},
		{"there, more fields", "GLACIER", `x="y,z", ongoing-request="false", expiry-date="Mon, 21 Dec 2026 00:00:00 GMT", new="1"`, "", backend.Restored, until},
		{"there, other order", "GLACIER", `expiry-date='Mon, 21 Dec 2026 00:00:00 GMT', ongoing-request='false'`, "", backend.Restored, until},
		{"there, zone by offset", "GLACIER", `ongoing-request="false", expiry-date="Mon, 21 Dec 2026 00:00:00 +0000"`, "", backend.Restored, until},
		{"there, no end told", "GLACIER", `ongoing-request="false"`, "", backend.Restored, time.Time{}},
		{"has been there", "GLACIER", `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`, "", backend.Archived, time.Time{}},
		{"not a word of it", "GLACIER", `???`, "", backend.Archived, time.Time{}},
		{"a readable one that was restored elsewhere", "STANDARD", `ongoing-request="true"`, "", backend.Online, time.Time{}},
	} {
		if got, until := headState(tt.class, tt.restore, tt.tier, now); got != tt.want || !until.Equal(tt.until) {
			t.Errorf("%s: headState(%q, %q, %q) = %v until %v, want %v until %v", tt.name, tt.class, tt.restore, tt.tier, got, until, tt.want, tt.until)
		}
	}
}

func TestStateInListings(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	yes, no := true, false
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	for _, tt := range []struct {
		name  string
		class string
		r     *types.RestoreStatus
		want  backend.State
	}{
		{"standard", "STANDARD", nil, backend.Online},
		{"tiered", "INTELLIGENT_TIERING", nil, backend.Unknown}, // the tier is not in a listing
		{"archived", "GLACIER", nil, backend.Archived},
		{"empty", "GLACIER", &types.RestoreStatus{}, backend.Archived},
		{"coming", "DEEP_ARCHIVE", &types.RestoreStatus{IsRestoreInProgress: &yes}, backend.Restoring},
		{"there", "GLACIER", &types.RestoreStatus{IsRestoreInProgress: &no, RestoreExpiryDate: &future}, backend.Restored},
		{"has been there", "GLACIER", &types.RestoreStatus{IsRestoreInProgress: &no, RestoreExpiryDate: &past}, backend.Archived},
	} {
		if got, _ := listState(tt.class, tt.r, now); got != tt.want {
			t.Errorf("%s: listState = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The clock of this machine may be days off: whether a copy has ended is a matter of the server's.
func TestTheServersClockDecides(t *testing.T) {
	for name, off := range map[string]time.Duration{"ours is ahead": -20 * day, "ours is behind": 20 * day, "right": 0} {
		server := time.Now().Add(off)
		date := "Date: " + server.UTC().Format(http.TimeFormat)
		for in, want := range map[time.Duration]backend.State{time.Hour: backend.Restored, -time.Hour: backend.Archived} {
			end := server.Add(in).UTC()
			s, _ := over(t, elsewhere,
				says(200, "", date, "Content-Length: 5", `ETag: "v1"`, "x-amz-storage-class: GLACIER",
					`x-amz-restore: ongoing-request="false", expiry-date="`+end.Format(http.TimeFormat)+`"`),
				says(200, `<ListBucketResult><Contents><Key>k</Key><ETag>"v1"</ETag><Size>5</Size><StorageClass>GLACIER</StorageClass>`+
					`<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>`+end.Format(time.RFC3339)+
					`</RestoreExpiryDate></RestoreStatus></Contents></ListBucketResult>`, date),
			)
			obj, err := s.Head(t.Context(), "k")
			if err != nil || obj.State != want {
				t.Errorf("%s, it ends in %v: Head says %v, %v", name, in, obj.State, err)
			}
			for e, err := range s.List(t.Context(), "", "", backend.ListOptions{}) {
				if err != nil || e.State != want {
					t.Errorf("%s, it ends in %v: List says %v, %v", name, in, e.State, err)
				}
			}
		}
	}
}

const day = 24 * time.Hour
