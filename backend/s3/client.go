package s3

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/thawfs/thawfs/backend"
)

const (
	maxAttempts  = 8
	firstBackoff = 100 * time.Millisecond // doubles; the wait is a random part of it
	maxBackoff   = 10 * time.Second

	connectLimit  = 10 * time.Second
	idleLimit     = 90 * time.Second
	silenceLimit  = time.Minute      // no byte from the server, before or inside an answer
	patientLimit  = 15 * time.Minute // the same while it copies or assembles gigabytes
	bufferSize    = 64 << 10         // bytes, each way a connection: measured best
	idlePerHost   = 256              // connections; fewer than requests in flight means dialing anew
	tcpUserExpiry = 0x12             // TCP_USER_TIMEOUT: sent bytes that nobody acknowledges
)

// configure reads the configuration of the environment and fetches credentials once, so that
// their absence is told before anything is mounted.
func (s *Service) configure(ctx context.Context) error {
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(transport(silenceLimit)),
		config.WithRetryer(newRetryer),
		config.WithLogger(sdkLogger{s.log}),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if s.o.Region != "" {
		opts = append(opts, config.WithRegion(s.o.Region))
	}
	if s.o.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(s.o.Profile))
	}
	switch {
	case s.o.Anonymous:
		opts = append(opts, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case s.o.AccessKey != "":
		opts = append(opts, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(s.o.AccessKey, s.o.SecretKey, s.o.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return fmt.Errorf("%w: %w", backend.ErrInvalid, err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if s.o.Endpoint != "" {
		u, err := url.Parse(s.o.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("%w: endpoint %q is no http or https URL", backend.ErrInvalid, s.o.Endpoint)
		}
	}
	if !s.o.Anonymous {
		cfg.Credentials = keyring{cfg.Credentials}
		if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
			return translate(ctx, err)
		}
	}
	s.config = cfg
	// The endpoint may also come from the environment or the profile.
	if base := s.home().Options().BaseEndpoint; base != nil {
		s.custom = !amazon(*base)
		s.mu.Lock()
		clear(s.regions) // built before it was known
		s.mu.Unlock()
	}
	return nil
}

// amazon reports whether an endpoint is AWS itself.
func amazon(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// newClient builds the SDK's client for a region.
func (s *Service) newClient(region string) *client {
	cfg := s.config.Copy()
	cfg.Region = region
	cfg.HTTPClient = s.wrap(s.config.HTTPClient)
	c := &client{patient: s.wrap(s.patientTransport())}
	c.Client = awss3.NewFromConfig(cfg, func(o *awss3.Options) {
		if s.o.Endpoint != "" {
			o.BaseEndpoint = &s.o.Endpoint
		}
		o.UsePathStyle = s.o.Addressing == "path" || s.o.Addressing != "virtual" && s.custom
		// Look-alike bucket names on other servers are ordinary buckets.
		o.DisableS3ExpressSessionAuth = aws.Bool(s.custom)
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	return c
}

// patientTransport is the configured transport (with its CA bundle, if the environment names
// one) but for the time it waits for an answer.
func (s *Service) patientTransport() aws.HTTPClient {
	if b, ok := s.config.HTTPClient.(*awshttp.BuildableClient); ok {
		return b.WithReadTimeout(patientLimit).WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = patientLimit
		})
	}
	return s.config.HTTPClient
}

// waiting is an option for operations that take a server minutes.
func (c *client) waiting(o *awss3.Options) { o.HTTPClient = c.patient }

// transport is HTTP/1.1 with the sizes measured best against servers near and far. HTTP/2
// would send all requests through one connection, whose window they share.
func transport(silence time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithReadTimeout(silence).
		WithDialerOptions(func(d *net.Dialer) {
			d.Timeout = connectLimit
			d.Control = func(_, _ string, c syscall.RawConn) error {
				var failed error
				err := c.Control(func(fd uintptr) {
					failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserExpiry, int(silenceLimit.Milliseconds()))
				})
				if err != nil {
					return err
				}
				return failed
			}
		}).
		WithTransportOptions(func(t *http.Transport) {
			t.ForceAttemptHTTP2 = false
			t.Protocols = new(http.Protocols)
			t.Protocols.SetHTTP1(true)
			t.DisableCompression = true
			t.ReadBufferSize, t.WriteBufferSize = bufferSize, bufferSize
			t.MaxIdleConns, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 0, idlePerHost, 0
			t.IdleConnTimeout = idleLimit
			t.ResponseHeaderTimeout = silence
		})
}

// newRetryer tries a request again when it may help, without the SDK's common budget of
// retries: that empties when an endpoint is down for many workers, whose requests then fail at
// once and come back at once (aws-sdk-go-v2 issue 3413).
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return backoff(attempt), nil
		})
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(neverAgain)}, o.Retryables...)
	})
}

// backoff is how long to wait behind the attempt (from 0): between a half and the whole of a
// time that doubles.
func backoff(attempt int) time.Duration {
	d := min(firstBackoff<<min(attempt, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}

// keyring marks what goes wrong in finding credentials.
type keyring struct{ aws.CredentialsProvider }

func (k keyring) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := k.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		return c, fmt.Errorf("%w: %w", backend.ErrCredentials, err)
	}
	return c, err
}

// sdkLogger makes the SDK's remarks records of ours.
type sdkLogger struct{ log *slog.Logger }

func (l sdkLogger) Logf(_ logging.Classification, format string, v ...any) {
	l.log.Debug("sdk", "remark", fmt.Sprintf(format, v...))
}

// wrap lays the meter and the tests' hook around an HTTP client.
func (s *Service) wrap(c aws.HTTPClient) aws.HTTPClient {
	rt := s.meter.Transport(unwrapped{c}, operation)
	if s.o.Wrap != nil {
		rt = s.o.Wrap(rt)
	}
	return wrapped{rt}
}

type (
	unwrapped struct{ c aws.HTTPClient }
	wrapped   struct{ rt http.RoundTripper }
)

func (u unwrapped) RoundTrip(r *http.Request) (*http.Response, error) { return u.c.Do(r) }
func (w wrapped) Do(r *http.Request) (*http.Response, error)          { return w.rt.RoundTrip(r) }
