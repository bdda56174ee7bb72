package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// An endpoint that is down is found by knocking at it: at once, where the driver would try
// for a while, and with the reason, of which the driver keeps only the words.

// endpointOf is the endpoint of the command line or the environment, empty for AWS.
func (o *options) endpointOf(scheme string) string {
	return cmp.Or(o.endpoint, os.Getenv("AWS_ENDPOINT_URL_"+strings.ToUpper(scheme)), os.Getenv("AWS_ENDPOINT_URL"))
}

// givenEndpoint is that of j's source.
func (j *job) givenEndpoint() string { return j.endpointOf(j.source.scheme) }

// door is the URL that answers first: of an S3 server, or where a cloud logs in.
func (j *job) door() string {
	if j.source.scheme == swiftScheme {
		a, _ := j.swiftAuth() // what is wrong with it is told when it is used
		return a.URL
	}
	return j.givenEndpoint()
}

// knock fails if nobody listens at the endpoint.
func (j *job) knock(ctx context.Context) error {
	if err := reach(ctx, j.door(), false); err != nil {
		if p := j.unreachable(err); p != nil {
			return p.because(err)
		}
	}
	return nil
}

// network explains why the store did not answer.
func (j *job) network(ctx context.Context, _ error) *problem {
	err := reach(ctx, j.door(), true)
	if err == nil {
		return nil
	}
	if p := j.unreachable(err); p != nil {
		return p
	}
	return j.untrusted(err)
}

// reach connects to endpoint, or the proxy to it, and with handshake speaks TLS.
func reach(ctx context.Context, endpoint string, handshake bool) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil // not given, or for the driver to complain about
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
		u, handshake = proxy, false
	}
	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	if !handshake || u.Scheme != "https" {
		return nil
	}
	return tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: authorities()}).HandshakeContext(ctx)
}

// authorities are those of AWS_CA_BUNDLE, which replaces the system's for the SDK; nil
// stands for the system's.
func authorities() *x509.CertPool {
	pem, err := os.ReadFile(os.Getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil
	}
	return pool
}

// unreachable explains that there is no connection.
func (j *job) unreachable(err error) *problem {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return wrong(fmt.Sprintf("the host %s is not known", dns.Name), "Check the spelling of --endpoint, and the network of this machine.")
	}
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return wrong(j.place()+" does not answer: connection refused", "Is the server running? Check the host and the port of --endpoint.")
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return wrong(j.place()+" cannot be reached: no route to it", "Check the network of this machine.")
	}
	return nil
}

// untrusted explains a failed TLS handshake.
func (j *job) untrusted(err error) *problem {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return wrong(j.place()+" has a certificate that no known authority has signed", "Name the file with its authority in AWS_CA_BUNDLE, or install it on this machine.")
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return wrong(j.place()+" has a certificate for another host: "+host.Error(), "Use the name in the certificate as --endpoint.")
	}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return wrong(j.place()+" has a certificate that is not valid: "+bad.Error(), "Have it renewed; check the clock of this machine too.")
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return wrong(j.place()+" does not speak TLS", "Write the endpoint with http:// if you trust the network between.")
	}
	return nil
}
