package swift

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// Find completes given by what is configured: the cloud of that name in clouds.yaml, else OS_CLOUD,
// else the variables OS_* (and ST_* of TempAuth). What given says already wins.
func Find(given Auth, cloud string) (Auth, error) {
	a, err := given, error(nil)
	cloud = cmp.Or(cloud, os.Getenv("OS_CLOUD"))
	if cloud != "" {
		var c Auth
		if c, err = readCloud(cloud); err != nil {
			return a, fmt.Errorf("%w: %w", backend.ErrInvalid, err)
		}
		a.fill(c)
	} else {
		a.fill(environment(os.Getenv))
	}
	return a, a.check()
}

// environment reads the variables that OpenStack's clients read.
func environment(get func(string) string) Auth {
	first := func(names ...string) string {
		for _, name := range names {
			if v := get(name); v != "" {
				return v
			}
		}
		return ""
	}
	a := Auth{
		URL:  first("OS_AUTH_URL", "ST_AUTH"),
		User: first("OS_USERNAME", "ST_USER"), UserID: first("OS_USER_ID"),
		UserDomain: first("OS_USER_DOMAIN_NAME"), UserDomainID: first("OS_USER_DOMAIN_ID"),
		Password: first("OS_PASSWORD", "ST_KEY"),
		Project:  first("OS_PROJECT_NAME", "OS_TENANT_NAME"), ProjectID: first("OS_PROJECT_ID", "OS_TENANT_ID"),
		ProjectDomain: first("OS_PROJECT_DOMAIN_NAME"), ProjectDomainID: first("OS_PROJECT_DOMAIN_ID"),
		CredentialID: first("OS_APPLICATION_CREDENTIAL_ID"), CredentialName: first("OS_APPLICATION_CREDENTIAL_NAME"),
		CredentialSecret: first("OS_APPLICATION_CREDENTIAL_SECRET"),
		TrustID:          first("OS_TRUST_ID"), Token: first("OS_TOKEN", "OS_AUTH_TOKEN"), StorageURL: first("OS_STORAGE_URL"),
		Region: first("OS_REGION_NAME"), Interface: first("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
		CACert: first("OS_CACERT"), Insecure: truth(first("OS_INSECURE")),
	}
	a.Version = version(first("OS_IDENTITY_API_VERSION", "OS_AUTH_VERSION", "ST_AUTH_VERSION"), first("OS_AUTH_TYPE"))
	if a.Version == 0 && first("OS_AUTH_URL") == "" && first("ST_AUTH") != "" {
		a.Version = 1
	}
	return a
}

// version reads "3", "2.0", or the name of a way to log in ("v3password").
func version(number, how string) int {
	if n, err := strconv.ParseFloat(number, 64); err == nil {
		return int(n)
	}
	for v, prefix := range map[int]string{1: "v1", 2: "v2", 3: "v3"} {
		if strings.HasPrefix(how, prefix) {
			return v
		}
	}
	return 0
}

func truth(s string) bool {
	b, err := strconv.ParseBool(s)
	return b && err == nil
}

// fill sets what a lacks. Ways to say the same thing are one: a name given here is not joined
// by an id from there.
func (a *Auth) fill(from Auth) {
	group := func(pairs ...[2]*string) {
		for _, p := range pairs {
			if *p[0] != "" {
				return
			}
		}
		for _, p := range pairs {
			*p[0] = *p[1]
		}
	}
	group([2]*string{&a.User, &from.User}, [2]*string{&a.UserID, &from.UserID})
	group([2]*string{&a.Project, &from.Project}, [2]*string{&a.ProjectID, &from.ProjectID})
	group([2]*string{&a.UserDomain, &from.UserDomain}, [2]*string{&a.UserDomainID, &from.UserDomainID})
	group([2]*string{&a.ProjectDomain, &from.ProjectDomain}, [2]*string{&a.ProjectDomainID, &from.ProjectDomainID})
	group([2]*string{&a.CredentialID, &from.CredentialID}, [2]*string{&a.CredentialName, &from.CredentialName})
	for _, p := range [][2]*string{
		{&a.URL, &from.URL},
		{&a.Password, &from.Password},
		{&a.CredentialSecret, &from.CredentialSecret},
		{&a.TrustID, &from.TrustID},
		{&a.Token, &from.Token},
		{&a.StorageURL, &from.StorageURL},
		{&a.Region, &from.Region},
		{&a.Interface, &from.Interface},
		{&a.CACert, &from.CACert},
	} {
		group(p)
	}
	a.Version = cmp.Or(a.Version, from.Version)
	a.Insecure = a.Insecure || from.Insecure
}

// check finds out whether a login can be tried at all.
func (a Auth) check() error {
	missing := func(what string) error {
		return fmt.Errorf("%w: %s: set the OS_* variables, name a cloud of clouds.yaml, or use flags", backend.ErrCredentials, what)
	}
	switch {
	case a.Token != "" && (a.StorageURL != "" || a.URL != ""):
		return nil
	case a.URL == "":
		return missing("no identity service is named (OS_AUTH_URL)")
	case a.CredentialSecret != "" && a.CredentialID+a.CredentialName != "":
		return nil
	case a.CredentialID+a.CredentialName != "":
		return missing("the application credential has no secret (OS_APPLICATION_CREDENTIAL_SECRET)")
	case a.User == "" && a.UserID == "":
		return missing("no user is named (OS_USERNAME)")
	case a.Password == "":
		return missing("there is no password (OS_PASSWORD)")
	}
	return nil
}
