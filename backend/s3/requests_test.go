package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func TestABucketElsewhereIsReachedInItsRegion(t *testing.T) {
	s, w := over(t, amazonURL,
		says(301, "", "x-amz-bucket-region: eu-central-1"),
		says(200, "", "x-amz-bucket-region: eu-central-1"),
		says(200, "body", `ETag: "v1"`),
	)
	store, err := s.svc.Open(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), "k", "", 0, -1); err != nil {
		t.Fatal(err)
	}
	for i, region := range []string{"us-east-1", "eu-central-1", "eu-central-1"} {
		if auth := w.seen[i].Header.Get("Authorization"); !strings.Contains(auth, "/"+region+"/s3/") {
			t.Errorf("request %d is signed %q, want for %s", i, auth, region)
		}
	}
}

func TestRestoreAsksForWhatTheClassAllows(t *testing.T) {
	const hour = time.Hour
	for name, tt := range map[string]struct {
		headers   []string
		opts      backend.RestoreOptions
		want, not []string
	}{
		"days are rounded up": {[]string{"x-amz-storage-class: DEEP_ARCHIVE"}, backend.RestoreOptions{Tier: "Bulk", Keep: 25 * hour}, []string{"<Days>2</Days>", "<Tier>Bulk</Tier>"}, nil},
		"defaults":            {[]string{"x-amz-storage-class: GLACIER"}, backend.RestoreOptions{}, []string{"<Days>1</Days>"}, []string{"Tier"}},
		"intelligent tiering": {[]string{"x-amz-storage-class: INTELLIGENT_TIERING", "x-amz-archive-status: ARCHIVE_ACCESS"}, backend.RestoreOptions{Tier: "Standard", Keep: 48 * hour}, []string{"<Tier>Standard</Tier>"}, []string{"Days"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := over(t, amazonURL,
				says(200, "", append(tt.headers, "Content-Length: 3", `ETag: "v1"`)...),
				apiError(409, "RestoreAlreadyInProgress", "on its way"),
			)
			if err := s.Restore(t.Context(), "k", tt.opts); err != nil {
				t.Fatalf("Restore of what is being restored = %v, want success", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(w.bodies[1], part) {
					t.Errorf("the request lacks %s: %s", part, w.bodies[1])
				}
			}
			for _, part := range tt.not {
				if strings.Contains(w.bodies[1], part) {
					t.Errorf("the request holds %s: %s", part, w.bodies[1])
				}
			}
		})
	}
}

func TestListDecodesKeysAndTellsTheState(t *testing.T) {
	page := func(inner string) step {
		return says(200, `<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType>`+inner+`</ListBucketResult>`)
	}
	s, w := over(t, elsewhere,
		page(`<IsTruncated>true</IsTruncated><NextContinuationToken>T1</NextContinuationToken>
			<Contents><Key>a+b%01</Key><Size>1</Size><ETag>"e"</ETag><LastModified>2026-11-22T10:00:00.987Z</LastModified></Contents>
			<Contents><Key>z%2B</Key><Size>2</Size><StorageClass>GLACIER</StorageClass></Contents>
			<CommonPrefixes><Prefix>d%20/</Prefix></CommonPrefixes>`),
		page(`<IsTruncated>false</IsTruncated>
			<Contents><Key>zz</Key><StorageClass>DEEP_ARCHIVE</StorageClass><RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>
			<Contents><Key>zzz</Key><StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2999-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus></Contents>`),
	)
	var got []string
	for e, err := range s.List(t.Context(), "", "", backend.ListOptions{Delimited: true}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%q %v %v %d", e.Key, e.Prefix, e.State, e.ModTime.Nanosecond()))
	}
	want := []string{`"a b\x01" false online 0`, `"d /" true online 0`, `"z+" false archived 0`, `"zz" false restoring 0`, `"zzz" false restored 0`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("List =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if q := w.seen[0].URL.Query(); q.Get("encoding-type") != "url" || w.seen[0].Header.Get("x-amz-optional-object-attributes") != "RestoreStatus" {
		t.Errorf("the listing was asked for with %v", w.seen[0].URL)
	}
}

func TestListInNoOrderIsAnErrorAndNotAGap(t *testing.T) {
	s, _ := over(t, elsewhere,
		says(200, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>T</NextContinuationToken><Contents><Key>m</Key></Contents></ListBucketResult>`),
		says(200, `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>`),
	)
	var failed error
	for _, err := range s.List(t.Context(), "", "", backend.ListOptions{}) {
		failed = err
	}
	if !errors.Is(failed, backend.ErrUnsupported) {
		t.Errorf("List ended with %v, want ErrUnsupported", failed)
	}
}

func TestDeleteBatchTellsEachKeyThatMayStillExist(t *testing.T) {
	s, w := over(t, elsewhere,
		says(204, ""),
		says(200, `<DeleteResult><Error><Key>held</Key><Code>AccessDenied</Code><Message>locked</Message></Error><Error><Key>gone</Key><Code>NoSuchKey</Code></Error></DeleteResult>`),
	)
	failed := s.DeleteBatch(t.Context(), []string{"held", "gone", "fine", "bell\x07"})
	if len(failed) != 1 || !errors.Is(failed["held"], backend.ErrPermission) {
		t.Errorf("DeleteBatch = %v, want ErrPermission for the one key that is held", failed)
	}
	for i, r := range w.seen {
		batch := r.Method == http.MethodPost
		if batch != (r.Header.Get("Content-MD5") != "") || r.Header.Get("x-amz-checksum-crc32") != "" {
			t.Errorf("request %d (%s) has Content-MD5 %q, CRC32 %q, want the MD5 alone", i, r.Method, r.Header.Get("Content-MD5"), r.Header.Get("x-amz-checksum-crc32"))
		}
		if batch && strings.Contains(w.bodies[i], "bell") {
			t.Error("a key that XML cannot hold is in the list")
		}
	}
}

func TestCreateBucketNamesTheRegionOnAWS(t *testing.T) {
	w := &script{t: t, steps: []step{says(404, ""), says(200, "")}}
	svc, err := New(t.Context(), Options{
		Region: "eu-west-3", AccessKey: "AKIDTEST", SecretKey: "verysecret", Endpoint: "https://s3.eu-west-3.amazonaws.com",
		Wrap: func(http.RoundTripper) http.RoundTripper { return w },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.CreateBucket(t.Context(), "photos"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.bodies[1], "<LocationConstraint>eu-west-3</LocationConstraint>") {
		t.Errorf("the request is %q", w.bodies[1])
	}
	if host := w.seen[1].URL.Host; host != "photos.s3.eu-west-3.amazonaws.com" {
		t.Errorf("it goes to %s, want the bucket in the name", host)
	}
}
