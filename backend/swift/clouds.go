package swift

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// clouds.yaml as openstacksdk reads it (its user guide, "Configuration"): the cloud of that name
// in the first file that there is, with the secrets of secure.yaml and what its profile says in
// clouds-public.yaml.

// A cloudEntry is one cloud of such a file.
type cloudEntry struct {
	Profile string `yaml:"profile"`
	Cloud   string `yaml:"cloud"` // an older word for profile
	Auth    struct {
		URL             string `yaml:"auth_url"`
		User            string `yaml:"username"`
		UserID          string `yaml:"user_id"`
		UserDomain      string `yaml:"user_domain_name"`
		UserDomainID    string `yaml:"user_domain_id"`
		Domain          string `yaml:"domain_name"`
		DomainID        string `yaml:"domain_id"`
		Password        string `yaml:"password"`
		Project         string `yaml:"project_name"`
		ProjectID       string `yaml:"project_id"`
		Tenant          string `yaml:"tenant_name"`
		TenantID        string `yaml:"tenant_id"`
		ProjectDomain   string `yaml:"project_domain_name"`
		ProjectDomainID string `yaml:"project_domain_id"`
		CredentialID    string `yaml:"application_credential_id"`
		CredentialName  string `yaml:"application_credential_name"`
		Secret          string `yaml:"application_credential_secret"`
		TrustID         string `yaml:"trust_id"`
		Token           string `yaml:"token"`
		User1           string `yaml:"user"` // of v1password
		Key1            string `yaml:"key"`
	} `yaml:"auth"`
	AuthType  string       `yaml:"auth_type"`
	Version   string       `yaml:"identity_api_version"`
	Region    string       `yaml:"region_name"`
	Regions   []cloudNamed `yaml:"regions"`
	Interface string       `yaml:"interface"`
	Endpoint  string       `yaml:"endpoint_type"`
	Override  string       `yaml:"object_store_endpoint_override"`
	CACert    string       `yaml:"cacert"`
	Verify    *bool        `yaml:"verify"`
	Insecure  bool         `yaml:"insecure"`
}

// cloudNamed is a region: a name, or a map with a name.
type cloudNamed string

func (c *cloudNamed) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*c = cloudNamed(n.Value)
		return nil
	}
	var m struct{ Name string }
	err := n.Decode(&m)
	*c = cloudNamed(m.Name)
	return err
}

type cloudFile struct {
	Clouds map[string]cloudEntry `yaml:"clouds"`
	Public map[string]cloudEntry `yaml:"public-clouds"`
}

// readCloud finds the cloud of that name.
func readCloud(name string) (Auth, error) {
	clouds, at, err := readFirst(cloudPaths("clouds", "OS_CLIENT_CONFIG_FILE"))
	if err != nil {
		return Auth{}, err
	}
	c, ok := clouds.Clouds[name]
	if !ok {
		if at == "" {
			return Auth{}, fmt.Errorf("there is no cloud %q: no clouds.yaml was found in %s", name, strings.Join(cloudPaths("clouds", "OS_CLIENT_CONFIG_FILE"), ", "))
		}
		return Auth{}, fmt.Errorf("there is no cloud %q in %s, which has: %s", name, at, strings.Join(slices.Sorted(maps.Keys(clouds.Clouds)), ", "))
	}
	a := c.auth()
	if secrets, _, err := readFirst(cloudPaths("secure", "OS_CLIENT_SECURE_FILE")); err != nil {
		return a, err
	} else if s, ok := secrets.Clouds[name]; ok {
		a.fill(s.auth())
	}
	if profile := cmp.Or(c.Profile, c.Cloud); profile != "" {
		public, _, err := readFirst(cloudPaths("clouds-public", "OS_CLIENT_VENDOR_FILE"))
		if err != nil {
			return a, err
		}
		if p, ok := public.Public[profile]; ok {
			a.fill(p.auth())
		}
	}
	return a, nil
}

// cloudPaths are where a file is looked for.
func cloudPaths(name, variable string) []string {
	if path := os.Getenv(variable); path != "" {
		return []string{path}
	}
	var dirs []string
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd)
	}
	if config, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(config, "openstack"))
	}
	dirs = append(dirs, "/etc/openstack")
	var paths []string
	for _, dir := range dirs {
		paths = append(paths, filepath.Join(dir, name+".yaml"), filepath.Join(dir, name+".yml"))
	}
	return paths
}

// readFirst reads the first of paths that exists, and says which that was.
func readFirst(paths []string) (f cloudFile, at string, err error) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = yaml.Unmarshal(data, &f)
		}
		if err != nil {
			return f, path, fmt.Errorf("%s: %w", path, err)
		}
		return f, path, nil
	}
	return f, "", nil
}

func (c cloudEntry) auth() Auth {
	region := c.Region
	if region == "" && len(c.Regions) > 0 {
		region = string(c.Regions[0])
	}
	a := Auth{
		Version: version(c.Version, c.AuthType), URL: c.Auth.URL,
		User: cmp.Or(c.Auth.User, c.Auth.User1), UserID: c.Auth.UserID, Password: cmp.Or(c.Auth.Password, c.Auth.Key1),
		UserDomain: cmp.Or(c.Auth.UserDomain, c.Auth.Domain), UserDomainID: cmp.Or(c.Auth.UserDomainID, c.Auth.DomainID),
		Project: cmp.Or(c.Auth.Project, c.Auth.Tenant), ProjectID: cmp.Or(c.Auth.ProjectID, c.Auth.TenantID),
		ProjectDomain: c.Auth.ProjectDomain, ProjectDomainID: c.Auth.ProjectDomainID,
		CredentialID: c.Auth.CredentialID, CredentialName: c.Auth.CredentialName, CredentialSecret: c.Auth.Secret,
		TrustID: c.Auth.TrustID, Token: c.Auth.Token, StorageURL: c.Override,
		Region: region, Interface: cmp.Or(c.Interface, c.Endpoint), CACert: c.CACert,
		Insecure: c.Insecure || c.Verify != nil && !*c.Verify,
	}
	return a
}
