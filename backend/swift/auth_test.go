package swift

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/integration/servers"
)

func TestKeystoneLetsIn(t *testing.T) {
	if testing.Short() {
		t.Skip("Keystone takes half a minute to start: make test-slow runs it")
	}
	at := servers.Keystone(t)
	token := mustLogin(t, Auth{URL: at.AuthURL, User: at.User, UserDomain: at.UserDomain, Password: at.Key, Project: at.Project, ProjectDomain: at.UserDomain})
	for name, a := range map[string]Auth{
		"names":                     {User: at.User, UserDomain: at.UserDomain, Password: at.Key, Project: at.Project, ProjectDomain: at.UserDomain},
		"names in one domain":       {User: at.User, UserDomain: at.UserDomain, Password: at.Key, Project: at.Project},
		"ids":                       {UserID: at.UserID, Password: at.Key, ProjectID: at.ProjectID},
		"domain by id":              {User: at.User, UserDomainID: at.UserDomainID, Password: at.Key, ProjectID: at.ProjectID},
		"application credential":    {CredentialID: at.CredentialID, CredentialSecret: at.CredentialSecret},
		"credential by name":        {CredentialName: at.CredentialName, CredentialSecret: at.CredentialSecret, UserID: at.UserID},
		"token":                     {Token: token, ProjectID: at.ProjectID},
		"another project":           {User: at.User, UserDomain: at.UserDomain, Password: at.Key, Project: at.OtherProject, ProjectDomain: at.UserDomain},
		"region and interface":      {UserID: at.UserID, Password: at.Key, ProjectID: at.ProjectID, Region: "RegionOne", Interface: "internal"},
		"interface as v2 writes it": {UserID: at.UserID, Password: at.Key, ProjectID: at.ProjectID, Interface: "publicURL"},
	} {
		a.URL = at.AuthURL
		svc, err := New(t.Context(), Options{Auth: a})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, err := range svc.Buckets(t.Context()) {
			if err != nil {
				t.Errorf("%s: Buckets = %v", name, err)
			}
		}
	}
	bare := strings.TrimSuffix(at.AuthURL, "/v3")
	mustLogin(t, Auth{URL: bare, UserID: at.UserID, Password: at.Key, ProjectID: at.ProjectID})
}

func mustLogin(t *testing.T, a Auth) (token string) {
	t.Helper()
	s, err := a.login(t.Context(), http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	return s.token
}

func TestEachRefusalHasItsSentence(t *testing.T) {
	if testing.Short() {
		t.Skip("Keystone takes half a minute to start: make test-slow runs it")
	}
	at := servers.Keystone(t)
	good := Auth{URL: at.AuthURL, User: at.User, UserDomain: at.UserDomain, Password: at.Key, Project: at.Project}
	for name, tt := range map[string]struct {
		change func(*Auth)
		is     error
		says   string
	}{
		"password":   {func(a *Auth) { a.Password = "wrong" }, backend.ErrCredentials, "does not accept the user thaw with this password in the domain cold"},
		"user":       {func(a *Auth) { a.User = "nobody" }, backend.ErrCredentials, "does not accept the user nobody"},
		"project":    {func(a *Auth) { a.Project = "nowhere" }, backend.ErrPermission, "no role in the project nowhere"},
		"region":     {func(a *Auth) { a.Region = "Mars" }, backend.ErrUnsupported, "no object-store endpoint (public) in the region Mars"},
		"no project": {func(a *Auth) { a.Project = "" }, backend.ErrUnsupported, "no object-store endpoint"},
		"credential": {func(a *Auth) { *a = Auth{URL: a.URL, CredentialID: at.CredentialID, CredentialSecret: "wrong"} }, backend.ErrCredentials, "does not accept the application credential"},
	} {
		a := good
		tt.change(&a)
		_, err := New(t.Context(), Options{Auth: a})
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	tempauth := servers.Swift(t)
	_, err := New(t.Context(), Options{Auth: Auth{URL: tempauth.AuthURL, User: tempauth.User, Password: "wrong"}})
	if !errors.Is(err, backend.ErrCredentials) || !strings.Contains(err.Error(), "does not accept the user test:tester") {
		t.Errorf("TempAuth with a wrong key: %v", err)
	}
}

// TestTokensAreRenewedAhead reads and writes through several lives of a token. Nobody may see
// an error, and nobody may wait for a login but the first.
func TestTokensAreRenewedAhead(t *testing.T) {
	if testing.Short() {
		t.Skip("three lives of a token take a minute and a half: make test-slow runs it")
	}
	at := servers.KeystoneBrief(t)
	var logins, refused atomic.Int32
	svc, err := New(t.Context(), Options{
		Auth: Auth{URL: at.AuthURL, UserID: at.UserID, Password: at.Key, ProjectID: at.ProjectID},
		Wrap: func(rt http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				resp, err := rt.RoundTrip(r)
				switch {
				case strings.HasSuffix(r.URL.Path, "/auth/tokens"):
					logins.Add(1)
				case err == nil && resp.StatusCode == http.StatusUnauthorized:
					refused.Add(1)
				}
				return resp, err
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	store := testBucket(t, svc)
	for begin := time.Now(); time.Since(begin) < 3*servers.BriefToken; time.Sleep(200 * time.Millisecond) {
		put(t, store, "k", "some bytes")
		if got := get(t, store, "k"); got != "some bytes" {
			t.Fatalf("after %v: %q", time.Since(begin), got)
		}
	}
	if n := logins.Load(); n < 3 || n > 15 {
		t.Errorf("%d logins in three lives of a token", n)
	}
	if n := refused.Load(); n > 0 {
		t.Errorf("%d requests went with a token that was too old", n)
	}
}

// TestRevokedTokenInMidUpload has the server refuse the token once a body is on its way.
func TestRevokedTokenInMidUpload(t *testing.T) {
	var refuse atomic.Int32
	svc := service(t, servers.Swift(t), func(rt http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut && r.ContentLength > 1000 && refuse.Add(-1) >= 0 {
				_, _ = io.CopyN(io.Discard, r.Body, 500) // a part of it
				return answerWith(r, http.StatusUnauthorized, nil), nil
			}
			return rt.RoundTrip(r)
		})
	})
	store := testBucket(t, svc)
	before := svc.keys.now.begun
	refuse.Store(1)
	content := strings.Repeat("0123456789", 1000)
	put(t, store, "k", content)
	if got := get(t, store, "k"); got != content {
		t.Errorf("read back %d bytes", len(got))
	}
	svc.keys.mu.Lock()
	defer svc.keys.mu.Unlock()
	if !svc.keys.now.begun.After(before) {
		t.Error("there was no new login")
	}
}

func TestCloudsYAML(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("OS_CLIENT_CONFIG_FILE", "")
	t.Setenv("OS_CLOUD", "")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("clouds.yaml", `
clouds:
  ovh:
    profile: ovh
    auth: {username: ada, project_id: 42, user_domain_name: Default}
    region_name: GRA
  naver:
    auth_type: v3applicationcredential
    auth: {auth_url: "https://n.example", application_credential_id: id, application_credential_secret: s}
    interface: internal
    verify: false
  old:
    auth_type: v1password
    auth: {auth_url: "http://old/auth/v1.0", username: "acc:user", password: p}
`)
	write("secure.yaml", "clouds: {ovh: {auth: {password: secret}}}")
	write("clouds-public.yaml", "public-clouds: {ovh: {auth: {auth_url: 'https://auth.cloud.ovh.net/v3'}, identity_api_version: 3}}")
	for name, want := range map[string]Auth{
		"ovh": {
			Version: 3, URL: "https://auth.cloud.ovh.net/v3", User: "ada", Password: "secret", ProjectID: "42", UserDomain: "Default", Region: "GRA",
		},
		"naver": {Version: 3, URL: "https://n.example", CredentialID: "id", CredentialSecret: "s", Interface: "internal", Insecure: true},
		"old":   {Version: 1, URL: "http://old/auth/v1.0", User: "acc:user", Password: "p"},
	} {
		if got, err := Find(Auth{}, name); err != nil || got != want {
			t.Errorf("Find(%s) = %+v, %v\nwant %+v", name, got, err, want)
		}
	}
	if got, err := Find(Auth{Region: "SBG", ProjectID: "7"}, "ovh"); err != nil || got.Region != "SBG" || got.ProjectID != "7" {
		t.Errorf("what is given does not win: %+v, %v", got, err)
	}
	if _, err := Find(Auth{}, "azure"); err == nil || !strings.Contains(err.Error(), "naver, old, ovh") {
		t.Errorf("Find of an unknown cloud = %v, want the names there are", err)
	}
}

func TestEnvironment(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want Auth
	}{
		"rc file of v3": {
			map[string]string{"OS_AUTH_URL": "https://a/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_ID": "1", "OS_USER_DOMAIN_NAME": "d", "OS_REGION_NAME": "r", "OS_IDENTITY_API_VERSION": "3", "OS_INTERFACE": "public"},
			Auth{Version: 3, URL: "https://a/v3", User: "u", Password: "p", ProjectID: "1", UserDomain: "d", Region: "r", Interface: "public"},
		},
		"rc file of v2": {
			map[string]string{"OS_AUTH_URL": "https://a/v2.0", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_TENANT_NAME": "t"},
			Auth{URL: "https://a/v2.0", User: "u", Password: "p", Project: "t"},
		},
		"v1": {
			map[string]string{"ST_AUTH": "http://a/auth/v1.0", "ST_USER": "u", "ST_KEY": "k"},
			Auth{Version: 1, URL: "http://a/auth/v1.0", User: "u", Password: "k"},
		},
	} {
		if got := environment(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

func TestIdentityURLs(t *testing.T) {
	for _, tt := range []struct {
		a       Auth
		version int
		at      string
	}{
		{Auth{URL: "https://auth.cloud.ovh.net/v3/"}, 3, "https://auth.cloud.ovh.net/v3"},
		{Auth{URL: "https://k:5000"}, 3, "https://k:5000/v3"},
		{Auth{URL: "https://k/identity", Version: 3}, 3, "https://k/identity/v3"},
		{Auth{URL: "https://k", Version: 2}, 2, "https://k/v2.0"},
		{Auth{URL: "https://k/v2.0"}, 2, "https://k/v2.0"},
		{Auth{URL: "http://s/auth/v1.0"}, 1, "http://s/auth/v1.0"},
		{Auth{URL: "http://s/auth", Version: 1}, 1, "http://s/auth"},
	} {
		if v, at := tt.a.endpoint(); v != tt.version || at != tt.at {
			t.Errorf("endpoint of %+v = %d %s, want %d %s", tt.a, v, at, tt.version, tt.at)
		}
	}
}
