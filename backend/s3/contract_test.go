package s3

import (
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestContractOnMinIO(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backend.Service { return minio{service(t, servers.MinIO(t))} })
}

func TestContractOnVersityGW(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backend.Service { return service(t, servers.VersityGW(t)) })
}

func TestContractOnMoto(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backend.Service { return service(t, servers.Moto(t)) })
}

// service returns the account of a test server.
func service(t testing.TB, at servers.S3, change ...func(*Options)) *Service {
	t.Helper()
	o := Options{Endpoint: at.Endpoint, Region: at.Region, AccessKey: at.AccessKey, SecretKey: at.SecretKey}
	for _, c := range change {
		c(&o)
	}
	svc, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return svc
}
