package swift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	ncwswift "github.com/ncw/swift/v2"

	"github.com/thawfs/thawfs/backend"
)

// Auth says who logs in where, in the words of OpenStack's clients. Find fills it in.
type Auth struct {
	Version int    // 1 (TempAuth), 2 or 3 (Keystone); 0: as the URL says, else 3
	URL     string // of the identity service

	User, UserID, UserDomain, UserDomainID             string
	Password                                           string
	Project, ProjectID, ProjectDomain, ProjectDomainID string
	CredentialID, CredentialName, CredentialSecret     string // application credential
	TrustID                                            string
	Token                                              string // of a login by another program
	StorageURL                                         string // instead of the one of the catalog

	Region    string // empty: the first of the catalog
	Interface string // public (or empty), internal, admin
	CACert    string // file with the certificates to believe; empty: the system's
	Insecure  bool   // believe any certificate
}

// A session is a login that holds.
type session struct {
	token   string
	url     string    // of the account
	begun   time.Time // when it was asked for
	expires time.Time // zero if the service does not tell
}

const loginLimit = 30 * time.Second // one attempt

// login asks the identity service once.
func (a Auth) login(ctx context.Context, rt http.RoundTripper) (session, error) {
	if a.Token != "" && a.StorageURL != "" {
		return session{token: a.Token, url: a.StorageURL}, nil
	}
	begun := time.Now()
	c := a.connection(rt)
	err := c.Authenticate(ctx)
	if err != nil && c.AuthToken != "" && c.StorageUrl == "" {
		if a.StorageURL == "" {
			return session{}, a.noEndpoint()
		}
		err = nil
	}
	if err != nil {
		return session{}, a.explain(ctx, rt, err)
	}
	s := session{token: c.AuthToken, url: cmp.Or(a.StorageURL, c.StorageUrl), begun: begun, expires: c.Expires}
	if s.expires.IsZero() {
		s.expires = v1Expiry(c, begun)
	}
	return s, nil
}

// v1Expiry reads how long a token of TempAuth holds.
func v1Expiry(c *ncwswift.Connection, begun time.Time) time.Time {
	if c.Auth == nil {
		return time.Time{}
	}
	spy, ok := c.Transport.(*lifeSpy)
	if !ok || spy.life <= 0 {
		return time.Time{}
	}
	return begun.Add(spy.life)
}

// lifeSpy notes X-Auth-Token-Expires (seconds) of TempAuth, which the library does not read.
type lifeSpy struct {
	rt   http.RoundTripper
	life time.Duration
}

func (l *lifeSpy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.rt.RoundTrip(r)
	if err == nil {
		if d, err := time.ParseDuration(resp.Header.Get("X-Auth-Token-Expires") + "s"); err == nil {
			l.life = d
		}
	}
	return resp, err
}

// connection is the library's idea of a.
func (a Auth) connection(rt http.RoundTripper) *ncwswift.Connection {
	version, at := a.endpoint()
	return &ncwswift.Connection{
		AuthVersion: version, AuthUrl: at, UserAgent: "thawfs",
		UserName: a.User, UserId: a.UserID, Domain: a.UserDomain, DomainId: a.UserDomainID, ApiKey: a.Password,
		Tenant: a.Project, TenantId: a.ProjectID, TenantDomain: a.ProjectDomain, TenantDomainId: a.ProjectDomainID,
		ApplicationCredentialId: a.CredentialID, ApplicationCredentialName: a.CredentialName, ApplicationCredentialSecret: a.CredentialSecret,
		TrustId: a.TrustID, Token: a.Token,
		Region: a.Region, EndpointType: ncwswift.EndpointType(a.iface()),
		ConnectTimeout: loginLimit, Timeout: loginLimit, Transport: &lifeSpy{rt: rt},
	}
}

// endpoint returns the version of the identity service and its URL, to which clouds.yaml mostly
// leaves it to know that.
func (a Auth) endpoint() (version int, at string) {
	at = strings.TrimRight(a.URL, "/")
	u, err := url.Parse(at)
	if err != nil {
		return a.Version, at
	}
	for v, name := range map[int]string{1: "v1", 2: "v2", 3: "v3"} {
		for elem := range strings.SplitSeq(u.Path, "/") {
			if elem == name || strings.HasPrefix(elem, name+".") {
				return cmp.Or(a.Version, v), at
			}
		}
	}
	switch version = cmp.Or(a.Version, 3); version {
	case 2:
		at += "/v2.0"
	case 3:
		at += "/v3"
	}
	return version, at
}

// iface is the interface as v3 writes it; v2 has public URLs of the same words.
func (a Auth) iface() string {
	if version, _ := a.endpoint(); version == 1 {
		return ""
	}
	return cmp.Or(strings.TrimSuffix(a.Interface, "URL"), "public")
}

// explain finds out what a refused login means. Keystone says the same of a wrong password and
// of a project that is not the user's; without a project it shows which.
func (a Auth) explain(ctx context.Context, rt http.RoundTripper, err error) error {
	known, ok := errors.AsType[*ncwswift.Error](err)
	if !ok || known.StatusCode == 0 || known.StatusCode == http.StatusRequestTimeout {
		if strings.Contains(err.Error(), "should be provided") { // the library's own check
			return fmt.Errorf("%w: %w", backend.ErrCredentials, err)
		}
		return err
	}
	refused := &answerError{status: known.StatusCode, header: http.Header{}, text: "the identity service at " + a.URL + " answers: " + err.Error()}
	switch known.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
	default:
		return refused
	}
	free := a
	free.Project, free.ProjectID, free.ProjectDomain, free.ProjectDomainID, free.TrustID = "", "", "", "", ""
	if free != a && a.CredentialSecret == "" {
		c := free.connection(rt)
		if err := c.Authenticate(ctx); err == nil || c.AuthToken != "" {
			return fmt.Errorf("%w: the user has no role in the project %s, or there is no such project", backend.ErrPermission, cmp.Or(a.Project, a.ProjectID))
		}
	}
	if known.StatusCode == http.StatusBadRequest {
		return fmt.Errorf("%w: the login is not complete: %s", backend.ErrCredentials, known)
	}
	return fmt.Errorf("%w: %s does not accept %s", backend.ErrCredentials, a.URL, a.who())
}

// who names the credentials without their secret.
func (a Auth) who() string {
	switch {
	case a.CredentialSecret != "":
		return "the application credential " + cmp.Or(a.CredentialName, a.CredentialID)
	case a.Token != "":
		return "the token"
	}
	who := "the user " + cmp.Or(a.User, a.UserID) + " with this password"
	if d := cmp.Or(a.UserDomain, a.UserDomainID); d != "" {
		who += " in the domain " + d
	}
	return who
}

func (a Auth) noEndpoint() error {
	where := ""
	if a.Region != "" {
		where = " in the region " + a.Region
	}
	if p := cmp.Or(a.Project, a.ProjectID); p != "" {
		where += " for the project " + p
	} else if a.CredentialSecret == "" {
		where += " without a project (OS_PROJECT_NAME)"
	}
	return fmt.Errorf("%w: the cloud names no object-store endpoint (%s)%s", backend.ErrUnsupported, cmp.Or(a.iface(), "v1"), where)
}
