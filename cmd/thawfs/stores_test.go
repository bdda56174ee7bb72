package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
	"github.com/thawfs/thawfs/backend/s3"
	"github.com/thawfs/thawfs/integration/servers"
)

// bucket is a bucket of a real server, seen without thawfs's file system.
type bucket struct {
	name   string
	server servers.S3
	store  backend.Store
}

// gated is a world with the keys of a server, a gate before it and a bucket in it.
func gated(t *testing.T) (*world, *gate, *bucket) {
	t.Helper()
	gw := servers.VersityGW(t)
	service, err := s3.New(t.Context(), s3.Options{Endpoint: gw.Endpoint, Region: gw.Region, AccessKey: gw.AccessKey, SecretKey: gw.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	b := &bucket{name: fmt.Sprintf("life-%d", time.Now().UnixNano()), server: gw}
	if err := service.CreateBucket(t.Context(), b.name); err != nil {
		t.Fatal(err)
	}
	if b.store, err = service.Open(t.Context(), b.name); err != nil {
		t.Fatal(err)
	}
	return newWorld(t, keys(gw)...), newGate(t, gw), b
}

func (b *bucket) get(t *testing.T, key string) string { t.Helper(); return getObject(t, b.store, key) }

func getObject(t *testing.T, s backend.Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, "", 0, -1)
	if err != nil {
		t.Error(err)
		return ""
	}
	all, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Error(err)
	}
	return string(all)
}

func localStore(t *testing.T, dir string) *local.Service {
	t.Helper()
	service, err := local.New(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func createBucket(t *testing.T, dir, name string) {
	t.Helper()
	if err := localStore(t, dir).CreateBucket(context.Background(), name); err != nil {
		t.Fatal(err)
	}
}

func localObject(t *testing.T, dir, bucket, key string) string {
	t.Helper()
	s, err := localStore(t, dir).Open(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return getObject(t, s, key)
}

func putObject(t *testing.T, s backend.Store, key, content string) {
	t.Helper()
	body := strings.NewReader(content)
	if _, err := s.Put(t.Context(), key, io.NewSectionReader(body, 0, body.Size()), backend.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}
