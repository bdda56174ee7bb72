package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// connectLimit bounds all that is asked of a store before a mount serves.
const connectLimit = 45 * time.Second

// connect makes sure that service shows what j names and that it can be read: whoever mounts
// learns of a wrong name or key now, and not by an I/O error later.
func (j *job) connect(ctx context.Context, service backend.Service) error {
	s := j.source
	if s.bucket == "" {
		for _, err := range service.Buckets(ctx) {
			return err
		}
		return nil
	}
	store, err := service.Open(ctx, s.bucket)
	if errors.Is(err, backend.ErrNotExist) && code(err) == "" {
		return noBucket(ctx, service, s, err)
	}
	if err != nil {
		return err
	}
	for _, err := range store.List(ctx, s.prefix, "", backend.ListOptions{Delimited: true, PageSize: 1}) {
		return err
	}
	return nil
}

// noBucket says that a bucket is missing and which one may be meant.
func noBucket(ctx context.Context, service backend.Service, s source, err error) error {
	do := fmt.Sprintf("Create it with mkdir in a mount of %s, or with the tools of your provider.", s.whole())
	var names []string
	for b, err := range service.Buckets(ctx) {
		if code(err) != "" { // that is the reason: an answer to HEAD had no words for it
			return err
		}
		if err != nil { // not everybody may list them
			break
		}
		names = append(names, b.Name)
	}
	if name, ok := similar(s.bucket, names); ok {
		other := s
		other.bucket = name
		do = "Did you mean " + other.String() + "?\n" + do
	}
	what := "bucket"
	if s.scheme == "glacier" {
		what = "vault"
	}
	return wrong(fmt.Sprintf("the %s %q does not exist", what, s.bucket), do).because(err)
}

// explain says what a store's error means at start-up and what to do.
func (j *job) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, say := range []func(context.Context, error) *problem{j.time, j.local, j.swiftProblem, j.vaults, j.keys, j.network, j.access} {
		if p := say(ctx, err); p != nil {
			return p.because(err)
		}
	}
	return wrong(fmt.Sprintf("%s cannot be mounted: %s", j.source, words(err)), "").because(err)
}

// words are what the store said, without our own words around them.
func words(err error) string {
	if e, ok := errors.AsType[*backend.Error](err); ok {
		err = e.Err
	}
	return strings.TrimSuffix(strings.TrimPrefix(err.Error(), backend.ErrCredentials.Error()+": "), ".")
}

// time explains that somebody or something did not want to wait.
func (j *job) time(ctx context.Context, err error) *problem {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &problem{What: "interrupted, nothing is mounted", Code: 130}
	case errors.Is(err, context.DeadlineExceeded):
		return wrong(fmt.Sprintf("%s did not answer within %v", j.place(), connectLimit), "Check --endpoint, and what is between: proxies, firewalls.")
	}
	return nil
}

// local explains the errors of a store in a directory.
func (j *job) local(_ context.Context, err error) *problem {
	if j.source.scheme != "local" {
		return nil
	}
	do := "Choose a directory that you can write to."
	if errors.Is(err, backend.ErrInvalid) {
		return wrong(j.source.dir+" is neither empty nor a store of thawfs", "Choose an empty directory, or one that thawfs has made.")
	}
	return wrong(fmt.Sprintf("the store %s cannot be used: %s", j.source.dir, words(err)), do)
}

// place is who answers for an S3 source.
func (j *job) place() string {
	if j.source.scheme == swiftScheme {
		return redact(j.door())
	}
	if e := j.givenEndpoint(); e != "" {
		return redact(e)
	}
	return "AWS"
}

// serverWords are the error codes of S3 (API reference, "Error responses") that call for
// advice of their own. No other layer needs to tell them apart, so they have no sentinels: an
// error's text holds the service's own words, and the code is one of them.
var serverWords = []string{
	"InvalidAccessKeyId", "XAdminUserNotFound" /* versitygw */, "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken", "InvalidToken",
	"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException",
}

func code(err error) string {
	if err == nil {
		return ""
	}
	for _, w := range serverWords {
		if strings.Contains(err.Error(), w) {
			return w
		}
	}
	return ""
}

// keys explains refused and missing credentials.
func (j *job) keys(_ context.Context, err error) *problem {
	whose := "the access key"
	if j.profile != "" {
		whose += " of the profile " + quote(j.profile)
	}
	switch code(err) {
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return wrong(fmt.Sprintf("%s does not know %s", j.place(), whose), "Check AWS_ACCESS_KEY_ID or the profile in ~/.aws/credentials, and --endpoint.")
	case "SignatureDoesNotMatch":
		return wrong(fmt.Sprintf("%s refuses the signature: the secret that belongs to %s is another one", j.place(), whose),
			"Check AWS_SECRET_ACCESS_KEY or the profile in ~/.aws/credentials.")
	case "RequestTimeTooSkewed":
		return wrong(j.place()+" refuses our requests because the clocks differ: here it is "+time.Now().UTC().Format(time.DateTime)+" UTC",
			"Set the clock of this machine, for instance with: sudo timedatectl set-ntp true")
	case "ExpiredToken", "InvalidToken":
		return wrong("the session token of the credentials is expired or wrong", "Get a new one; for SSO with: aws sso login"+j.profileFlag())
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		return wrong(fmt.Sprintf("%s is in another region", j.source), "Name it with --region.")
	}
	if errors.Is(err, backend.ErrCredentials) {
		return j.noKeys(err)
	}
	return nil
}

// noKeys explains that the search for credentials came to nothing.
func (j *job) noKeys(err error) *problem {
	what := "no AWS credentials were found"
	if j.profile != "" || keysConfigured() {
		what = "the AWS credentials cannot be used: " + words(err)
	}
	return wrong(what, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials, or: aws sso login"+j.profileFlag()+
		"\nA public bucket is mounted with --anonymous.")
}

// keysConfigured reports whether there is any of what AWS tools look for, but for the
// metadata of a machine at AWS.
func keysConfigured() bool {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	home, _ := os.UserHomeDir() // without one there are no files
	for name, file := range map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "credentials", "AWS_CONFIG_FILE": "config"} {
		if _, err := os.Stat(cmp.Or(os.Getenv(name), filepath.Join(home, ".aws", file))); err == nil {
			return true
		}
	}
	return false
}

func (j *job) profileFlag() string {
	if j.profile == "" {
		return ""
	}
	return " --profile " + shellQuote(j.profile)
}

// access explains what good credentials are not allowed to do, and configuration that is bad.
func (j *job) access(_ context.Context, err error) *problem {
	switch {
	case errors.Is(err, backend.ErrPermission) && j.anonymous:
		return wrong(fmt.Sprintf("%s is not public", j.source), "Leave --anonymous out and use credentials.")
	case errors.Is(err, backend.ErrPermission) && j.source.bucket == "":
		return wrong("these credentials may not list the buckets of the account", "Name the bucket to mount: s3://BUCKET")
	case errors.Is(err, backend.ErrPermission):
		return wrong(fmt.Sprintf("access to %s is denied", j.source),
			"Check its name, and that the credentials allow s3:ListBucket and s3:GetObject there.\nA public bucket is mounted with --anonymous.")
	case errors.Is(err, backend.ErrInvalid) && j.profile != "" && strings.Contains(err.Error(), "profile"):
		return wrong("there is no AWS profile "+quote(j.profile), "See the names in ~/.aws/config and ~/.aws/credentials.")
	case errors.Is(err, backend.ErrUnavailable):
		return wrong(j.place()+" is not available: "+words(err), "Try again later. If it stays so, check --endpoint.")
	}
	return nil
}
