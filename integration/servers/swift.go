package servers

import (
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Swift comes from Debian, with its Python modules for that interpreter alone. It runs in the
// data directory, by launch.py; what the packages would have as daemons stays down.
const (
	systemPython     = "/usr/bin/python3"
	keystoneRevision = "2" // of keystone.py: raise it to have the database made anew
)

// BriefToken is how long the tokens of KeystoneBrief hold.
const BriefToken = 30 * time.Second

var (
	swiftPackages    = []string{"swift-proxy", "swift-account", "swift-container", "swift-object", "memcached", "python3-swiftclient"}
	swiftFiles       = []string{systemPython, "/usr/bin/swift-proxy-server", "/usr/bin/swift-account-server", "/usr/bin/swift-container-server", "/usr/bin/swift-object-server", "/usr/bin/memcached", "/usr/bin/swift"}
	keystonePackages = []string{"keystone", "uwsgi-core", "uwsgi-plugin-python3", "python3-keystonemiddleware", "python3-keystoneclient"}
	keystoneFiles    = []string{"/usr/bin/keystone-manage", "/usr/bin/keystone-wsgi-public", "/usr/bin/uwsgi", "/usr/lib/uwsgi/plugins/python3_plugin.so", "/usr/lib/python3/dist-packages/keystonemiddleware/__init__.py"}
)

//go:embed swift/launch.py
var launchScript string

//go:embed swift/keystone.py
var keystoneScript string

// swiftKind is a Swift whose users tempauth knows, or with a life of tokens one behind Keystone.
func swiftKind(name string, tokens time.Duration) kind {
	k := kind{name: name, ready: "/healthcheck", files: map[string]string{"launch.py": launchScript}}
	if tokens > 0 {
		k.program = "keystone"
	}
	k.command = func(path string, port int, dir string) []string {
		argv := []string{systemPython, filepath.Join(dir, "launch.py"), dir, strconv.Itoa(port)}
		if tokens > 0 {
			argv = append(argv, filepath.Dir(path), strconv.Itoa(int(tokens.Seconds())))
		}
		return argv
	}
	return k
}

// makeKeystone fills a database with the users and projects of keystone.py.
func makeKeystone(ctx context.Context, b *builder) error {
	// Not keystone.py: Python would take it for the module.
	script := filepath.Join(b.dir, "make.py")
	if err := os.WriteFile(script, []byte(keystoneScript), 0o644); err != nil {
		return err
	}
	env := without(os.Environ(), "PYTHONPATH", "PYTHONHOME")
	return b.run(ctx, env, systemPython, script, b.dir)
}

// A SwiftAccount is how a client reaches a running Swift.
type SwiftAccount struct {
	Endpoint string // http://127.0.0.1:port, where the proxy listens
	AuthURL  string // of TempAuth (v1), or of Keystone (v3)
	User     string // of TempAuth, with its account before a colon
	Key      string // or password

	// Of Keystone alone.
	UserID, UserDomain, UserDomainID string
	Project, ProjectID               string
	OtherProject                     string // exists; the user has a role in it
	CredentialID, CredentialName     string // an application credential
	CredentialSecret                 string
}

// Swift returns the Swift with TempAuth that the tests of this binary share. It has the storage
// policies Policy-0 and PCA.
func Swift(t testing.TB) SwiftAccount {
	t.Helper()
	return shared.server(t, "swift").Swift(t)
}

// Keystone returns the Swift behind Keystone that the tests of this binary share.
func Keystone(t testing.TB) SwiftAccount {
	t.Helper()
	return shared.server(t, "keystone").Swift(t)
}

// KeystoneBrief is Keystone with tokens that hold no longer than BriefToken.
func KeystoneBrief(t testing.TB) SwiftAccount {
	t.Helper()
	return shared.server(t, "keystone-brief").Swift(t)
}

// Swift is the account of a Server of kind swift or keystone.
func (s *Server) Swift(t testing.TB) SwiftAccount {
	t.Helper()
	if s.kind.program == "" {
		return SwiftAccount{Endpoint: s.Endpoint, AuthURL: s.Endpoint + "/auth/v1.0", User: "test:tester", Key: "testing"}
	}
	var ports map[string]int
	var facts struct {
		User       string `json:"user_id"`
		Project    string `json:"project_id"`
		Domain     string `json:"domain_id"`
		Credential string `json:"credential_id"`
	}
	for path, into := range map[string]any{filepath.Join(s.data.path, "ports.json"): &ports, s.exe: &facts} {
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatalf("servers: %v", err)
		}
	}
	return SwiftAccount{
		Endpoint: s.Endpoint, AuthURL: "http://" + address(ports["keystone"]) + "/v3",
		User: "thaw", Key: "thawpass", UserID: facts.User, UserDomain: "cold", UserDomainID: facts.Domain,
		Project: "ice", ProjectID: facts.Project, OtherProject: "void",
		CredentialID: facts.Credential, CredentialName: "thawcred", CredentialSecret: "credsecret",
	}
}
