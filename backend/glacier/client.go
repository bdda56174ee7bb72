package glacier

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/smithy-go/logging"

	"github.com/thawfs/thawfs/backend"
)

const (
	maxAttempts  = 6
	maxBackoff   = 10 * time.Second
	connectLimit = 10 * time.Second
	silenceLimit = 2 * time.Minute // no answer, or no byte in it: a Complete assembles for a while
	perHost      = 64              // connections
)

// newClient reads the configuration of the environment, as every AWS tool does, and fetches
// credentials once, so that their absence is told before anything is mounted.
func newClient(ctx context.Context, o Options, log *slog.Logger) (*awsglacier.Client, error) {
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%w: endpoint %q is no http or https URL", backend.ErrInvalid, o.Endpoint)
		}
	}
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(transport()),
		config.WithRetryer(newRetryer),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			log.Debug("sdk", slog.String("remark", fmt.Sprintf(format, v...)))
		})),
		config.WithRegion(o.Region), // "" leaves it to the environment
	}
	if o.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(o.Profile))
	}
	if o.AccessKey != "" {
		opts = append(opts, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrInvalid, err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %s", backend.ErrCredentials, err)
	}
	if o.Wrap != nil {
		cfg.HTTPClient = wrapped{o.Wrap(unwrapped{cfg.HTTPClient})}
	}
	return awsglacier.NewFromConfig(cfg, func(c *awsglacier.Options) {
		if o.Endpoint != "" {
			c.BaseEndpoint = &o.Endpoint
		}
	}), nil
}

func transport() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithReadTimeout(silenceLimit).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectLimit }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = perHost, silenceLimit
		})
}

// newRetryer tries again what may help, without the common budget of retries, which is empty
// for everybody when many workers meet a service that is down.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = maxAttempts, maxBackoff, ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(neverAgain)}, o.Retryables...)
	})
}

// neverAgain stops the retryer where another attempt is answered in the same way.
func neverAgain(err error) aws.Ternary {
	switch codeOf(err) {
	case codePolicy, codeCapacity, codeClosed:
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// oneAttempt is for requests that must not be sent twice: each InitiateJob that arrives is
// a job that is paid for, whether or not its answer arrives here.
func oneAttempt(o *awsglacier.Options) { o.RetryMaxAttempts = 1 }

// The tests' hook lies around the SDK's HTTP client.
type (
	unwrapped struct{ c aws.HTTPClient }
	wrapped   struct{ rt http.RoundTripper }
)

func (u unwrapped) RoundTrip(r *http.Request) (*http.Response, error) { return u.c.Do(r) }
func (w wrapped) Do(r *http.Request) (*http.Response, error)          { return w.rt.RoundTrip(r) }
