package s3

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
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
	backendtest.Run(t, func(t *testing.T) backend.Service { return service(t, inTurn(t, servers.Moto(t))) })
}

// inTurn lets requests reach a server one after the other: moto looks whether a condition holds
// and stores without a lock, so of two that race both may win, and a GET beside a PUT may be 500.
func inTurn(t *testing.T, at servers.S3) servers.S3 {
	t.Helper()
	target, err := url.Parse(at.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	var turn sync.Mutex
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder() // clients that read slowly shall hold nobody up
		turn.Lock()
		proxy.ServeHTTP(answer, r)
		turn.Unlock()
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w) // a client that is gone wants none
	}))
	t.Cleanup(front.Close)
	at.Endpoint = front.URL
	return at
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
