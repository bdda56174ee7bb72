package servers

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestServersServe(t *testing.T) {
	for _, tt := range []struct {
		name string
		get  func(testing.TB) S3
	}{{"minio", MinIO}, {"versitygw", VersityGW}, {"moto", Moto}} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.get(t)
			resp, err := http.Get(s.Endpoint + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if again := tt.get(t); again != s {
				t.Errorf("asked twice: %+v, then %+v; want one server", s, again)
			}
		})
	}
}

func TestKilledServerComesBackWithItsData(t *testing.T) {
	s := Start(t, "versitygw")
	kept := filepath.Join(s.data.path, "data", "kept")
	if err := os.WriteFile(kept, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err of a killed server = %v, want one that says killed", err)
	}
	if _, err := http.Get(s.Endpoint + "/health"); err == nil {
		t.Error("a killed server answers")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if !exists(kept) {
		t.Error("the data is gone")
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if exists(s.data.path) {
		t.Errorf("%s is left behind", s.data.path)
	}
}

func TestDataOfTheDeadIsSweptAndThatOfTheLivingIsNot(t *testing.T) {
	base := t.TempDir()
	dead, living := filepath.Join(base, dataPrefix+"dead"), filepath.Join(base, dataPrefix+"living")
	for _, dir := range []string{dead, living} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.Open(filepath.Join(living, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := flock(lock, 2); err != nil { // LOCK_EX
		t.Fatal(err)
	}
	if err := sweep(base); err != nil {
		t.Fatal(err)
	}
	if exists(dead) || !exists(living) {
		t.Errorf("after sweep: dead exists %v, living exists %v; want false, true", exists(dead), exists(living))
	}
}

func TestToolFindsPrograms(t *testing.T) {
	if got := Tool(t, "tar"); !filepath.IsAbs(got) {
		t.Errorf("Tool(tar) = %q, want an absolute path", got)
	}
}

func TestSwiftServes(t *testing.T) {
	s := Swift(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.AuthURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-User", s.User)
	req.Header.Set("X-Auth-Key", s.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Storage-Url") == "" {
		t.Errorf("login: %s, %v", resp.Status, resp.Header)
	}
}
