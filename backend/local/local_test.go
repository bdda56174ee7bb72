package local_test

import (
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
)

func TestContract(t *testing.T) {
	for name, o := range map[string]local.Options{
		"durable":  {RestoreTime: 50 * time.Millisecond},
		"not sync": {RestoreTime: 50 * time.Millisecond, NoSync: true},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backend.Service {
				s, err := local.New(t.TempDir(), o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}
