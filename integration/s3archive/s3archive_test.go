package s3archive

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// A desk is a client of the double, with a bucket.
type desk struct {
	*awss3.Client
	t      *testing.T
	double *Server
	clock  *Clock
	bucket string
}

// front puts the double in front of a server and returns its URL.
func front(t *testing.T, at servers.S3, change ...func(*Options)) (*Server, string) {
	t.Helper()
	o := Options{Endpoint: at.Endpoint, AccessKey: at.AccessKey, SecretKey: at.SecretKey, Region: at.Region}
	for _, fn := range change {
		fn(&o)
	}
	double := New(o)
	web := httptest.NewServer(double)
	t.Cleanup(func() { web.Close(); double.Close() })
	return double, web.URL
}

// newDesk is a client that does not try again.
func newDesk(t *testing.T, change ...func(*Options)) *desk {
	t.Helper()
	at, clock := servers.MinIO(t), &Clock{}
	double, url := front(t, at, append([]func(*Options){func(o *Options) { o.Now, o.Takes = clock.Now, Always(time.Hour) }}, change...)...)
	c := client(at, url)
	bucket := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	_, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &bucket})
	must(t, err)
	return &desk{c, t, double, clock, bucket}
}

func client(at servers.S3, url string) *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: &url, Region: at.Region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(at.AccessKey, at.SecretKey, ""),
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *desk) put(key, class string) {
	d.t.Helper()
	_, err := d.PutObject(d.t.Context(), &awss3.PutObjectInput{
		Bucket: &d.bucket, Key: &key, Body: strings.NewReader("content of " + key), StorageClass: types.StorageClass(class),
	})
	must(d.t, err)
}

func (d *desk) head(key string) *awss3.HeadObjectOutput {
	d.t.Helper()
	out, err := d.HeadObject(d.t.Context(), &awss3.HeadObjectInput{Bucket: &d.bucket, Key: &key})
	must(d.t, err)
	return out
}

// read returns the code of the error of a GET, "" for success.
func (d *desk) read(key string) string {
	d.t.Helper()
	out, err := d.GetObject(d.t.Context(), &awss3.GetObjectInput{Bucket: &d.bucket, Key: &key})
	if err == nil {
		must(d.t, out.Body.Close())
	}
	return code(err)
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// restore asks for key; a negative number of days names none. It returns status and code.
func (d *desk) restore(key, tier string, days int32) (status int, errorCode string) {
	d.t.Helper()
	r := &types.RestoreRequest{}
	if days >= 0 {
		r.Days = &days
	}
	if tier != "" {
		r.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(tier)}
	}
	before := len(d.double.Requests())
	_, err := d.RestoreObject(d.t.Context(), &awss3.RestoreObjectInput{Bucket: &d.bucket, Key: &key, RestoreRequest: r})
	if all := d.double.Requests(); len(all) > before {
		status = all[len(all)-1].Status
	}
	return status, code(err)
}

func (d *desk) wantRestore(key, tier string, days int32, status int, errorCode string) {
	d.t.Helper()
	if st, c := d.restore(key, tier, days); st != status || c != errorCode {
		d.t.Errorf("restore(%s, %q, %d days) = %d %q, want %d %q", key, tier, days, st, c, status, errorCode)
	}
}

func TestRestoreObject(t *testing.T) {
	d := newDesk(t)
	d.put("k", "GLACIER")
	d.put("warm", "")
	if got := d.read("k"); got != "InvalidObjectState" {
		t.Errorf("GET of an archived object: %q", got)
	}
	if h := d.head("k"); h.StorageClass != "GLACIER" || h.Restore != nil {
		t.Errorf("HEAD: class %q, restore %v", h.StorageClass, h.Restore)
	}
	d.wantRestore("warm", "", 1, 403, "InvalidObjectState")
	d.wantRestore("k", "", -1, 400, "MalformedXML")
	d.wantRestore("k", "", 0, 400, "InvalidArgument")
	d.wantRestore("k", "Expedited", 1, 503, "GlacierExpeditedRetrievalNotAvailable")
	d.wantRestore("k", "Bulk", 2, 202, "")
	d.wantRestore("k", "Bulk", 2, 409, "RestoreAlreadyInProgress")
	d.wantRestore("k", "Standard", 3, 409, "RestoreAlreadyInProgress") // other days
	d.wantRestore("k", "Standard", 2, 202, "")                         // faster
	d.wantRestore("k", "Bulk", 2, 409, "RestoreAlreadyInProgress")     // slower
	if h := d.head("k"); aws.ToString(h.Restore) != `ongoing-request="true"` || d.read("k") != "InvalidObjectState" {
		t.Errorf("on its way: %v", h.Restore)
	}
	if paid := d.double.Paid(d.bucket, "k"); paid != 2 {
		t.Errorf("%d were paid for, want the first and the upgrade", paid)
	}
	ready := d.clock.Now().Add(time.Hour)
	d.clock.Advance(time.Hour)
	want := `ongoing-request="false", expiry-date="` + ready.UTC().Truncate(24*time.Hour).AddDate(0, 0, 3).Format(http.TimeFormat) + `"`
	if h := d.head("k"); aws.ToString(h.Restore) != want || h.StorageClass != "GLACIER" {
		t.Errorf("restored: %q, class %q, want %q", aws.ToString(h.Restore), h.StorageClass, want)
	}
	if got := d.read("k"); got != "" {
		t.Errorf("GET of a restored object: %q", got)
	}
	d.wantRestore("k", "", 9, 200, "")
	d.clock.Advance(4 * 24 * time.Hour)
	if got := d.read("k"); got != "" {
		t.Errorf("GET of a copy that was extended: %q", got)
	}
	d.clock.Advance(6 * 24 * time.Hour)
	if h := d.head("k"); h.Restore != nil || d.read("k") != "InvalidObjectState" {
		t.Errorf("lapsed: %v", h.Restore)
	}
	d.wantRestore("k", "", 1, 202, "")
	if paid := d.double.Paid(d.bucket, "k"); paid != 3 {
		t.Errorf("%d were paid for, want 3", paid)
	}
	d.double.Deny(true)
	d.put("other", "GLACIER")
	d.wantRestore("other", "", 1, 403, "AccessDenied")
}

func TestDeepArchive(t *testing.T) {
	d := newDesk(t, func(o *Options) { o.Expedited = true })
	d.put("deep", "DEEP_ARCHIVE")
	d.put("glacier", "GLACIER")
	d.wantRestore("deep", "Expedited", 1, 400, "InvalidArgument")
	d.wantRestore("glacier", "Expedited", 1, 202, "")
	d.wantRestore("deep", "", 1, 202, "")
}

func TestIntelligentTiering(t *testing.T) {
	d := newDesk(t)
	d.put("k", "INTELLIGENT_TIERING")
	if h := d.head("k"); h.StorageClass != "INTELLIGENT_TIERING" || h.ArchiveStatus != "" || d.read("k") != "" {
		t.Errorf("not archived: %+v", h)
	}
	d.wantRestore("k", "", -1, 403, "ObjectAlreadyInActiveTierError")
	if !d.double.Archive(d.bucket, "k", ArchiveAccess) {
		t.Fatal("there is nothing to archive")
	}
	if h := d.head("k"); h.ArchiveStatus != ArchiveAccess || d.read("k") != "InvalidObjectState" {
		t.Errorf("archived: %+v", h)
	}
	d.wantRestore("k", "", 1, 400, "InvalidArgument")
	d.wantRestore("k", "Standard", -1, 202, "")
	if h := d.head("k"); aws.ToString(h.Restore) != `ongoing-request="true"` || h.ArchiveStatus == "" {
		t.Errorf("on its way: %+v", h)
	}
	d.clock.Advance(100 * 24 * time.Hour)
	if h := d.head("k"); h.Restore != nil || h.ArchiveStatus != "" || d.read("k") != "" {
		t.Errorf("back for good: %+v", h)
	}
}

func TestCopiesOfArchivedObjects(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	d.put("k ü+%/x", "GLACIER")
	source := d.bucket + "/k%20%C3%BC%2B%25%2Fx"
	copyTo := func(class types.StorageClass) string {
		_, err := d.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &d.bucket, Key: aws.String("copy"), CopySource: &source, StorageClass: class})
		return code(err)
	}
	if got := copyTo(""); got != "ObjectNotInActiveTierError" {
		t.Errorf("copy: %q", got)
	}
	up, err := d.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &d.bucket, Key: aws.String("assembled"), StorageClass: "DEEP_ARCHIVE"})
	must(t, err)
	part := func() (*types.CompletedPart, error) {
		out, err := d.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: &d.bucket, Key: up.Key, UploadId: up.UploadId, PartNumber: aws.Int32(1), CopySource: &source})
		if err != nil {
			return nil, err
		}
		return &types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: aws.Int32(1)}, nil
	}
	if _, err := part(); code(err) != "ObjectNotInActiveTierError" {
		t.Errorf("copy of a part: %v", err)
	}
	d.wantRestore("k ü+%/x", "", 1, 202, "")
	d.clock.Advance(time.Hour)
	if got := copyTo("INTELLIGENT_TIERING"); got != "" {
		t.Errorf("copy of a restored object: %q", got)
	}
	if h := d.head("copy"); h.StorageClass != "INTELLIGENT_TIERING" || h.Restore != nil {
		t.Errorf("the copy: %+v", h)
	}
	p, err := part()
	must(t, err)
	_, err = d.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: &d.bucket, Key: up.Key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{*p}},
	})
	must(t, err)
	if h := d.head("assembled"); h.StorageClass != "DEEP_ARCHIVE" || d.read("assembled") != "InvalidObjectState" {
		t.Errorf("assembled: %+v", h)
	}
	d.put("assembled", "")
	if h := d.head("assembled"); h.StorageClass != "" || d.read("assembled") != "" {
		t.Errorf("replaced: %+v", h)
	}
	if _, err := d.PutObject(ctx, &awss3.PutObjectInput{Bucket: &d.bucket, Key: aws.String("x"), StorageClass: "ICEBERG"}); code(err) != "InvalidStorageClass" {
		t.Errorf("an unknown class: %v", err)
	}
}

func TestListings(t *testing.T) {
	d := newDesk(t)
	for key, class := range map[string]string{"archived &<>": "GLACIER", "restored ü+": "DEEP_ARCHIVE", "restoring": "GLACIER", "tiered": "INTELLIGENT_TIERING", "warm": ""} {
		d.put(key, class)
	}
	d.double.Archive(d.bucket, "tiered", ArchiveAccess)
	d.wantRestore("restored ü+", "", 1, 202, "")
	d.clock.Advance(time.Hour)
	d.wantRestore("restoring", "", 1, 202, "")
	for _, asked := range []bool{false, true} {
		in := &awss3.ListObjectsV2Input{Bucket: &d.bucket}
		if asked {
			in.OptionalObjectAttributes = []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}
		}
		out, err := d.ListObjectsV2(t.Context(), in)
		must(t, err)
		var got []string
		for _, o := range out.Contents {
			line := *o.Key + ": " + string(o.StorageClass)
			if s := o.RestoreStatus; s != nil && aws.ToBool(s.IsRestoreInProgress) {
				line += " in progress"
			} else if s != nil && s.RestoreExpiryDate.After(time.Now()) {
				line += " readable"
			}
			got = append(got, line)
		}
		want := "archived &<>: GLACIER, restored ü+: DEEP_ARCHIVE readable, restoring: GLACIER in progress, tiered: INTELLIGENT_TIERING, warm: STANDARD"
		if !asked {
			want = strings.NewReplacer(" readable", "", " in progress", "").Replace(want)
		}
		if list := strings.Join(got, ", "); list != want {
			t.Errorf("listing (status asked for: %v):\n%s\nwant\n%s", asked, list, want)
		}
	}
}

// TestMotoAgrees holds against an implementation of others what both know.
func TestMotoAgrees(t *testing.T) {
	double := newDesk(t)
	at := servers.Moto(t)
	moto := &desk{client(at, at.Endpoint), t, nil, nil, "agrees"}
	_, err := moto.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &moto.bucket})
	must(t, err)
	say := func(d *desk) (said []string) {
		add := func(what string) { said = append(said, what) }
		d.put("k", "GLACIER")
		h := d.head("k")
		add(string(h.StorageClass) + " " + aws.ToString(h.Restore))
		_, err := d.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &d.bucket, Key: aws.String("k")})
		var state *types.InvalidObjectState
		if errors.As(err, &state) {
			add(code(err) + " of class " + string(state.StorageClass))
		}
		_, err = d.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: &d.bucket, Key: aws.String("copy"), CopySource: aws.String(d.bucket + "/k")})
		add(code(err))
		d.put("warm", "")
		_, err = d.RestoreObject(t.Context(), &awss3.RestoreObjectInput{Bucket: &d.bucket, Key: aws.String("warm"), RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1)}})
		add(code(err))
		_, err = d.RestoreObject(t.Context(), &awss3.RestoreObjectInput{Bucket: &d.bucket, Key: aws.String("k"), RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1)}})
		add(code(err))
		return said
	}
	a, b := say(double), say(moto)
	if strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("the double says\n%s\nmoto says\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// TestContract: thawfs's own driver keeps its contract over the double, with objects that are
// archived. versitygw behind it holds keys that MinIO does not.
func TestContract(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole contract takes a minute: make test-slow runs it")
	}
	backendtest.Run(t, func(t *testing.T) backend.Service {
		at := servers.VersityGW(t)
		_, url := front(t, at, func(o *Options) { o.Takes = Always(200 * time.Millisecond) })
		svc, err := s3.New(context.Background(), s3.Options{Endpoint: url, AccessKey: at.AccessKey, SecretKey: at.SecretKey, Region: at.Region})
		must(t, err)
		return svc
	})
}
