package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/swift"
)

const swiftScheme = "swift"

// openstackOptions say who logs in to a cloud, as the flags of OpenStack's own client do. There
// is none for the password: everybody can see it in the list of processes. The help leaves
// them out, which has to fit a screen and serves more people; README.md has them.
type openstackOptions struct {
	cloud  string
	auth   swift.Auth
	policy string // of new containers
}

func (o *openstackOptions) register(f *pflag.FlagSet) {
	f.Var(text{&o.cloud, "NAME"}, "os-cloud", "Swift: cloud of clouds.yaml (else the OS_* variables)")
	f.Var(text{&o.auth.URL, "URL"}, "os-auth-url", "Swift: where to log in")
	f.Var(text{&o.auth.User, "NAME"}, "os-username", "Swift: as whom")
	f.Var(text{&o.auth.UserDomain, "NAME"}, "os-user-domain-name", "Swift: domain of the user")
	f.Var(text{&o.auth.Project, "NAME"}, "os-project-name", "Swift: project")
	f.Var(text{&o.auth.ProjectID, "ID"}, "os-project-id", "Swift: project, by its id")
	f.Var(text{&o.auth.ProjectDomain, "NAME"}, "os-project-domain-name", "Swift: domain of the project")
	f.Var(text{&o.auth.Interface, "NAME"}, "os-interface", "Swift: public, internal or admin")
	f.Var(text{&o.policy, "NAME"}, "storage-policy", "Swift: of containers made by mkdir")
	f.VisitAll(func(fl *pflag.Flag) {
		fl.Hidden = fl.Hidden || strings.HasPrefix(fl.Name, "os-") || fl.Name == "storage-policy"
	})
}

// swiftAuth is who logs in, with all that is configured elsewhere.
func (o *options) swiftAuth() (swift.Auth, error) {
	given := o.openstack.auth
	given.Region = o.region
	return swift.Find(given, o.openstack.cloud)
}

// openSwift makes the driver for a Swift source.
func (j *job) openSwift(ctx context.Context, log *slog.Logger) (backend.Service, error) {
	a, err := j.swiftAuth()
	if err != nil {
		return nil, err
	}
	return swift.New(ctx, swift.Options{Auth: a, Policy: j.openstack.policy, Log: log})
}

// identity tells one account of one cloud from others, without secrets.
func (o *options) identity() []string {
	a, err := o.swiftAuth()
	if err != nil {
		a = o.openstack.auth // mounting will say what is missing
	}
	return []string{
		strings.ToLower(strings.TrimRight(a.URL, "/")), a.StorageURL, a.Region, cmp.Or(a.ProjectID, a.ProjectDomainID+a.ProjectDomain+"/"+a.Project),
		cmp.Or(a.UserID, a.UserDomainID+a.UserDomain+"/"+a.User), a.CredentialID, a.CredentialName,
	}
}

// checkSwift finds flags that contradict the source.
func (o *options) checkSwift(s source) error {
	if s.scheme != swiftScheme {
		if o.openstack != (openstackOptions{}) {
			return usage("the --os-... flags and --storage-policy are for sources that begin with swift://", "Leave them out, or mount swift://")
		}
		return nil
	}
	switch {
	case o.endpoint != "":
		return usage("--endpoint is for S3", "Name the cloud's identity service with --os-auth-url, or a cloud of clouds.yaml with --os-cloud.")
	case o.profile != "" || o.anonymous:
		return usage("--profile and --anonymous are for S3", "Name a cloud of clouds.yaml with --os-cloud.")
	case o.classes.class != "" || len(o.classes.rules) > 0:
		return usage("Swift has no storage class for single files", "Choose the policy of new containers with --storage-policy.")
	}
	return nil
}

// swiftProblem explains what a cloud refuses.
func (j *job) swiftProblem(_ context.Context, err error) *problem {
	if j.source.scheme != swiftScheme {
		return nil
	}
	text := words(err)
	for _, s := range []error{backend.ErrPermission, backend.ErrUnsupported, backend.ErrInvalid} {
		text = strings.TrimPrefix(text, s.Error()+": ")
	}
	switch {
	case errors.Is(err, backend.ErrCredentials):
		return wrong(text, "Check OS_USERNAME, OS_PASSWORD and OS_USER_DOMAIN_NAME, or the cloud in clouds.yaml (--os-cloud).")
	case errors.Is(err, backend.ErrPermission) && strings.Contains(text, "no role in the project"):
		return wrong(text, "Check OS_PROJECT_NAME or OS_PROJECT_ID, and OS_PROJECT_DOMAIN_NAME.")
	case errors.Is(err, backend.ErrPermission):
		return wrong("access to "+j.source.String()+" is denied", "Check the name of the container, and that the user has a role in the project that may use it.")
	case errors.Is(err, backend.ErrUnsupported) && strings.Contains(text, "object-store"):
		return wrong(text, "Check --region (OS_REGION_NAME), --os-interface and the project; the cloud may have no object store at all.")
	case errors.Is(err, backend.ErrInvalid):
		return wrong(text, "See clouds.yaml and --os-cloud.")
	}
	return nil
}
