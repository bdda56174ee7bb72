package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/integration/servers"
)

// keys are the environment of a client of an S3 server.
func keys(s servers.S3) []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_REGION=" + s.Region}
}

// TestStartUpErrorsOfStores: what happened, to what, what to do, word for word.
func TestStartUpErrorsOfStores(t *testing.T) {
	gw := servers.VersityGW(t)
	minio := servers.MinIO(t)
	host := strings.TrimPrefix(gw.Endpoint, "http://")
	good := keys(gw)
	service, err := s3.New(t.Context(), s3.Options{Endpoint: gw.Endpoint, Region: gw.Region, AccessKey: gw.AccessKey, SecretKey: gw.SecretKey})
	if err == nil {
		err = service.CreateBucket(t.Context(), "photos")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.DeleteBucket(context.Background(), "photos"); err != nil {
			t.Error(err)
		}
	})

	for _, tt := range []struct {
		name string
		env  []string
		args string // of mount; without the mountpoint
		want string
	}{
		{
			"no such bucket, but a similar one", good, "--endpoint " + gw.Endpoint + " s3://photso",
			"thawfs: the bucket \"photso\" does not exist.\nDid you mean s3://photos?\n" +
				"Create it with mkdir in a mount of s3://, or with the tools of your provider.",
		},
		{
			"similar bucket, with prefix", good, "--endpoint " + gw.Endpoint + " s3://photo/a",
			"thawfs: the bucket \"photo\" does not exist.\nDid you mean s3://photos/a?\n" +
				"Create it with mkdir in a mount of s3://, or with the tools of your provider.",
		},
		{
			"no such bucket", good, "--endpoint " + gw.Endpoint + " s3://something-else",
			"thawfs: the bucket \"something-else\" does not exist.\n" +
				"Create it with mkdir in a mount of s3://, or with the tools of your provider.",
		},
		{
			"wrong key",
			[]string{"AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=x"},
			"--endpoint " + gw.Endpoint + " s3://",
			"thawfs: " + gw.Endpoint + " does not know the access key.\n" +
				"Check AWS_ACCESS_KEY_ID or the profile in ~/.aws/credentials, and --endpoint.",
		},
		{
			"wrong key for a bucket",
			[]string{"AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=x"},
			"--endpoint " + gw.Endpoint + " s3://photos",
			"thawfs: " + gw.Endpoint + " does not know the access key.\n" +
				"Check AWS_ACCESS_KEY_ID or the profile in ~/.aws/credentials, and --endpoint.",
		},
		{
			"wrong key for MinIO",
			[]string{"AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=x"},
			"--endpoint " + minio.Endpoint + " s3://",
			"thawfs: " + minio.Endpoint + " does not know the access key.\n" +
				"Check AWS_ACCESS_KEY_ID or the profile in ~/.aws/credentials, and --endpoint.",
		},
		{
			"wrong secret for MinIO",
			[]string{keys(minio)[0], "AWS_SECRET_ACCESS_KEY=x"},
			"--endpoint " + minio.Endpoint + " s3://photos",
			"thawfs: " + minio.Endpoint + " refuses the signature: the secret that belongs to the access key is another one.\n" +
				"Check AWS_SECRET_ACCESS_KEY or the profile in ~/.aws/credentials.",
		},
		{
			"wrong secret",
			[]string{good[0], "AWS_SECRET_ACCESS_KEY=x", good[2]},
			"--endpoint " + gw.Endpoint + " s3://photos",
			"thawfs: " + gw.Endpoint + " refuses the signature: the secret that belongs to the access key is another one.\n" +
				"Check AWS_SECRET_ACCESS_KEY or the profile in ~/.aws/credentials.",
		},
		{
			"no credentials", nil, "--endpoint " + gw.Endpoint + " s3://photos",
			"thawfs: no AWS credentials were found.\n" +
				"Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials, or: aws sso login\n" +
				"A public bucket is mounted with --anonymous.",
		},
		{
			"no such profile", nil, "--profile nobody --endpoint " + gw.Endpoint + " s3://photos",
			"thawfs: there is no AWS profile \"nobody\".\nSee the names in ~/.aws/config and ~/.aws/credentials.",
		},
		{
			"not public", nil, "--anonymous --endpoint " + gw.Endpoint + " s3://photos",
			"thawfs: s3://photos is not public.\nLeave --anonymous out and use credentials.",
		},
		{
			"endpoint of the environment without TLS", append([]string{"AWS_ENDPOINT_URL=https://" + host}, good...), "s3://photos",
			"thawfs: https://" + host + " does not speak TLS.\nWrite the endpoint with http:// if you trust the network between.",
		},
		{
			"nobody listens", good, "--endpoint http://" + closedPort(t) + " s3://photos",
			"thawfs: http://ADDR does not answer: connection refused.\nIs the server running? Check the host and the port of --endpoint.",
		},
		{
			"unknown host", good, "--endpoint http://store.invalid s3://photos",
			"thawfs: the host store.invalid is not known.\nCheck the spelling of --endpoint, and the network of this machine.",
		},
		{
			"certificate of nobody", good, "--endpoint " + untrustedServer(t) + " s3://photos",
			"thawfs: https://ADDR has a certificate that no known authority has signed.\n" +
				"Name the file with its authority in AWS_CA_BUNDLE, or install it on this machine.",
		},
		{
			"clock", good, "--endpoint " + answeringServer(t, "RequestTimeTooSkewed") + " s3://photos",
			"thawfs: http://ADDR refuses our requests because the clocks differ: here it is ...\n" +
				"Set the clock of this machine, for instance with: sudo timedatectl set-ntp true",
		},
		{
			"expired session", good, "--endpoint " + answeringServer(t, "ExpiredToken") + " s3://photos",
			"thawfs: the session token of the credentials is expired or wrong.\nGet a new one; for SSO with: aws sso login",
		},
		{
			"no right to list buckets", good, "--endpoint " + answeringServer(t, "AccessDenied") + " s3://",
			"thawfs: these credentials may not list the buckets of the account.\nName the bucket to mount: s3://BUCKET",
		},
		{
			"no right to the bucket", good, "--endpoint " + answeringServer(t, "AccessDenied") + " s3://photos",
			"thawfs: access to s3://photos is denied.\n" +
				"Check its name, and that the credentials allow s3:ListBucket and s3:GetObject there.\nA public bucket is mounted with --anonymous.",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.env...)
			args := append([]string{"mount"}, strings.Fields(tt.args)...)
			o := w.run(append(args, w.mkdir("mnt"))...)
			if strings.Contains(tt.want, "ADDR") {
				o.stderr = anyAddress(o.stderr)
			}
			if head, tail, ok := strings.Cut(tt.want, "..."); ok { // the time has passed
				if o.code != exitFailed || !strings.HasPrefix(o.stderr, head) || !strings.HasSuffix(o.stderr, tail+"\n") {
					t.Errorf("exit %d\n%swant\n%s", o.code, o.stderr, tt.want)
				}
				return
			}
			o.want(t, exitFailed, tt.want)
		})
	}
}

// anyAddress replaces loopback addresses.
func anyAddress(s string) string {
	before, after, ok := strings.Cut(s, "127.0.0.1:")
	if !ok {
		return s
	}
	return before + "ADDR" + strings.TrimLeft(after, "0123456789")
}

// closedPort is an address that nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	return l.Addr().String()
}

func untrustedServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of failed handshakes
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// answeringServer answers every request with an error of S3, as it stands in the API
// reference. The servers that tests can have do not let their clock be set or their keys expire.
func answeringServer(t *testing.T, code string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>No.</Message></Error>`, code))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}
